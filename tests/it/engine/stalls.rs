//! A machine that slept and clocks that jump: starts go on within a period, at most one catches up, and what was missed is
//! counted exactly.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use netjobs::{
    event::Event,
    job::Job,
    outcome::Cause,
    value::{Missed, Overlap, Timespan},
};
use tokio::time::sleep;

use super::rig::*;

/// 32 years, in seconds.
const AGE: u64 = 32 * 31_557_600;

/// A job that may run beside itself, and the most runs of it at a time.
fn crowding(name: &str, missed: Missed) -> (Job, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let job = check(name, move |_| {
        let (now, peak) = (now.clone(), peak.clone());
        Box::pin(async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(millis(100)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            passed()
        })
    });
    (job.with(|job| (job.overlap, job.missed) = (Overlap::Allow, missed)), most)
}

/// Starts of a job that came each second are runs or were counted, none is lost and none comes twice.
#[track_caller]
fn check_seconds(story: &Story, name: &str) -> u64 {
    let runs = story.runs(name);
    let (first, last) = (runs[0].scheduled, runs[runs.len() - 1].scheduled);
    let last = story
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RunSkipped { job, scheduled, cause: Cause::Missed, count } if &*job.name == name => {
                Some(*scheduled + SignedDuration::from_secs(i64::try_from(*count).unwrap() - 1))
            }
            _ => None,
        })
        .fold(last, Timestamp::max);
    let between = u64::try_from(last.duration_since(first).as_secs()).unwrap() + 1;
    let missed = story.skipped(name, Cause::Missed);
    assert_eq!(runs.len() as u64 + missed, between, "{name} from {first} to {last}");
    missed
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_at_most_one_run_catches_up_however_far_jitter_spreads() {
    for missed in [Missed::Skip, Missed::Once] {
        let (job, most) = crowding("a", missed);
        let spread = job.cron("* * * * * *").with(|job| job.schedule.jitter = Timespan::secs(600));
        let rig = Rig::daemon(vec![spread]);
        sleep(secs(1200)).await;
        let before = most.swap(0, Ordering::SeqCst);
        rig.clock.sleep(secs(300));
        let story = rig.stop_after(secs(2)).await;
        let after = most.load(Ordering::SeqCst);
        // What jitter has put into one moment starts in it, slept or not; the sleep adds one run at most.
        assert!(after <= before.max(2), "{missed:?}: {after} at a time, {before} before the sleep");
        check_seconds(&story, "a");
    }
}

/// Fault case 40: a boot clock that is 32 years ahead, from the beginning and by a jump, with the wall clock and without.
#[tokio::test(start_paused = true)]
async fn a_boot_clock_far_ahead_costs_no_start_and_makes_no_burst() {
    let jobs = || {
        let jobs = [("skip", Missed::Skip), ("once", Missed::Once)].map(|(name, missed)| {
            let (job, most) = crowding(name, missed);
            (job.every("1s"), most)
        });
        let (cron, most) = crowding("cron", Missed::Skip);
        jobs.into_iter().chain([(cron.cron("* * * * * *"), most)]).unzip::<_, _, Vec<_>, Vec<_>>()
    };
    // The machine has run for so long when the runner begins.
    let (set, _) = jobs();
    let story = Rig::later(set, AGE, None).stop_after(secs(10)).await;
    for name in ["skip", "once", "cron"] {
        assert!(story.runs(name).len() >= 9);
        assert_eq!(check_seconds(&story, name), 0);
    }
    // It sleeps for so long.
    let (set, most) = jobs();
    let mut rig = Rig::daemon(set);
    rig.until_finished("cron").await;
    rig.clock.sleep(secs(AGE));
    let story = rig.stop_after(secs(10)).await;
    for (name, most) in ["skip", "once", "cron"].into_iter().zip(&most) {
        let (missed, runs) = (story.skipped(name, Cause::Missed), story.runs(name));
        assert!(runs.len() >= 9 && runs.iter().all(|run| run.start_lag <= secs(2)), "{name}: {runs:?}");
        println!("{name}: {missed} starts missed in 32 years");
        assert!(missed.abs_diff(AGE) <= 2, "{missed}");
        assert_eq!(most.load(Ordering::SeqCst), 1, "{name} at a time");
    }
    // Only the boot clock jumps: to the runner the wall clock was set back by so much.
    let (set, most) = jobs();
    let mut rig = Rig::daemon(set);
    rig.until_finished("cron").await;
    rig.clock.step(-i64::try_from(AGE).unwrap());
    rig.clock.sleep(secs(AGE));
    let told = rig.until(|event| matches!(event, Event::ClockStepped { .. })).await;
    let Event::ClockStepped { seconds } = told else { unreachable!("it is that event") };
    assert!((seconds + AGE as f64).abs() < 0.1, "{seconds}");
    let story = rig.stop_after(secs(10)).await;
    for (name, most) in ["skip", "once", "cron"].into_iter().zip(&most) {
        assert!(story.runs(name).len() >= 9, "{name}: {}", story.runs(name).len());
        assert_eq!((story.skipped(name, Cause::Missed), most.load(Ordering::SeqCst)), (0, 1), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_and_forward_again_misses_nothing_twice() {
    let daily = passes_after("a", millis(1)).cron("0 3 * * *").with(|job| job.missed = Missed::Once);
    let mut rig = Rig::daemon(vec![daily]);
    let first = rig.until_finished("a").await;
    for seconds in [-86_400, 86_400] {
        rig.clock.step(seconds);
        rig.until(|event| matches!(event, Event::ClockStepped { .. })).await;
    }
    let story = rig.stop_after(secs(3600)).await;
    assert_eq!((story.runs("a").len(), story.skipped("a", Cause::Missed)), (0, 0), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_far_forward_starts_a_daily_job_once() {
    let daily = passes_after("a", millis(1)).cron("0 3 * * *").with(|job| job.missed = Missed::Once);
    let mut rig = Rig::daemon(vec![daily]);
    rig.until_finished("a").await;
    rig.clock.step(365 * 86_400 + 3600);
    let story = rig.stop_after(secs(3600)).await;
    assert_eq!((story.runs("a").len(), story.skipped("a", Cause::Missed)), (1, 364));
    let late = story.run("a").start_lag;
    assert!(late >= SignedDuration::from_mins(59).unsigned_abs(), "{late:?}");
}
