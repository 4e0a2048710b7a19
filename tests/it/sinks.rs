//! All sinks together behind the hub, judged by programs that are not ours, and what becomes of them when nobody reads.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::Arc,
};

use netjobs::{
    event::{Event, JobRef},
    meter::{Counter, Registry},
    outcome::{Metric, NETWORK_SECONDS, Verdict},
    sink::{
        Level, Sink,
        file::Output,
        history::History,
        json::{Format, Lines, Log, Results},
        junit::Junit,
        metrics::Metrics,
        pump,
        queue::Queue,
        tap::Tap,
        testing::{self, Paper},
        units::Units,
    },
};
use tokio::sync::mpsc;

/// Quotes, a line break, ESC, a right-to-left override, a NUL, what is left of invalid UTF-8, and 64 KB.
fn hostile() -> String {
    let lossy = String::from_utf8_lossy(b"\xff\xfe \xe2\x28").into_owned();
    format!("q\" b\\ n\n r\r esc\u{1b}[2J rtl\u{202e} nul\0 {lossy} {}", "é".repeat(32_768))
}

fn hostile_job() -> JobRef {
    let labels = BTreeMap::from([("note".to_owned(), hostile())]);
    JobRef { labels: Arc::new(labels), ..testing::job("hostile", "exchange") }
}

async fn tell(events: impl IntoIterator<Item = Event>, sinks: Vec<Box<dyn Sink>>) {
    let (sender, receiver) = mpsc::channel(16);
    let send = async {
        for event in events {
            // The hub ends with `Stopped`.
            let _ = sender.send(event).await;
        }
        drop(sender);
    };
    tokio::join!(send, pump(receiver, sinks));
}

