//! The examples, run where they can be: what a user copies must work.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::program::{Running, check, netjobs};

fn example(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(path).display().to_string()
}

#[test]
fn each_example_has_a_readme() {
    let folders: Vec<_> = fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(folders.len() >= 7, "{folders:?}");
    for folder in folders {
        assert!(folder.join("README.md").is_file(), "{} has no README.md", folder.display());
    }
}

#[test]
fn every_job_file_of_the_examples_is_right() {
    for file in [
        "ci-smoke/smoke.yaml",
        "health/forward.yaml",
        "lan-sweep/lan.yaml",
        "proxy-protocol/forward.yaml",
        "tcp-forward/forward.yaml",
    ] {
        check(&["check", &example(file)], 0);
    }
    let manifest = fs::read_to_string(example("container/kubernetes.yaml")).unwrap();
    let map: Value = serde_yaml::from_str(manifest.split("\n---\n").next().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.yaml");
    fs::write(&file, map["data"]["jobs.yaml"].as_str().unwrap()).unwrap();
    check(&["check", &file.display().to_string()], 0);
}

#[test]
fn the_smoke_check_of_a_service_passes_and_leaves_a_junit_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.xml");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = Command::new(example("ci-smoke/run.sh"))
        .arg(&report)
        .env("NETJOBS", env!("CARGO_BIN_EXE_netjobs"))
        .env("PORT", port.to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let xml = fs::read_to_string(report).unwrap();
    assert!(xml.contains("classname=\"wait\"") && xml.contains("name=\"service-answers\""), "{xml}");
    assert!(xml.contains("failures=\"0\""), "{xml}");
}

#[test]
fn the_forwarder_takes_the_next_upstream_where_the_first_refuses() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut echo = Running::start(&mut netjobs(&["echo", "--listen", "0"]));
    let upstream = echo.ready("tcp://");
    let mut command =
        netjobs(&["run", &example("tcp-forward/forward.yaml"), "--web.listen-address", "127.0.0.1:0"]);
    command.env("LISTEN", "127.0.0.1:0").env("UPSTREAM_1", refused).env("UPSTREAM_2", upstream);
    let mut daemon = Running::start(&mut command);
    let ready: Value = serde_json::from_str(&daemon.line_with("job_ready")).unwrap();
    let address = ready["addresses"][0].as_str().unwrap().to_owned();
    for _ in 0..3 {
        check(&["exchange", "--to", &address, "--send", "hello"], 0);
    }
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
}

#[test]
fn an_upstream_whose_check_fails_gets_no_clients_until_it_passes() {
    let echo = |at: &str| Running::start(&mut netjobs(&["echo", "--listen", at]));
    let (mut first, mut second) = (echo("127.0.0.1:0"), echo("127.0.0.1:0"));
    let upstreams = [first.ready("tcp://"), second.ready("tcp://")];
    let mut command =
        netjobs(&["run", &example("health/forward.yaml"), "--web.listen-address", "127.0.0.1:0"]);
    command.env("LISTEN", "127.0.0.1:0").env("PERIOD", "100ms");
    command.env("UPSTREAM_1", &upstreams[0]).env("UPSTREAM_2", &upstreams[1]);
    let mut daemon = Running::start(&mut command);
    let ready: Value = serde_json::from_str(&daemon.line_with("job_ready")).unwrap();
    let address = ready["addresses"][0].as_str().unwrap().to_owned();
    let ask = || {
        // Upstreams with as few connections as each other take turns.
        for _ in 0..2 {
            check(&["exchange", &address, "--send", "hi"], 0);
        }
    };
    ask();
    let mut again = vec![];
    for (upstream, running) in upstreams.iter().zip([first, second]) {
        let told = |from: &str, to: &str| format!(r#""what":"{upstream}","from":"{from}","to":"{to}""#);
        assert_eq!(running.end(nix::sys::signal::Signal::SIGTERM), Some(0));
        daemon.line_with(&told("in", "out"));
        ask();
        again.push(echo(upstream));
        daemon.line_with(&told("out", "in"));
        ask();
    }
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
}

#[test]
fn the_forward_behind_a_balancer_passes_the_client_on_and_the_bad_line_is_late() {
    let mut echo = Running::start(&mut netjobs(&["echo", "--listen", "0"]));
    let upstream = echo.ready("tcp://");
    let mut command =
        netjobs(&["run", &example("proxy-protocol/forward.yaml"), "--web.listen-address", "127.0.0.1:0"]);
    command.env("LISTEN", "127.0.0.1:0").env("BAD_LINE", "127.0.0.1:0").env("UPSTREAM", upstream);
    let mut daemon = Running::start(&mut command);
    let mut address = BTreeMap::new();
    while address.len() < 2 {
        let ready: Value = serde_json::from_str(&daemon.line_with("job_ready")).unwrap();
        let text = |value: &Value| value.as_str().unwrap().trim_start_matches("tcp://").to_owned();
        address.insert(text(&ready["job_name"]), text(&ready["addresses"][0]));
    }
    let mut client = TcpStream::connect(&address["behind-the-balancer"]).unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\nhello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = vec![];
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07"), "{answer:?}");
    assert!(answer.ends_with(b"hello"), "{answer:?}");

    let start = Instant::now();
    check(&["exchange", "--to", &address["bad-line"], "--send", "hello"], 0);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(daemon.end(nix::sys::signal::Signal::SIGTERM), Some(0));
}

#[test]
fn promtool_accepts_the_scrape_configuration_and_the_rules() {
    for (what, file) in [("config", "prometheus/prometheus.yml"), ("rules", "prometheus/rules.yml")] {
        let output = Command::new("promtool").args(["check", what, &example(file)]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
