//! tokio-cron-scheduler as an oracle: on plain schedules in UTC, the next start that it names is ours.
//! Where it is not plain (zones, steps of the clock, pauses, load) it is no oracle, and it drives no start of ours.

use jiff::Timestamp;
use netjobs::{job::load, plan};
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::check;

/// The first start of a cron expression with seconds that is later than a moment, in Unix seconds.
fn ours(expression: &str, from: Timestamp) -> i64 {
    let text = format!("jobs: [{{ name: a, cron: '{expression}', ipv6: {{}} }}]");
    let loaded = load::load_texts(&[("a.yaml", &text)], &check::environment());
    let job = loaded.jobs.first().unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
    plan::upcoming(&job.name, &job.schedule, from).next().unwrap().timestamp().as_second()
}

#[tokio::test]
async fn plain_schedules_start_next_when_the_oracle_says() {
    let expressions = [
        "* * * * * *",
        "*/7 * * * * *",
        "30 * * * * *",
        "0 */5 * * * *",
        "0 0 * * * *",
        "0 30 4 * * *",
        "0 0 12 1 * *",
        "0 15 10 * * mon-fri",
        "0 0 0 29 2 *",
    ];
    let mut oracle = JobScheduler::new().await.unwrap();
    for expression in expressions {
        let id = oracle.add(Job::new(expression, |_, _| {}).unwrap()).await.unwrap();
        // Time goes on between the three questions, so the answer lies between our two.
        let before = ours(expression, Timestamp::now());
        let theirs = oracle.next_tick_for_job(id).await.unwrap().unwrap().timestamp();
        let after = ours(expression, Timestamp::now());
        assert!((before..=after).contains(&theirs), "{expression}: {theirs}, ours {before} to {after}");
    }
}
