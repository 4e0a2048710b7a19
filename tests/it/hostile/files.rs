//! Writes that take less than they were given: a library before libc's halves each of them.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{netns::Namespace, program::netjobs};

/// Builds the library.
fn library(folder: &std::path::Path) -> String {
    let library = folder.join("short.so").to_str().unwrap().to_owned();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/short.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o", &library, source, "-ldl"]).status().unwrap();
    assert!(built.success());
    library
}

/// Fault case 27: writes that fall short cost nothing: the console, logs, reports and state are whole. Those of streams, whose
/// reader is slow, are in `streams/`.
#[test]
fn short_writes_lose_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (library, log, report, state) = (library(folder.path()), path("log"), path("junit"), path("state"));
    let jobs = "jobs:
  - name: back
    echo: { listen: 127.0.0.1:7301 }
  - name: way
    forward: { listen: 127.0.0.1:7302, to: 127.0.0.1:7301 }
  - name: talk
    exchange: { to: 'job:way', send: 'random: 64KiB', timeout: 25s }
  - name: nics
    interfaces: {}
";
    fs::write(path("all.yaml"), jobs).unwrap();
    let mut command =
        netjobs(&["once", &path("all.yaml"), "--json", &log, "--junit", &report, "--state", &state]);
    command.env("LD_PRELOAD", &library);
    let output = Namespace::new().run(move || command.output().unwrap());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("4 jobs: 4 passed"), "{said}");
    let records: Vec<Value> =
        fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.iter().filter(|record| record["event"] == "run_finished").count(), 4);
    assert!(fs::read_to_string(&report).unwrap().trim_end().ends_with("</testsuites>"));
    let mut states = 0;
    for entry in fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|known| known == "json") {
            serde_json::from_slice::<Value>(&fs::read(&entry).unwrap()).unwrap();
            states += 1;
        }
    }
    assert!(states > 0, "no state was written");
}
