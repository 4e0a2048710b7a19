//! The table of metrics that belong to every job and to the process.

use std::collections::BTreeMap;

use super::*;
use crate::{
    event::JobRef,
    outcome::{Cause, Reason},
    sink::testing::{self, job, noon},
};

fn metrics() -> (Arc<Metrics>, Keeper) {
    let metrics = Metrics::new(Registry::new(1000)).unwrap();
    let keeper = metrics.sink();
    (metrics, keeper)
}

fn tell(keeper: &mut Keeper, events: impl IntoIterator<Item = Event>) {
    for event in events {
        testing::enrol(&keeper.metrics.registry, [&event]);
        keeper.event(&event);
    }
}

#[track_caller]
fn check(text: &str, line: &str) {
    assert!(text.lines().any(|known| known == line), "no `{line}` in\n{text}");
}

const GATEWAY: &str = "{job_name=\"gateway\",kind=\"ping\",site=\"lab\"";

#[test]
fn a_job_begins_with_a_count_of_zero_and_states_nothing() {
    let (metrics, mut keeper) = metrics();
    tell(&mut keeper, [Event::JobAdded { job: job("gateway", "ping") }]);
    let text = metrics.render();
    check(&text, &format!("netjobs_runs_total{GATEWAY}}} 0"));
    check(&text, &format!("netjobs_run_failures_total{GATEWAY},reason=\"timeout\"}} 0"));
    for absent in ["job_up", "job_running", "skipped_total", "last_success", "last_duration", "next_run"] {
        assert!(!text.contains(absent), "{absent} before there is anything to say");
    }
}

#[test]
fn runs_are_counted_by_what_they_came_to() {
    let (metrics, mut keeper) = metrics();
    let gateway = job("gateway", "ping");
    let mut late = testing::finished("gateway", "ping", Verdict::Failed);
    late.reason = Some(Reason::Timeout);
    tell(
        &mut keeper,
        [
            Event::JobAdded { job: gateway.clone() },
            Event::NextRun { job: gateway.clone(), at: Some(noon()) },
            Event::RunStarted { job: gateway.clone(), run_id: "x".into() },
            testing::run("gateway", "ping", Verdict::Passed),
            Event::RunStarted { job: gateway.clone(), run_id: "y".into() },
            Event::RunStarted { job: gateway.clone(), run_id: "z".into() },
            Event::RunFinished(Box::new(late)),
            Event::RunSkipped { job: gateway, scheduled: noon(), cause: Cause::Overlap, count: 3 },
        ],
    );
    let text = metrics.render();
    for line in [
        format!("netjobs_runs_total{GATEWAY}}} 2"),
        format!("netjobs_run_failures_total{GATEWAY},reason=\"timeout\"}} 1"),
        format!("netjobs_runs_skipped_total{GATEWAY},cause=\"overlap\"}} 3"),
        format!("netjobs_job_up{GATEWAY}}} 0"),
        format!("netjobs_job_running{GATEWAY}}} 1"),
        format!("netjobs_job_last_duration_seconds{GATEWAY}}} 0.0125"),
        format!("netjobs_job_last_success_timestamp_seconds{GATEWAY}}} 1795435200.0125"),
        format!("netjobs_job_next_run_timestamp_seconds{GATEWAY}}} 1795435200"),
        "netjobs_run_duration_seconds_count{kind=\"ping\"} 2".into(),
        "netjobs_run_start_lag_seconds_bucket{kind=\"ping\",le=\"0.0005\"} 2".into(),
    ] {
        check(&text, &line);
    }
}

#[test]
fn a_service_is_up_while_it_is_ready() {
    let (metrics, mut keeper) = metrics();
    let web = job("web", "forward");
    let labels = "{job_name=\"web\",kind=\"forward\",site=\"lab\"}";
    tell(&mut keeper, [Event::JobAdded { job: web.clone() }]);
    assert!(!metrics.render().contains("job_up"));
    tell(&mut keeper, [Event::JobReady { job: web, addresses: vec![] }]);
    check(&metrics.render(), &format!("netjobs_job_up{labels} 1"));
    tell(&mut keeper, [testing::run("web", "forward", Verdict::Passed)]);
    check(&metrics.render(), &format!("netjobs_job_up{labels} 0"));
}

#[test]
fn a_removed_job_leaves_no_series_also_when_its_last_run_ends_later() {
    let (metrics, mut keeper) = metrics();
    let gateway = job("gateway", "ping");
    tell(
        &mut keeper,
        [
            Event::JobAdded { job: gateway.clone() },
            Event::RunStarted { job: gateway.clone(), run_id: "x".into() },
            Event::JobRemoved { job: gateway },
            testing::run("gateway", "ping", Verdict::Passed),
        ],
    );
    assert!(!metrics.render().contains("job_name="));
}

