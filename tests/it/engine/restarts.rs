//! What was missed while no runner ran: `missed: once` catches up with one run and counts the rest, where a state is kept.

use std::path::Path;

use jiff::Timestamp;
use netjobs::{job::Job, outcome::Cause, state::State, value::Missed};

use super::rig::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn open(folder: &Path) -> State {
    State::open(folder, || ()).unwrap()
}

fn daily(missed: Missed) -> Vec<Job> {
    vec![passes_after("a", millis(1)).cron("0 3 * * *").with(|job| job.missed = missed)]
}

/// A runner that begins and ends so many seconds after the first dawn, with the state of a folder.
async fn run(folder: &Path, jobs: Vec<Job>, from: u64, until: u64) -> Story {
    let state = open(folder);
    let story = Rig::later(jobs, from, Some(state.clone())).stop_after(secs(until - from)).await;
    assert!(state.flush(secs(60)));
    story
}

#[track_caller]
fn check_story(story: &Story, starts: &[&str], missed: u64) {
    let found: Vec<Timestamp> = story.runs("a").iter().map(|run| run.scheduled).collect();
    let wanted: Vec<Timestamp> = starts.iter().map(|start| start.parse().unwrap()).collect();
    assert_eq!((found, story.skipped("a", Cause::Missed)), (wanted, missed));
}

#[tokio::test(start_paused = true)]
async fn a_daily_job_that_came_while_no_runner_ran_starts_once_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let story = run(folder, daily(Missed::Once), 0, 4 * HOUR).await;
    check_story(&story, &["2026-03-01T03:00:00Z"], 0);
    // Three times it would have started.
    let story = run(folder, daily(Missed::Once), 3 * DAY + 8 * HOUR, 3 * DAY + 9 * HOUR).await;
    check_story(&story, &["2026-03-04T03:00:00Z"], 2);
    assert!(story.run("a").start_lag >= secs(5 * HOUR));
    // Nothing is owed any more, and the next start is on time.
    let story = run(folder, daily(Missed::Once), 4 * DAY + 2 * HOUR, 4 * DAY + 4 * HOUR).await;
    check_story(&story, &["2026-03-05T03:00:00Z"], 0);
    assert!(story.run("a").start_lag <= millis(2));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_known_and_has_never_started_is_caught_up_with() {
    let folder = tempfile::tempdir().unwrap();
    check_story(&run(folder.path(), daily(Missed::Once), 0, HOUR).await, &[], 0);
    let story = run(folder.path(), daily(Missed::Once), 5 * HOUR, 6 * HOUR).await;
    check_story(&story, &["2026-03-01T03:00:00Z"], 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_state_and_for_the_first_time_nothing_is_caught_up_with() {
    for begin in [0, 5 * HOUR] {
        let rig = Rig::later(daily(Missed::Once), begin, None);
        let story = rig.stop_after(secs(HOUR)).await;
        check_story(&story, &[], 0);
    }
    let folder = tempfile::tempdir().unwrap();
    check_story(&run(folder.path(), daily(Missed::Once), 5 * HOUR, 6 * HOUR).await, &[], 0);
}

#[tokio::test(start_paused = true)]
async fn missed_skip_keeps_nothing_and_another_schedule_is_another_job() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, daily(Missed::Skip), 0, 4 * HOUR).await;
    let names: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["LOCK"]);
    run(folder, daily(Missed::Once), 4 * HOUR, 5 * HOUR).await;
    let moved = || daily(Missed::Once).into_iter().map(|job| job.cron("30 3 * * *")).collect();
    check_story(&run(folder, moved(), 2 * DAY, 2 * DAY + HOUR).await, &[], 0);
    // It is known from then on, until it is to skip again.
    check_story(&run(folder, moved(), 3 * DAY, 3 * DAY + HOUR).await, &["2026-03-03T03:30:00Z"], 0);
    run(folder, daily(Missed::Skip), 4 * DAY, 4 * DAY + HOUR).await;
    check_story(&run(folder, moved(), 6 * DAY, 6 * DAY + HOUR).await, &[], 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_between_two_runners_repeats_no_start_of_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, daily(Missed::Once), 0, 4 * HOUR).await;
    // An hour less: 03:00 has been.
    let story = run(folder, daily(Missed::Once), 2 * HOUR, 5 * HOUR).await;
    check_story(&story, &[], 0);
    // A clock of long ago, which then comes to the truth: three were missed.
    let rig = Rig::later(daily(Missed::Once), HOUR, Some(open(folder)));
    rig.clock.step(-1_700_000_000);
    tokio::time::sleep(secs(10)).await;
    rig.clock.step(1_700_000_000 + i64::try_from(3 * DAY + 3 * HOUR).unwrap());
    let story = rig.stop_after(secs(HOUR)).await;
    check_story(&story, &["2026-03-04T03:00:00Z"], 2);
}

/// A runner whose clock was ahead, by hours or by years, keeps starts that have not come yet.
#[tokio::test(start_paused = true)]
async fn last_starts_that_lie_in_the_future_silence_no_job() {
    let hourly = || daily(Missed::Once).into_iter().map(|job| job.cron("0 * * * *")).collect();
    for ahead in [2 * HOUR, 30 * DAY, 3650 * DAY] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        run(folder, hourly(), ahead, ahead + 90 * 60).await;
        let story = run(folder, hourly(), 30 * 60, 150 * 60).await;
        check_story(&story, &["2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z"], 0);
        // From the first start on it is as if the clock had always been right: three come while no runner runs.
        let story = run(folder, hourly(), 330 * 60, 390 * 60).await;
        check_story(&story, &["2026-03-01T05:00:00Z", "2026-03-01T06:00:00Z"], 2);
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, daily(Missed::Once), 30 * DAY, 30 * DAY + 4 * HOUR).await;
    let story = run(folder, daily(Missed::Once), 2 * HOUR, 4 * HOUR).await;
    check_story(&story, &["2026-03-01T03:00:00Z"], 0);
    let story = run(folder, daily(Missed::Once), 3 * DAY + 8 * HOUR, 3 * DAY + 9 * HOUR).await;
    check_story(&story, &["2026-03-04T03:00:00Z"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_catch_up_waits_for_what_the_job_needs() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = || {
        let needy = daily(Missed::Once).remove(0).needs(&["db"]);
        vec![passes_after("db", secs(5)), needy]
    };
    run(folder.path(), jobs(), 0, HOUR).await;
    let story = run(folder.path(), jobs(), 2 * DAY, 2 * DAY + HOUR).await;
    check_story(&story, &["2026-03-02T03:00:00Z"], 1);
    assert!(story.run("a").started >= story.run("db").started + jiff::SignedDuration::from_secs(5));
    assert_eq!(story.skipped("a", Cause::Needs), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_taken_out_and_put_back_catches_up_and_one_that_is_changed_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let mut rig = Rig::later(daily(Missed::Once), 0, Some(state));
    rig.until_finished("a").await;
    rig.reload(daily(Missed::Once).into_iter().map(|job| job.with(|job| job.identity = 1)).collect()).await;
    rig.reload(vec![]).await;
    rig.clock.sleep(secs(2 * DAY));
    rig.reload(daily(Missed::Once)).await;
    let story = rig.stop_after(secs(HOUR)).await;
    check_story(&story, &["2026-03-03T03:00:00Z"], 1);
}
