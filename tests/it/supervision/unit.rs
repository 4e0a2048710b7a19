//! The units in `deploy/`: systemd reads them, they are hardened, and what they grant is what the program needs.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use super::Jobs;

fn deploy(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

#[track_caller]
fn analyze(arguments: &[&str], file: &str) -> Output {
    Command::new("systemd-analyze").args(arguments).arg(deploy(file)).output().unwrap()
}

#[test]
fn the_unit_is_exposed_to_1_6_at_most() {
    let output = analyze(&["security", "--offline=true", "--no-pager", "--threshold=16"], "netjobs.service");
    let said = String::from_utf8(output.stdout).unwrap();
    let level = said.lines().find(|line| line.contains("Overall exposure level")).expect("a level");
    println!("{level}");
    assert!(output.status.success(), "{said}");
}

#[test]
fn systemd_reads_every_line_of_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["netjobs.service", "netjobs.socket"] {
        let text = fs::read_to_string(deploy(file)).unwrap();
        // A systemd before 253 does not know this one, and the README says what to write there.
        let text =
            text.replace("Type=notify-reload", "Type=notify").replace("/usr/local/bin/netjobs", "/bin/true");
        let text = text.replace("Documentation=man:netjobs(1)\n", "");
        fs::write(folder.path().join(file), text).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(folder.path().join("netjobs.socket"))
        .arg(folder.path().join("netjobs.service"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("netjobs")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

/// The names of the system calls that systemd lets through by a filter of the unit.
fn group(name: &str) -> BTreeSet<String> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#'));
    let mut calls = BTreeSet::new();
    for word in words {
        if word.starts_with('@') {
            calls.extend(group(word));
        } else {
            calls.insert(word.to_owned());
        }
    }
    calls
}

#[test]
fn the_program_makes_only_calls_that_the_unit_allows() {
    let unit = fs::read_to_string(deploy("netjobs.service")).unwrap();
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    assert_eq!(filters, ["@system-service", "~@privileged @resources"]);
    let mut allowed = group("@system-service");
    // What is refused is refused with an error, and the program goes on without: these are tried, and no more.
    let refused = BTreeSet::from(["capset".to_owned(), "sched_setaffinity".to_owned()]);
    let out: BTreeSet<String> = group("@privileged").into_iter().chain(group("@resources")).collect();
    allowed.retain(|call| !out.contains(call));
    let jobs = Jobs::new("");
    let trace = jobs.path("calls");
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", trace.to_str().unwrap(), env!("CARGO_BIN_EXE_netjobs"), "once", all]);
    let output = command.output().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    let text = fs::read_to_string(trace).unwrap();
    let calls = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.split_once('('));
    let made: BTreeSet<String> = calls.map(|(name, _)| name.to_owned()).collect();
    let made: BTreeSet<String> =
        made.into_iter().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    assert!(made.len() > 30, "{made:?}");
    let missing: Vec<&String> = made.difference(&allowed).filter(|name| !refused.contains(*name)).collect();
    println!("{} system calls made, all allowed but {refused:?}", made.len());
    assert!(missing.is_empty(), "{missing:?}");
}
