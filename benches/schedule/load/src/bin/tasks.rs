//! A task a job on tokio's runtime, each sleeping to its next instant: the simplest scheduler that there is.

use netjobs_schedule_load::{Asked, Failure, Starts, now};
use tokio::{runtime::Builder, task::spawn_blocking, time::sleep};

fn main() -> Result<(), Failure> {
    Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let (asked, starts) = (Asked::parse()?, Starts::new());
    let begun = now();
    for job in 0..asked.jobs {
        let (starts, (mut due, period)) = (starts.clone(), asked.instants(job, begun));
        tokio::spawn(async move {
            loop {
                sleep(due.saturating_sub(now())).await;
                starts.add(job, Some(due));
                // What was slept over is left out.
                while due <= now() {
                    due += period;
                }
            }
        });
    }
    let asked = spawn_blocking(move || asked.wait().map(|()| asked)).await??;
    asked.write(&starts)
}
