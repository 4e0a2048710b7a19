//! The examples, run where they can be: what a user copies must work.

use std::{fs, net::TcpListener, path::PathBuf, process::Command};

use serde_json::Value;

use crate::program::{Running, check, netjobs};

fn example(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(path).display().to_string()
}

#[test]
fn each_example_has_a_readme() {
    let folders: Vec<_> = fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(folders.len() >= 6, "{folders:?}");
    for folder in folders {
        assert!(folder.join("README.md").is_file(), "{} has no README.md", folder.display());
    }
}

#[test]
fn every_job_file_of_the_examples_is_right() {
    for file in ["ci-smoke/smoke.yaml", "lan-sweep/lan.yaml", "tcp-forward/forward.yaml"] {
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
fn promtool_accepts_the_scrape_configuration_and_the_rules() {
    for (what, file) in [("config", "prometheus/prometheus.yml"), ("rules", "prometheus/rules.yml")] {
        let output = Command::new("promtool").args(["check", what, &example(file)]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