#[track_caller]
pub(crate) fn check_promtool(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs: it comes with Debian's package `prometheus`");
    let mut input = promtool.stdin.take().expect("its stdin is a pipe");
    input.write_all(text.as_bytes()).expect("it reads to the end");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Every metric of the table in the manual that belongs to no kind.
pub(crate) const TABLE: &[&str] = &[
    "netjobs_runs_total",
    "netjobs_run_failures_total",
    "netjobs_runs_skipped_total",
    "netjobs_run_duration_seconds",
    "netjobs_run_start_lag_seconds",
    "netjobs_job_up",
    "netjobs_job_last_duration_seconds",
    "netjobs_job_last_success_timestamp_seconds",
    "netjobs_job_next_run_timestamp_seconds",
    "netjobs_job_running",
    "netjobs_config_last_reload_successful",
    "netjobs_config_last_reload_success_timestamp_seconds",
    "netjobs_build_info",
    "netjobs_log_dropped_total",
    "netjobs_state_write_failures_total",
    "netjobs_clock_steps_total",
    "netjobs_relay_pipes",
    "netjobs_relay_fallbacks_total",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

/// The metrics after one event of each sort, none of which removes a job.
pub(crate) async fn metrics_of_all(job: JobRef) -> (Arc<Registry>, Arc<Metrics>) {
    let registry = Registry::new(1000);
    let metrics = Metrics::new(registry.clone()).unwrap();
    let mut events = testing::all();
    events.retain(|event| !matches!(event, Event::JobRemoved { .. }));
    events.insert(1, Event::JobAdded { job });
    testing::enrol(&registry, &events);
    tell(events, vec![Box::new(metrics.sink())]).await;
    (registry, metrics)
}

#[tokio::test]
async fn promtool_is_silent_and_the_whole_table_is_there() {
    const SEEN: Metric =
        Metric::histogram("netjobs_test_seconds", &["target"], NETWORK_SECONDS, "A \\ test.");
    let (registry, metrics) = metrics_of_all(hostile_job()).await;
    let meters = registry.job(&"hostile".into(), "exchange", [("note", hostile().as_str())]);
    meters.histogram(&SEEN, &["tcp://\"x\":1"]).observe(0.01);
    let text = metrics.render();
    check_promtool(&text);
    for name in TABLE {
        assert!(text.contains(&format!("\n# TYPE {name} ")), "no {name}");
    }
    assert!(!text.contains("job=\""), "the label is `job_name`");
}

/// Fault case 68: labels, messages and records with all that a peer or a file may put into them.
#[tokio::test]
async fn case_68_hostile_labels_and_messages_leave_every_sink_whole() {
    let (log, xml, tap, results) = (Paper::default(), Paper::default(), Paper::default(), Paper::default());
    let mut run = testing::finished("hostile", "exchange", Verdict::Failed);
    run.job = hostile_job();
    run.message = Some(hostile());
    run.detail = serde_json::json!({ "answer": hostile() }).into();
    let queue = Queue::start(log.writer(), Counter::default()).unwrap();
    let history = History::new();
    let (junit, xml_written) = Junit::new(Output::Stream(xml.writer()), &hostile(), Units::default());
    let (taps, tap_written) = Tap::new(Output::Stream(tap.writer()), Units::default());
    let (records, results_written) = Results::new(Output::Stream(results.writer()));
    let sinks: Vec<Box<dyn Sink>> = vec![
        Box::new(Log::new(queue, Format::Json, Level::Info)),
        Box::new(history.sink()),
        Box::new(junit),
        Box::new(taps),
        Box::new(records),
    ];
    let job = hostile_job();
    tell([Event::Started { jobs: vec![job] }, Event::RunFinished(Box::new(run)), Event::Stopped], sinks)
        .await;
    for written in [xml_written, tap_written, results_written] {
        written.result().unwrap();
    }
    let risky = |text: &str| text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    for text in [log.text(), xml.text(), tap.text(), results.text()] {
        assert_eq!(risky(&text), None, "{text}");
    }
    let lines: Vec<serde_json::Value> =
        log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["labels"]["note"], hostile(), "labels are the file's own and stay whole");
    assert!(lines[1]["message"].as_str().unwrap().len() < 4096);
    assert_eq!(tap.text().lines().filter(|line| line.starts_with("not ok")).count(), 1);
    assert_eq!(history.runs("hostile").unwrap()["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_line_of_the_log_is_what_the_schema_says() {
    let schema = serde_json::from_str(include_str!("../../schema/events.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let paper = Paper::default();
    let queue = Queue::start(paper.writer(), Counter::default()).unwrap();
    let log = Log::new(queue, Format::Json, Level::Debug);
    log.diagnostics().say(Level::Warn, "the disk is full");
    let (lines, _) = Lines::new(paper.writer());
    tell(testing::all(), vec![Box::new(lines), Box::new(log)]).await;
    let mut count = 0;
    for line in paper.text().lines() {
        let record = serde_json::from_str(line).unwrap();
        assert!(validator.is_valid(&record), "{line}");
        count += 1;
    }
    assert_eq!(count, 22 + 21, "22 records, of which two are steps, and a diagnostic in the log");
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_nothing_else() {
    let metrics = Metrics::new(Registry::new(1000)).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let queue = Queue::start(Box::new(full), metrics.log_dropped.clone()).unwrap();
    let log = Log::new(queue, Format::Json, Level::Info);
    let runs = (0..500).map(|_| testing::run("gateway", "ping", Verdict::Passed));
    tell(runs.chain([Event::Stopped]), vec![Box::new(log), Box::new(metrics.sink())]).await;
    let text = metrics.render();
    assert!(text.contains("\nnetjobs_log_dropped_total 501\n"), "{text}");
    assert!(text.contains("netjobs_run_duration_seconds_count{kind=\"ping\"} 500\n"));
}

#[tokio::test]
async fn a_log_in_a_file_is_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.log");
    std::fs::write(&path, "before\n").unwrap();
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    let dropped = Counter::default();
    let queue = Queue::start(Box::new(file), dropped.clone()).unwrap();
    tell([Event::Stopped], vec![Box::new(Log::new(queue, Format::Json, Level::Info))]).await;
    let mut text = String::new();
    File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    let (before, record) = text.split_once('\n').unwrap();
    assert_eq!((before, dropped.value()), ("before", 0));
    assert!(record.contains("\"event\":\"stopped\"") && record.ends_with('\n'), "{record}");
}

#[test]
fn a_hundred_thousand_series_render_whole() {
    const SENT: Metric = Metric::counter("netjobs_ping_sent_packets_total", &["target", "family"], "Sent.");
    let registry = Registry::new(100_000);
    for job in 0..10_000 {
        let meters = registry.job(&format!("job-{job}").into(), "ping", [("site", "lab")]);
        for target in 0..10 {
            meters.counter(&SENT, &[&format!("10.0.{target}.1"), "ipv4"]).add(target);
        }
    }
    let mut text = String::new();
    registry.render(&mut text);
    assert_eq!(text.lines().count(), 100_002);
    assert_eq!(registry.dropped(), 0);
    check_promtool(&text);
}
