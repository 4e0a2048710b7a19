//! Starts: on time, none lost, and what overlaps or was missed is dealt with as the job says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use netjobs::{
    event::Event,
    outcome::{Cause, Outcome, Reason, Samples, Verdict},
    plan::Timetable,
    value::{Missed, Overlap, Timespan},
};
use tokio::time::sleep;

use super::rig::*;

#[tokio::test(start_paused = true)]
async fn a_period_is_kept_to_the_millisecond() {
    let story = Rig::daemon(vec![passes_after("a", millis(3)).every("100ms")]).stop_after(secs(60)).await;
    let runs = story.runs("a");
    assert!((599..=600).contains(&runs.len()), "{}", runs.len());
    for pair in runs.windows(2) {
        assert_eq!(pair[1].scheduled.duration_since(pair[0].scheduled), SignedDuration::from_millis(100));
    }
    assert!(
        runs.iter().all(|run| run.start_lag <= millis(2)),
        "{:?}",
        runs.iter().map(|run| run.start_lag).max()
    );
    assert_eq!(runs[0].run_id, format!("a@{}", runs[0].scheduled));
    assert!(runs.iter().all(|run| run.duration >= millis(3) && run.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_jobs_a_second_lose_no_start() {
    let jobs: Vec<_> = (0..10_000).map(|at| passes_after(&format!("j{at}"), millis(1)).every("1s")).collect();
    let dawn: Timestamp = DAWN.parse().unwrap();
    let tables: Vec<_> = jobs.iter().map(|job| Timetable::new(&job.name, &job.schedule)).collect();
    let wanted: u64 =
        tables.iter().map(|table| table.count(dawn, dawn + SignedDuration::from_millis(4990))).sum();
    let story = Rig::daemon(jobs).stop_after(secs(5)).await;
    let mut finished = 0;
    for event in &story.events {
        if let Event::RunFinished(run) = event {
            finished += u64::from(run.scheduled <= dawn + SignedDuration::from_millis(4990));
            assert!(run.start_lag <= millis(5), "{:?}", run.start_lag);
        }
    }
    assert_eq!((finished, wanted > 49_000), (wanted, true));
    assert_eq!(story.count(|event| matches!(event, Event::RunSkipped { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn cron_and_a_start_at_once_stand_side_by_side() {
    let both = passes_after("a", millis(1)).cron("*/10 * * * *").with(|job| {
        job.schedule.at = Some(netjobs::value::schedule::At::Start);
    });
    let story = Rig::daemon(vec![both]).stop_after(secs(1500)).await;
    let starts: Vec<_> = story.runs("a").iter().map(|run| run.scheduled.to_string()).collect();
    assert_eq!(starts, ["2026-03-01T00:00:00Z", "2026-03-01T00:10:00Z", "2026-03-01T00:20:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_start_is_told() {
    let story =
        Rig::daemon(vec![passes_after("a", millis(1)).cron("*/10 * * * *")]).stop_after(secs(700)).await;
    let mut told = story.events.iter().filter_map(|event| match event {
        Event::NextRun { at, .. } => *at,
        _ => None,
    });
    assert_eq!(told.next().unwrap().to_string(), "2026-03-01T00:10:00Z");
    assert_eq!(told.next().unwrap().to_string(), "2026-03-01T00:20:00Z");
}

#[tokio::test(start_paused = true)]
async fn jitter_delays_a_start_and_keeps_its_name() {
    let jittered =
        passes_after("a", millis(1)).every("10s").with(|job| job.schedule.jitter = Timespan::secs(4));
    let table = Timetable::new(&jittered.name, &jittered.schedule);
    let story = Rig::daemon(vec![jittered]).stop_after(secs(205)).await;
    let runs = story.runs("a");
    assert!(runs.len() >= 19, "{}", runs.len());
    for run in runs {
        let delay = run.started.duration_since(run.scheduled)
            - SignedDuration::try_from(table.delay(run.scheduled)).unwrap();
        assert!(!delay.is_negative() && delay <= SignedDuration::from_millis(2), "{delay:?}");
        assert!(run.start_lag <= millis(2), "jitter is no lag");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_ended_is_never_taken_for_one_that_still_goes_on() {
    // A crowd starts and ends together, and the engine's own work takes time: about as much as there is for it.
    let jobs = (0..1000).map(|at| passes_after(&format!("j{at}"), millis(1)).cron("* * * * * *"));
    let rig = Rig::daemon(jobs.collect());
    rig.clock.costs(Duration::from_micros(300), 20_000);
    let story = rig.stop_after(secs(10)).await;
    assert!(story.count(|event| matches!(event, Event::RunFinished(_))) >= 9000);
    assert_eq!(story.count(|event| matches!(event, Event::RunSkipped { .. })), 0);
}

/// Six starts of a run that takes two and a half periods.
async fn overlapping(overlap: Overlap) -> (Story, usize) {
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), most.clone());
    let slow = check("a", move |cx| {
        let (now, peak) = (now.clone(), peak.clone());
        Box::pin(async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::select! { () = sleep(secs(25)) => {} () = cx.cancelled() => {} }
            now.fetch_sub(1, Ordering::SeqCst);
            passed()
        })
    });
    let rig = Rig::daemon(vec![slow.every("10s").with(|job| job.overlap = overlap)]);
    let story = rig.stop_after(secs(90)).await;
    (story, most.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn overlap_skip_leaves_starts_out_and_counts_them() {
    let (story, most) = overlapping(Overlap::Skip).await;
    assert_eq!((most, story.skipped("a", Cause::Overlap)), (1, 6));
    assert_eq!(story.runs("a").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn overlap_queue_keeps_one() {
    let (story, most) = overlapping(Overlap::Queue).await;
    assert_eq!(most, 1);
    let runs = story.runs("a");
    assert!(runs.len() >= 4, "{}", runs.len());
    assert!(runs[1].start_lag >= secs(14), "it has waited for the run before it: {:?}", runs[1].start_lag);
    let queued = story.skipped("a", Cause::Shutdown);
    assert_eq!(runs.len() as u64 + story.skipped("a", Cause::Overlap) + queued, 9);
}

#[tokio::test(start_paused = true)]
async fn overlap_replace_ends_the_run_before() {
    let (story, most) = overlapping(Overlap::Replace).await;
    assert_eq!(most, 1);
    let runs = story.runs("a");
    assert_eq!(runs.len(), 9);
    assert!(runs.iter().all(|run| run.reason == Some(Reason::Cancelled) && run.duration <= secs(11)));
    assert_eq!(
        story.count(|event| matches!(event, Event::StateChanged { .. })),
        0,
        "it says nothing of the network"
    );
}

#[tokio::test(start_paused = true)]
async fn overlap_allow_runs_them_beside_each_other() {
    let (story, most) = overlapping(Overlap::Allow).await;
    assert_eq!((most, story.runs("a").len()), (3, 9));
    assert_eq!(story.skipped("a", Cause::Overlap), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_slept_over_is_counted_and_the_next_start_is_on_time() {
    let mut rig = Rig::daemon(vec![passes_after("a", millis(1)).every("1m")]);
    let first = rig.until_finished("a").await.scheduled;
    sleep(secs(30)).await;
    rig.clock.sleep(secs(3600));
    let story = rig.stop_after(secs(100)).await;
    assert_eq!(story.skipped("a", Cause::Missed), 60);
    let runs = story.runs("a");
    assert_eq!(runs[0].scheduled.duration_since(first), SignedDuration::from_secs(61 * 60));
    assert!(runs[0].start_lag <= millis(2));
}

#[tokio::test(start_paused = true)]
async fn missed_once_catches_up_with_one_run() {
    let mut rig =
        Rig::daemon(vec![passes_after("a", millis(1)).every("1m").with(|job| job.missed = Missed::Once)]);
    let first = rig.until_finished("a").await.scheduled;
    sleep(secs(30)).await;
    rig.clock.sleep(secs(3600));
    let story = rig.stop_after(secs(20)).await;
    assert_eq!(story.skipped("a", Cause::Missed), 59);
    assert_eq!(story.run("a").scheduled.duration_since(first), SignedDuration::from_secs(60 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_little_late_takes_place() {
    let mut rig = Rig::daemon(vec![passes_after("a", millis(1)).every("1s")]);
    rig.until_finished("a").await;
    rig.clock.sleep(secs(10));
    let story = rig.stop_after(secs(5)).await;
    let missed = story.skipped("a", Cause::Missed);
    assert!((9..=10).contains(&missed), "{missed}");
    assert!(story.runs("a")[0].start_lag <= secs(2));
}

/// Case 59 of the forward's list, and fault case 38: an hour, a year, and to 1970, 2038 and 2100.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_is_told_and_periods_go_on() {
    for seconds in [3600, -3600, 31_536_000, -31_536_000, -1_772_236_800, 375_160_440, 2_330_121_600] {
        let mut rig = Rig::daemon(vec![passes_after("a", millis(1)).every("10s")]);
        rig.until_finished("a").await;
        rig.clock.step(seconds);
        let told = rig.until(|event| matches!(event, Event::ClockStepped { .. })).await;
        let Event::ClockStepped { seconds: found } = told else { unreachable!("it is that event") };
        assert!((found - seconds as f64).abs() < 0.01, "{found}");
        let story = rig.stop_after(secs(100)).await;
        assert_eq!(story.skipped("a", Cause::Missed), 0, "no time has passed");
        assert_eq!(story.runs("a").len(), 10, "{seconds}");
    }
}

/// Fault case 39: a clock that is set back repeats no start of the day.
#[tokio::test(start_paused = true)]
async fn cron_follows_a_wall_clock_that_was_set() {
    let jobs = || {
        let late = passes_after("once", millis(1)).cron("30 0 * * *").with(|job| job.missed = Missed::Once);
        vec![
            passes_after("minutely", millis(1)).cron("* * * * *"),
            passes_after("daily", millis(1)).cron("30 0 * * *"),
            late,
        ]
    };
    let mut rig = Rig::daemon(jobs());
    rig.until_finished("minutely").await;
    rig.clock.step(3600);
    let story = rig.stop_after(secs(180)).await;
    // The clock jumped from 00:01 to 01:01: of sixty starts one has only just been due, and takes place.
    assert_eq!(story.skipped("minutely", Cause::Missed), 59);
    let starts: Vec<_> = story.runs("minutely").iter().map(|run| run.scheduled.to_string()).collect();
    assert_eq!(starts[..2], ["2026-03-01T01:01:00Z", "2026-03-01T01:02:00Z"]);
    assert_eq!((story.runs("daily").len(), story.skipped("daily", Cause::Missed)), (0, 1));
    assert_eq!(story.run("once").scheduled.to_string(), "2026-03-01T00:30:00Z");

    let mut rig = Rig::daemon(jobs());
    rig.until_finished("daily").await;
    rig.clock.step(-600);
    let story = rig.stop_after(secs(1800)).await;
    assert_eq!(story.runs("daily").len(), 0, "it has come today");
    assert_eq!(story.runs("minutely").len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_check_is_skipped_while_its_need_does_not_hold() {
    let broken =
        check("db", |_| Box::pin(async { Ok(Outcome::failed(Reason::Refused, "no", Samples::default())) }));
    let jobs = vec![broken, passes_after("query", millis(1)).every("10s").needs(&["db"])];
    let story = Rig::daemon(jobs).stop_after(secs(100)).await;
    assert_eq!((story.runs("query").len(), story.skipped("query", Cause::Needs)), (0, 10));
    story.check_verdict("db", Verdict::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_holds_up_nothing_but_its_own_runs() {
    let jobs: Vec<_> = (0..50).map(|at| passes_after(&format!("j{at}"), millis(1)).every("1s")).collect();
    let mut rig = Rig::with_room(netjobs::run::Mode::Daemon, jobs, 4);
    sleep(secs(100)).await;
    // The engine still hears: nobody has read an event so far.
    *rig.files.lock().unwrap() = Ok(vec![]);
    let summary = rig.control.reload().await.unwrap();
    assert_eq!(summary.removed.len(), 50);
    let removed = Arc::new(AtomicUsize::new(0));
    rig.until(|event| {
        matches!(event, Event::JobRemoved { .. }) && removed.fetch_add(1, Ordering::SeqCst) == 49
    })
    .await;
}
