"""`benches/run schedule`: how punctually jobs start, beside tokio-cron-scheduler and the bare timer."""
