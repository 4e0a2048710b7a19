//! What tokio-cron-scheduler and croner say about starts around a change of the clocks.

use std::{str::FromStr, time::Duration};

use chrono::{TimeZone, Utc};
use chrono_tz::Europe::Berlin;
use jiff::{Timestamp, tz::TimeZone as Zone};
use tokio::{sync::mpsc, time::timeout};
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::Failure;

/// A job comes at noon of Berlin; then it is asked when it comes next.
pub(crate) async fn zone() -> Result<(), Failure> {
    let mut scheduler = JobScheduler::new().await?;
    let (sender, mut started) = mpsc::channel(1);
    let job = Job::new_tz("0 0 12 * * *", Berlin, move |_, _| {
        let _ = sender.try_send(());
    })?;
    let id = scheduler.add(job).await?;
    scheduler.start().await?;
    let first = scheduler.next_tick_for_job(id).await?.ok_or("no first start")?;
    timeout(Duration::from_secs(10), started.recv()).await?;
    // The next one is planned by another task.
    let mut second = first;
    while second == first {
        tokio::time::sleep(Duration::from_millis(10)).await;
        second = scheduler.next_tick_for_job(id).await?.ok_or("no second start")?;
    }
    println!("{} {}", first.timestamp(), second.timestamp());
    Ok(())
}

/// croner 3, as tokio-cron-scheduler has it.
pub(crate) fn with_chrono(expression: &str, from: i64, until: i64) -> Result<(), Failure> {
    let cron = croner_chrono::Cron::from_str(expression)?;
    let from = Berlin
        .from_utc_datetime(&chrono::DateTime::<Utc>::from_timestamp(from, 0).ok_or("no time")?.naive_utc());
    for start in cron.iter_after(from).map(|start| start.timestamp()).take_while(|start| *start <= until) {
        println!("{start}");
    }
    Ok(())
}

/// croner 4, with jiff's zones.
pub(crate) fn with_jiff(expression: &str, from: i64, until: i64) -> Result<(), Failure> {
    let cron = croner::Cron::from_str(expression)?;
    let from = Timestamp::from_second(from)?.to_zoned(Zone::get("Europe/Berlin")?);
    for start in
        cron.iter_after(from).map(|start| start.timestamp().as_second()).take_while(|start| *start <= until)
    {
        println!("{start}");
    }
    Ok(())
}

pub(crate) fn parses(expression: &str) -> bool {
    croner::Cron::from_str(expression).is_ok()
}
