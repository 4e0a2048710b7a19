//! The daemon as the built program: its scrapes with all of `jobs/`, reloads by signal, and the time of a drain.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    program::{Daemon, netjobs},
    sinks::{TABLE, check_promtool},
};

/// Every metric of the table in the manual that belongs to a kind.
const OF_KINDS: &[&str] = &[
    "netjobs_ping_sent_packets_total",
    "netjobs_ping_received_packets_total",
    "netjobs_ping_lost_packets_total",
    "netjobs_ping_duplicate_packets_total",
    "netjobs_ping_late_packets_total",
    "netjobs_ping_rtt_seconds",
    "netjobs_sweep_hosts",
    "netjobs_sweep_changes_total",
    "netjobs_sweep_packets_total",
    "netjobs_sweep_local_drops_total",
    "netjobs_wait_attempts_total",
    "netjobs_wait_seconds",
    "netjobs_exchange_rtt_seconds",
    "netjobs_forward_connections_total",
    "netjobs_forward_connections_active",
    "netjobs_forward_closes_total",
    "netjobs_echo_connections_total",
    "netjobs_echo_connections_active",
    "netjobs_echo_closes_total",
    "netjobs_forward_received_bytes_total",
    "netjobs_forward_sent_bytes_total",
    "netjobs_forward_spliced_bytes_total",
    "netjobs_forward_upstream_up",
    "netjobs_forward_connect_seconds",
    "netjobs_forward_dropped_datagrams_total",
    "netjobs_interface_up",
    "netjobs_interface_info",
    "netjobs_interface_address_info",
    "netjobs_interface_mtu_bytes",
    "netjobs_ipv6_supported",
    "netjobs_ipc_rtt_seconds",
];

/// Those of the program itself that stand in no row of the table.
const OWN: &[&str] = &["netjobs_events_dropped_total", "netjobs_series_dropped_total"];

/// One job that fails and one that is skipped for it: their families appear with their first use. And a forward of datagrams,
/// which has a family of its own.
const BROKEN: &str = "
jobs:
  - name: broken
    ipv6: {}
    expect: { supported: [true, false] }
  - name: left-out
    every: 1s
    needs: [broken]
    ipc: {}
  - name: datagrams
    forward: { listen: 'udp://127.0.0.1:0', to: 'udp://127.0.0.1:9' }
";