#[test]
fn what_the_sink_hears_late_brings_no_removed_job_back() {
    let (metrics, mut keeper) = metrics();
    let registry = keeper.metrics.registry.clone();
    let old = job("gateway", "ping");
    // The engine has added, removed and added a job before the sink hears of any of it.
    testing::enrol(&registry, [&Event::JobAdded { job: old.clone() }]);
    registry.remove("gateway");
    keeper.event(&Event::JobAdded { job: old.clone() });
    keeper.event(&testing::run("gateway", "ping", Verdict::Failed));
    assert!(!metrics.render().contains("job_name="));
    keeper.event(&Event::JobRemoved { job: old.clone() });
    let new = JobRef { id: 1, ..old };
    tell(&mut keeper, [Event::JobAdded { job: new }]);
    keeper.event(&testing::run("gateway", "ping", Verdict::Failed));
    check(&metrics.render(), &format!("netjobs_runs_total{GATEWAY}}} 0"));
    assert!(!metrics.render().contains("job_up"), "the old job's run is not the new job's");
}

#[test]
fn the_last_run_of_an_older_definition_is_counted_and_states_nothing() {
    let (metrics, mut keeper) = metrics();
    let old = job("web", "forward");
    let new = JobRef { id: 1, ..old.clone() };
    let ready = |job: &JobRef| Event::JobReady { job: job.clone(), addresses: vec![] };
    let labels = "{job_name=\"web\",kind=\"forward\",site=\"lab\"}";
    tell(&mut keeper, [Event::JobAdded { job: old.clone() }, ready(&old)]);
    tell(&mut keeper, [Event::NextRun { job: old.clone(), at: Some(noon()) }]);
    tell(&mut keeper, [Event::JobAdded { job: new.clone() }]);
    check(&metrics.render(), &format!("netjobs_job_up{labels} 0"));
    assert!(!metrics.render().contains("next_run"), "what the old definition planned does not come");
    tell(&mut keeper, [ready(&old)]);
    check(&metrics.render(), &format!("netjobs_job_up{labels} 0"));
    tell(&mut keeper, [ready(&new), testing::run("web", "forward", Verdict::Passed)]);
    check(&metrics.render(), &format!("netjobs_job_up{labels} 1"));
    check(&metrics.render(), &format!("netjobs_runs_total{labels} 1"));
}

#[test]
fn a_job_with_new_labels_keeps_its_counts_and_leaves_no_old_series() {
    let (metrics, mut keeper) = metrics();
    let gateway = job("gateway", "ping");
    let labels = BTreeMap::from([("row".to_owned(), "7".to_owned())]);
    let moved = JobRef { labels: Arc::new(labels), ..gateway.clone() };
    tell(
        &mut keeper,
        [
            Event::JobAdded { job: gateway.clone() },
            Event::RunStarted { job: gateway, run_id: "x".into() },
            testing::run("gateway", "ping", Verdict::Passed),
            Event::JobAdded { job: moved },
            testing::run("gateway", "ping", Verdict::Passed),
        ],
    );
    let text = metrics.render();
    assert!(!text.contains("site="), "{text}");
    check(&text, "netjobs_runs_total{job_name=\"gateway\",kind=\"ping\",row=\"7\"} 2");
}

#[test]
fn the_process_has_its_families() {
    let (metrics, mut keeper) = metrics();
    tell(&mut keeper, [Event::Started { jobs: vec![] }, Event::ClockStepped { seconds: 1.0 }]);
    metrics.log_dropped.add(5);
    metrics.events_dropped.add(6);
    let text = metrics.render();
    for line in [
        "netjobs_config_last_reload_successful 1",
        "netjobs_clock_steps_total 1",
        "netjobs_log_dropped_total 5",
        "netjobs_events_dropped_total 6",
        "netjobs_series_dropped_total 0",
    ] {
        check(&text, line);
    }
    assert!(text.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))));
    for name in ["cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "virtual_memory_bytes"]
    {
        assert!(text.contains(&format!("\nprocess_{name} ")), "{name}");
    }
    assert!(text.contains("\nprocess_start_time_seconds ") && text.contains("\nprocess_threads "));
    let time = text.lines().find(|line| line.starts_with("netjobs_config_last_reload_success_timestamp"));
    assert!(!time.unwrap().ends_with(" 0"));
    tell(&mut keeper, [testing::rejected()]);
    check(&metrics.render(), "netjobs_config_last_reload_successful 0");
    check(&metrics.render(), "netjobs_log_dropped_total 5");
}
