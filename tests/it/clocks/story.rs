//! A daemon with jobs that start each second, and what its log says of every single second.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command},
    time::Duration,
};

use jiff::{Timestamp, ToSpan};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::program::Daemon;

/// By the boot clock, by the wall clock, and one that catches up.
pub(super) const EACH_SECOND: &str = "jobs:
  - { name: beat, every: 1s, interfaces: { select: [lo] } }
  - { name: tick, cron: '* * * * * *', interfaces: { select: [lo] } }
  - { name: once, cron: '* * * * * *', missed: once, interfaces: { select: [lo] } }
";
pub(super) const NAMES: [&str; 3] = ["beat", "tick", "once"];

/// A run, or starts that did not become runs.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The first of them.
    pub(super) scheduled: Timestamp,
    /// `None`: it was no run.
    pub(super) started: Option<Timestamp>,
    pub(super) count: u64,
    /// Why it is no run that passed.
    pub(super) reason: Option<String>,
}

/// A daemon, and what it has told so far.
pub(super) struct Story {
    pub(super) daemon: Daemon,
    pub(super) told: BTreeMap<String, Vec<Told>>,
    /// By how many seconds the clock was set.
    pub(super) steps: Vec<f64>,
    _folder: tempfile::TempDir,
}

impl Story {
    /// A daemon of these jobs, started by a command that has all other arguments.
    pub(super) fn start(command: &mut Command, jobs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.yaml");
        fs::write(&path, jobs).unwrap();
        let daemon = Daemon::start(command.arg(&path));
        Self { daemon, told: BTreeMap::new(), steps: vec![], _folder: folder }
    }

    pub(super) fn child(&self) -> &Child {
        &self.daemon.process.child
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child().id().try_into().unwrap()), signal).unwrap();
    }

    /// Reads what it tells until something holds.
    #[track_caller]
    pub(super) fn until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        while !holds(self) {
            let line = self.daemon.process.line_with("{");
            self.hear(&line);
        }
    }

    /// Ends the daemon and reads the rest.
    pub(super) fn end(mut self) -> Self {
        self.signal(Signal::SIGTERM);
        for line in self.daemon.process.rest().lines() {
            self.hear(line);
        }
        self
    }

    fn hear(&mut self, line: &str) {
        let record: Value = serde_json::from_str(line).unwrap();
        let instant = |key: &str| record[key].as_str().map(|text| text.parse::<Timestamp>().unwrap());
        let event = record["event"].as_str().unwrap();
        match event {
            "clock_stepped" => self.steps.push(record["seconds"].as_f64().unwrap()),
            "run_finished" | "run_skipped" => {
                let name = record["job_name"].as_str().unwrap().to_owned();
                let count = record["count"].as_u64().unwrap_or(1);
                let started = instant("started").filter(|_| event == "run_finished");
                let reason = record["reason"].as_str().map(str::to_owned);
                let told = Told { scheduled: instant("scheduled").unwrap(), started, count, reason };
                self.told.entry(name).or_default().push(told);
            }
            _ => {}
        }
    }

    pub(super) fn told(&self, name: &str) -> &[Told] {
        self.told.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a job has so many runs that were due later than a moment.
    pub(super) fn has_run_since(&self, name: &str, moment: Timestamp, runs: usize) -> bool {
        let is_run = |told: &&Told| told.started.is_some() && told.scheduled > moment;
        self.told(name).iter().filter(is_run).count() >= runs
    }

    /// Every second between a job's first and last start is a run or was counted: none is lost, none comes twice. Gives
    /// how many were counted.
    #[track_caller]
    pub(super) fn check_each_second(&self, name: &str) -> u64 {
        let mut told = self.told(name).to_vec();
        told.sort_by_key(|told| told.scheduled);
        for pair in told.windows(2) {
            let next = pair[0].scheduled + i64::try_from(pair[0].count).unwrap().seconds();
            assert_eq!(pair[1].scheduled, next, "{name}: {pair:?}");
        }
        told.iter().filter(|told| told.started.is_none()).map(|told| told.count).sum()
    }
}

/// Lets time pass, because that is what the test is about.
pub(super) fn pass(time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < until {
        nix::poll::poll(&mut [], 50u16).unwrap();
    }
}
