//! The wall clock set under a running program: by an hour, by a year, and to 1970, 2038 and 2100.

use std::fs;

use jiff::{SignedDuration, Timestamp};

use super::{
    faketime,
    story::{EACH_SECOND, NAMES, Story},
};
use crate::program::netjobs;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// Sets the clock so many seconds away from the true time, under a daemon that runs; judges what it does then.
fn check_step(story: &mut Story, file: &std::path::Path, from: i64, to: i64) {
    let (before, steps) = (Timestamp::now(), story.steps.len());
    let told = NAMES.map(|name| story.told(name).len());
    // Whole or not at all: it is read at every look at the clock.
    let fresh = file.with_extension("new");
    fs::write(&fresh, format!("{to:+}")).unwrap();
    fs::rename(fresh, file).unwrap();
    let true_time = |told: Timestamp| told - SignedDuration::from_secs(to);
    // The first two starts of each job by the new clock.
    let is_new = |at: Timestamp| true_time(at).duration_since(before).abs() < SignedDuration::from_mins(5);
    story.until(|story| {
        story.steps.len() > steps
            && NAMES.iter().zip(told).all(|(name, told)| {
                let runs = story.told(name)[told..].iter().filter(|told| told.started.is_some());
                runs.filter(|run| is_new(run.scheduled)).count() >= 2
            })
    });
    let found = story.steps[steps];
    assert_eq!(story.steps.len(), steps + 1, "told once: {:?}", story.steps);
    assert!((found - (to - from) as f64).abs() < 0.5, "{found}, not {}", to - from);
    for (name, told) in NAMES.into_iter().zip(told) {
        let news = &story.told(name)[told..];
        let runs: Vec<_> = news.iter().filter(|told| told.started.is_some()).collect();
        let first = runs.iter().filter_map(|run| run.started).find(|started| is_new(*started)).unwrap();
        let pause = true_time(first).duration_since(before);
        // A step is noticed within a second, a period is another.
        assert!(pause <= SignedDuration::from_millis(3500), "{name}: the first start came {pause:#} after");
        let missed: u64 = news.iter().filter(|told| told.started.is_none()).map(|told| told.count).sum();
        let jumped = u64::try_from(to - from).unwrap_or(0);
        let wanted = if name == "beat" { 0 } else { jumped };
        // What the clock jumped over begins at a part of a second, and one of it may be a run.
        assert!(missed.abs_diff(wanted) <= 2, "{name}: {missed} missed by a step of {} s", to - from);
        assert!(runs.len() <= 6, "{name}: a burst of {}", runs.len());
        eprintln!("{:+} s: {name} starts {pause:#} after, {missed} missed", to - from);
    }
}

/// Fault cases 38 and 39: the clock an hour and a year away and back, at 1970, 2038 and 2100.
#[test]
fn a_clock_that_is_set_stops_no_job_and_makes_no_burst() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offset");
    fs::write(&file, "+0").unwrap();
    let mut command = netjobs(&["run"]);
    command
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME_TIMESTAMP_FILE", &file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut story = Story::start(&mut command, EACH_SECOND);
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, Timestamp::UNIX_EPOCH, 2)));
    // On its way through the last second that 32 bits hold, a second of 1970, and 2100.
    let now = Timestamp::now().as_second();
    let (last, first, far) = ((1 << 31) - 3 - now, 86_400 - now, 4_102_444_800 - 2 - now);
    let mut from = 0;
    for to in [HOUR, 0, -HOUR, YEAR, 0, -YEAR, last, first, far, 0] {
        check_step(&mut story, &file, from, to);
        from = to;
    }
    let metrics = story.daemon.get("/metrics");
    assert!(metrics.contains("netjobs_clock_steps_total 10\n"), "{metrics}");
    story.end();
}