impl Daemon {
    /// The next record of an event.
    #[track_caller]
    pub(crate) fn record(&mut self, event: &str) -> Value {
        serde_json::from_str(&self.process.line_with(&format!("\"event\":\"{event}\""))).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// The lines of a scrape that contain all of these.
    #[track_caller]
    fn series(&self, parts: &[&str]) -> Vec<String> {
        let text = self.get("/metrics");
        let lines = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn a_scrape_of_all_jobs_shows_every_metric_of_the_table_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broken.yaml"), BROKEN).unwrap();
    // The same jobs with shorter periods.
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs")).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let text = ["15s", "10s", "1m", "5m"]
            .iter()
            .fold(text, |text, period| text.replace(&format!("every: {period}"), "every: 1s"));
        fs::write(folder.path().join(entry.file_name()), text).unwrap();
    }
    let mut daemon = Daemon::start(&mut netjobs(&["run", folder.path().to_str().unwrap()]));
    // Every check has run, or was left out, and each kind of service has closed a connection.
    let checks = ["echo-answers", "echo-answers-datagrams", "forward-works", "nics", "loopback-is-up"];
    let others = ["ipc", "ipv6", "loopback", "neighbours", "forward-is-up", "broken", "left-out"];
    let mut missing: BTreeSet<String> = checks.into_iter().chain(others).map(str::to_owned).collect();
    missing.extend(["forward closed".to_owned(), "echo closed".to_owned()]);
    while !missing.is_empty() {
        let record: Value = serde_json::from_str(&daemon.process.line_with("\"job_name\"")).unwrap();
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        match text("event") {
            "run_finished" | "run_skipped" => missing.remove(text("job_name")),
            "connection_closed" => missing.remove(&format!("{} closed", text("kind"))),
            _ => false,
        };
    }
    let answer = daemon.get("/metrics");
    let (_, scrape) = answer.split_once("\r\n\r\n").unwrap();
    check_promtool(scrape);
    let heads = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let shown: BTreeSet<&str> = heads.map(|(name, _)| name).collect();
    let table: BTreeSet<&str> = [OF_KINDS, TABLE, OWN].concat().into_iter().collect();
    assert_eq!(shown, table);
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_reload_by_signal_is_all_or_nothing_and_leaves_alone_what_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.yaml");
    let write = |text: &str| fs::write(&file, format!("jobs:\n{text}")).unwrap();
    let echo = "  - name: kept\n    echo: { listen: 127.0.0.1:0 }\n";
    let check = |name: &str, label: &str| {
        format!(
            "  - name: {name}\n    every: 100ms\n    labels: {{ site: {label} }}\n    ipv6: {{}}\n    expect: {{}}\n"
        )
    };
    write(&[echo, &check("gone", "a"), &check("changed", "a")].concat());
    // The watch may be faster than who sends the signal, and then there are two reloads.
    let mut daemon = Daemon::start(&mut netjobs(&["run", file.to_str().unwrap(), "--no-watch"]));
    let ready = daemon.record("job_ready");
    let mut client = TcpStream::connect(&ready["addresses"][0].as_str().unwrap()["tcp://".len()..]).unwrap();
    let mut echoes = |text: &[u8]| {
        let mut answer = vec![0; text.len()];
        client.write_all(text).unwrap();
        client.read_exact(&mut answer).unwrap();
        answer == text
    };
    assert!(echoes(b"before"));
    daemon.process.line_with("\"job_name\":\"gone\"");
    assert_ne!(daemon.series(&["job_name=\"gone\""]).len(), 0);

    write(&[echo, "  - name: x\n    pnig: {}\n"].concat());
    daemon.signal(Signal::SIGHUP);
    let rejected = daemon.record("config_rejected");
    assert_eq!(
        (&rejected["diagnostics"][0]["line"], &rejected["diagnostics"][0]["column"]),
        (&5.into(), &5.into())
    );
    assert_eq!(daemon.series(&["last_reload_successful 0"]).len(), 1);
    daemon.process.line_with("\"job_name\":\"gone\"");

    daemon.process.line_with("\"job_name\":\"changed\"");
    let count = |daemon: &Daemon| -> u64 {
        let series = daemon.series(&["netjobs_runs_total", "job_name=\"changed\""]);
        assert_eq!(series.len(), 1, "{series:?}");
        series[0].rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let before = count(&daemon);
    write(&[echo, &check("changed", "b")].concat());
    for _ in 0..50 {
        daemon.signal(Signal::SIGHUP);
    }
    let reloaded = daemon.record("config_reloaded");
    assert_eq!((&reloaded["removed"][0], &reloaded["changed"][0]), (&"gone".into(), &"changed".into()));
    assert_eq!(daemon.series(&["job_name=\"gone\""]).len(), 0, "at the next scrape");
    assert!(before > 0 && count(&daemon) >= before, "a changed job keeps its counts");
    assert_eq!(daemon.series(&["job_name=\"changed\"", "site=\"a\""]).len(), 0);
    assert_eq!(daemon.series(&["last_reload_successful 1"]).len(), 1);
    assert!(echoes(b"after"), "a connection of a service that is the same");
    drop(client);
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_runner_that_drains_is_healthy_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let file: &Path = &folder.path().join("jobs.yaml");
    fs::write(file, "jobs:\n  - name: a\n    echo: { listen: 127.0.0.1:0 }\n").unwrap();
    let mut daemon = Daemon::start(&mut netjobs(&["run", file.to_str().unwrap()]));
    let ready = daemon.record("job_ready");
    let mut client = TcpStream::connect(&ready["addresses"][0].as_str().unwrap()["tcp://".len()..]).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    assert!(daemon.get("/-/ready").starts_with("HTTP/1.1 200"));
    daemon.signal(Signal::SIGTERM);
    // The connection holds the drain; where nothing said so, this would end with the runner.
    while daemon.get("/-/ready").starts_with("HTTP/1.1 200") {}
    assert!(daemon.get("/-/healthy").starts_with("HTTP/1.1 200"));
    drop(client);
    assert_eq!(daemon.process.wait(), Some(0));
}

#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
#[test]
fn threads_share_the_heap_so_that_what_one_frees_another_uses() {
    /// An arena but the first begins at a multiple of this.
    const ARENA: u64 = 64 << 20;
    let folder = tempfile::tempdir().unwrap();
    let check = |number| format!("  - name: a{number}\n    every: 100ms\n    ipc: {{}}\n");
    let checks: String = (0..20).map(check).collect();
    fs::write(folder.path().join("jobs.yaml"), format!("jobs:\n{checks}")).unwrap();
    let mut daemon = Daemon::start(&mut netjobs(&["run", folder.path().to_str().unwrap()]));
    // So many runs and reloads that every thread has had something to do.
    for _ in 0..10 {
        for _ in 0..20 {
            daemon.record("run_finished");
        }
        daemon.signal(Signal::SIGHUP);
        daemon.record("config_reloaded");
        daemon.get("/metrics");
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.process.child.id())).unwrap();
    let is_arena = |line: &&str| {
        let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        start.is_multiple_of(ARENA) && line.contains(" rw-p ") && line.ends_with(" 0 ")
    };
    let arenas = 1 + maps.lines().filter(is_arena).count();
    let (cores, threads) = (std::thread::available_parallelism().unwrap().get(), daemon.status("Threads"));
    assert!(arenas <= cores.min(8), "{arenas} arenas on {cores} cores for {threads} threads\n{maps}");
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

/// What is broken off shows in the exit code, as the manual says.
#[test]
fn a_daemon_whose_grace_is_over_ends_with_the_signal_s_code() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = folder.path().join("jobs.yaml");
    fs::write(&jobs, "jobs:\n  - name: a\n    echo: { listen: 0 }\n").unwrap();
    let flags = ["--grace", "1ms", "--drain-idle", "10m"];
    let mut daemon = Daemon::start(netjobs(&["run", jobs.to_str().unwrap()]).args(flags));
    let ready: Value = serde_json::from_str(&daemon.process.line_with("job_ready")).unwrap();
    let address = ready["addresses"][0].as_str().unwrap().trim_start_matches("tcp://");
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(143));
}
