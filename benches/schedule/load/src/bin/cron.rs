//! tokio-cron-scheduler as its README uses it: the scheduler is started, jobs with an empty body are added.

use netjobs_schedule_load::{Asked, Failure, Schedule, Starts};
use tokio::{runtime::Builder, task::spawn_blocking};
use tokio_cron_scheduler::{Job, JobScheduler};

fn main() -> Result<(), Failure> {
    Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let (asked, starts) = (Asked::parse()?, Starts::new());
    let scheduler = JobScheduler::new().await?;
    scheduler.start().await?;
    for job in 0..asked.jobs {
        let starts = starts.clone();
        let body = move |_, _| {
            starts.add(job, None);
        };
        scheduler
            .add(match asked.schedule {
                Schedule::Every(period) => Job::new_repeated(period, body)?,
                Schedule::Cron(seconds) => Job::new(format!("*/{seconds} * * * * *"), body)?,
            })
            .await?;
    }
    let asked = spawn_blocking(move || asked.wait().map(|()| asked)).await??;
    asked.write(&starts)
}
