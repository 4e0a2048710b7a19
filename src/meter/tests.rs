//! What the registry promises: order, labels that follow a job, and no trace of one that is gone.

use super::{meters::MOST_AT_HAND, *};

const RUNS: Metric = Metric::counter("netjobs_test_total", &["target"], "A test.");
const TIMES: Metric = Metric::histogram("netjobs_test_seconds", &[], &[0.1, 1.0], "A test.");

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    registry.render(&mut text);
    text
}

#[test]
fn series_render_in_the_text_format() {
    let registry = Registry::new(10);
    let meters = registry.job(&"a".into(), "ping", [("site", "la\"b\n")]);
    meters.counter(&RUNS, &["h"]).add(2);
    meters.counter(&RUNS, &["h"]).inc();
    meters.histogram(&TIMES, &[]).observe(0.1);
    meters.histogram(&TIMES, &[]).observe(5.0);
    let labels = "job_name=\"a\",kind=\"ping\",site=\"la\\\"b\\n\"";
    assert_eq!(
        text(&registry),
        format!(
            "# HELP netjobs_test_seconds A test.\n# TYPE netjobs_test_seconds histogram\n\
             netjobs_test_seconds_bucket{{{labels},le=\"0.1\"}} 1\n\
             netjobs_test_seconds_bucket{{{labels},le=\"1\"}} 1\n\
             netjobs_test_seconds_bucket{{{labels},le=\"+Inf\"}} 2\n\
             netjobs_test_seconds_sum{{{labels}}} 5.1\nnetjobs_test_seconds_count{{{labels}}} 2\n\
             # HELP netjobs_test_total A test.\n# TYPE netjobs_test_total counter\n\
             netjobs_test_total{{{labels},target=\"h\"}} 3\n"
        )
    );
}

#[test]
fn a_removed_job_leaves_no_series_and_frees_its_place() {
    let registry = Registry::new(1);
    registry.job(&"a".into(), "ping", []).counter(&RUNS, &["h"]).inc();
    registry.job(&"b".into(), "ping", []).counter(&RUNS, &["h"]).inc();
    assert_eq!(registry.dropped(), 1);
    registry.remove("a");
    assert_eq!(text(&registry), "");
    registry.job(&"b".into(), "ping", []).counter(&RUNS, &["h"]).inc();
    assert!(text(&registry).contains("job_name=\"b\""));
}

#[test]
fn what_a_removed_job_still_counts_is_not_shown() {
    let registry = Registry::new(10);
    let old = registry.job(&"a".into(), "ping", []);
    let held = old.counter(&RUNS, &["h"]);
    registry.remove("a");
    held.inc();
    old.counter(&RUNS, &["other"]).inc();
    assert_eq!(text(&registry), "");
    let new = registry.job(&"a".into(), "ping", []);
    new.counter(&RUNS, &["h"]);
    old.counter(&RUNS, &["h"]).inc();
    old.clear(&RUNS);
    assert!(text(&registry).ends_with("netjobs_test_total{job_name=\"a\",kind=\"ping\",target=\"h\"} 0\n"));
    registry.remove("a");
    assert!(registry.find(&"a".into()).is_none());
    assert_eq!(text(&registry), "");
}

#[test]
fn a_cleared_series_begins_anew_and_is_shown_also_where_it_was_at_hand() {
    let registry = Registry::new(100);
    let ours = registry.job(&"a".into(), "ping", []);
    let theirs = registry.find(&"a".into()).unwrap();
    for number in 0..2 * MOST_AT_HAND {
        ours.counter(&RUNS, &[&number.to_string()]).inc();
    }
    theirs.clear(&RUNS);
    assert_eq!(text(&registry), "");
    ours.counter(&RUNS, &["0"]).add(7);
    theirs.counter(&RUNS, &["0"]).inc();
    assert!(text(&registry).ends_with("target=\"0\"} 8\n"), "{}", text(&registry));
}

#[test]
fn new_labels_move_to_the_series_of_a_job_and_keep_its_counts() {
    let registry = Registry::new(10);
    let old = registry.job(&"a".into(), "ping", [("site", "x")]);
    let held = old.counter(&RUNS, &["h"]);
    held.inc();
    let new = registry.job(&"a".into(), "ping", [("site", "longer"), ("row", "7")]);
    held.inc();
    old.counter(&RUNS, &["h"]).inc();
    new.counter(&RUNS, &["h"]).inc();
    let all = text(&registry);
    assert_eq!(all.lines().count(), 3, "{all}");
    let series =
        "netjobs_test_total{job_name=\"a\",kind=\"ping\",site=\"longer\",row=\"7\",target=\"h\"} 4\n";
    assert!(all.ends_with(series), "{all}");
}

#[test]
fn a_job_of_another_kind_under_the_same_name_begins_anew() {
    let registry = Registry::new(10);
    let old = registry.job(&"a".into(), "ping", []);
    old.counter(&RUNS, &["h"]).inc();
    registry.job(&"a".into(), "wait", []).histogram(&TIMES, &[]);
    old.counter(&RUNS, &["h"]).inc();
    let all = text(&registry);
    assert!(!all.contains("kind=\"ping\"") && all.contains("kind=\"wait\""), "{all}");
}

#[test]
fn a_render_in_many_parts_shows_each_series_once_and_in_order() {
    let registry = Registry::new(100_000);
    let count = 3 * PART + 1;
    for job in (0..count).rev() {
        let meters = registry.job(&format!("job-{job:05}").into(), "ping", []);
        meters.counter(&RUNS, &["b"]);
        meters.counter(&RUNS, &["a"]);
    }
    let all = text(&registry);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 2 + 2 * count);
    assert!(lines[2..].is_sorted(), "job names, then labels");
    assert_eq!(all.matches("# TYPE").count(), 1);
}

#[test]
fn a_series_is_the_same_for_all_threads_that_ask_at_once() {
    let registry = Registry::new(10);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    registry.job(&"a".into(), "ping", []).counter(&RUNS, &["h"]).inc();
                    text(&registry);
                }
            });
        }
    });
    assert!(text(&registry).ends_with("} 4000\n"));
}
