"""`benches/run soak`: everything at once on one daemon for an hour, with faults: what grows, what breaks."""
