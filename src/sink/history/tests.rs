//! What the HTTP side is told, and when a job counts as stale.

use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::{
    outcome::Cause,
    sink::testing::{self, job, noon},
};

fn history(events: impl IntoIterator<Item = Event>) -> History {
    let history = History::new();
    tell(&history, events);
    history
}

fn tell(history: &History, events: impl IntoIterator<Item = Event>) {
    let mut keeper = history.sink();
    events.into_iter().for_each(|event| keeper.event(&event));
}

fn next(name: &str, seconds: i64) -> Event {
    let at = Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
    Event::NextRun { job: job(name, "ping"), at: Some(at) }
}

fn started(name: &str) -> Event {
    Event::RunStarted { job: job(name, "ping"), run_id: "x".into() }
}

#[test]
fn a_job_shows_its_last_outcome_and_its_runs_newest_first() {
    let history = history([
        Event::Started { jobs: vec![job("gateway", "ping")] },
        started("gateway"),
        testing::run("gateway", "ping", Verdict::Passed),
        testing::run("gateway", "ping", Verdict::Failed),
        Event::NextRun { job: job("gateway", "ping"), at: Some(noon()) },
        testing::run("nobody", "ping", Verdict::Failed),
    ]);
    let jobs = history.jobs();
    assert_eq!(
        jobs,
        json!({ "jobs": [{
            "job_name": "gateway",
            "kind": "ping",
            "service": false,
            "labels": { "site": "lab" },
            "verdict": "failed",
            "reason": "expectation",
            "message": "loss is 25%, wanted <= 5%",
            "last_started": "2026-11-23T12:00:00.000000Z",
            "last_duration_seconds": 0.0125,
            "running": 0,
            "next_run": "2026-11-23T12:00:00.000000Z",
            "ready": null,
            "stale": false,
        }] })
    );
    let runs = history.runs("gateway").unwrap();
    let verdicts: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| &run["verdict"]).collect();
    assert_eq!(verdicts, ["failed", "passed"]);
    assert_eq!(history.runs("nobody"), None);
    let status = history.status();
    assert_eq!(status["jobs"]["failed"], 1);
    assert_eq!(status["config"]["last_reload_successful"], true);
}

#[test]
fn a_removed_job_is_forgotten_and_a_changed_one_is_not() {
    let history = history([
        Event::Started { jobs: vec![job("a", "ping"), job("b", "ping")] },
        testing::run("a", "ping", Verdict::Passed),
        testing::run("b", "ping", Verdict::Passed),
        Event::JobRemoved { job: job("a", "ping") },
        Event::JobAdded { job: job("b", "ping") },
        testing::rejected(),
    ]);
    assert_eq!(history.runs("a"), None);
    assert_eq!(history.runs("b").unwrap()["runs"].as_array().unwrap().len(), 1);
    assert_eq!(history.status()["config"]["last_reload_successful"], false);
}

#[test]
fn services_hold_readiness_until_they_serve_end_well_or_wait_for_their_window() {
    let web = job("web", "forward");
    let history = history([Event::Started { jobs: vec![web.clone(), job("gateway", "ping")] }]);
    assert_eq!(history.not_ready(), ["web".into()]);
    tell(&history, [Event::JobReady { job: web.clone(), addresses: vec!["tcp://[::1]:1".into()] }]);
    assert_eq!(history.not_ready().len(), 0);
    assert_eq!(history.rows()[1].state, State::Well);
    tell(&history, [testing::run("web", "forward", Verdict::Errored)]);
    assert_eq!(history.not_ready(), ["web".into()]);
    assert_eq!(history.rows()[1].state, State::Ill);
    tell(&history, [testing::run("web", "forward", Verdict::Passed)]);
    assert_eq!(history.not_ready().len(), 0, "ended by stop_on");
    tell(&history, [Event::JobRemoved { job: web.clone() }, Event::JobAdded { job: web }]);
    assert_eq!(history.not_ready(), ["web".into()]);
    tell(&history, [next("web", 3600)]);
    assert_eq!(history.not_ready().len(), 0, "its window comes later");
}

#[tokio::test(start_paused = true)]
async fn a_changed_job_is_ready_due_and_stale_by_its_new_definition_alone() {
    let (web, gateway) = (job("web", "forward"), job("gateway", "ping"));
    let ready = |job: &JobRef| Event::JobReady { job: job.clone(), addresses: vec!["tcp://[::1]:1".into()] };
    let history = history([
        Event::Started { jobs: vec![web.clone(), gateway.clone()] },
        ready(&web),
        next("gateway", 0),
        next("gateway", 1),
    ]);
    let [new_web, new_gateway] = [web, gateway].map(|job| JobRef { id: 1, ..job });
    tell(&history, [new_web.clone(), new_gateway].map(|job| Event::JobAdded { job }));
    assert_eq!(history.not_ready(), ["web".into()]);
    tell(&history, [ready(&new_web), testing::run("web", "forward", Verdict::Passed)]);
    assert_eq!(history.not_ready().len(), 0, "the old run has ended, the new one serves");
    assert_eq!(history.runs("web").unwrap()["runs"].as_array().unwrap().len(), 1);
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(history.stale().len(), 0, "it has no schedule any more");
    assert_eq!(history.rows()[0].next_run, None);
}

#[test]
fn an_old_run_is_not_taken_for_one_of_a_later_job_of_the_same_name() {
    let history = history([Event::Started { jobs: vec![job("a", "ping")] }]);
    let again = JobRef { id: 1, ..job("a", "ping") };
    tell(&history, [Event::JobRemoved { job: job("a", "ping") }, Event::JobAdded { job: again }]);
    tell(&history, [testing::run("a", "ping", Verdict::Failed)]);
    assert_eq!(history.rows()[0].verdict, None);
    assert_eq!(history.runs("a").unwrap()["runs"].as_array().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_never_comes_makes_a_job_stale_after_a_minute() {
    let history = history([Event::Started { jobs: vec![job("a", "ping")] }, next("a", 0), next("a", 10)]);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(history.stale().len(), 0);
    tokio::time::advance(Duration::from_secs(12)).await;
    assert_eq!(history.stale(), ["a".into()]);
    tell(&history, [started("a")]);
    assert_eq!(history.stale().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_with_a_long_period_has_three_of_them() {
    let history =
        history([Event::Started { jobs: vec![job("a", "ping")] }, next("a", 3600), next("a", 7200)]);
    tokio::time::advance(Duration::from_secs(7200 + 3 * 3600 - 1)).await;
    assert_eq!(history.stale().len(), 0);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(history.stale(), ["a".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_never_ends_makes_its_job_stale_and_a_need_that_does_not_hold_does_not() {
    let jobs = vec![job("wedged", "ping"), job("needy", "ping")];
    let history = history([Event::Started { jobs }, next("wedged", 0), next("needy", 0), started("wedged")]);
    let skip =
        |name: &str, cause| Event::RunSkipped { job: job(name, "ping"), scheduled: noon(), cause, count: 1 };
    for second in 1..=9 {
        tell(&history, [next("wedged", 10 * second), next("needy", 10 * second)]);
        tokio::time::advance(Duration::from_secs(10)).await;
        tell(&history, [skip("wedged", Cause::Overlap), skip("needy", Cause::Needs)]);
    }
    assert_eq!(history.stale(), ["wedged".into()]);
    tell(&history, [testing::run("wedged", "ping", Verdict::Errored)]);
    assert_eq!(history.stale().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_starts_once_and_waits_for_its_needs_is_not_stale() {
    let history = history([Event::Started { jobs: vec![job("a", "ping")] }, next("a", 0)]);
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(history.stale().len(), 0);
}
