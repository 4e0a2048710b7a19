//! The built program stopped, frozen, killed, and under clocks that somebody sets: starts go on within a period, at most one
//! catches up, and what was missed is counted to the second.

mod restart;
mod starved;
mod steps;
mod story;
mod zone;

use std::{fs, process::Command, time::Duration};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;

use crate::program::netjobs;
use story::{EACH_SECOND, NAMES, Story, pass};

/// How long the program does not run.
const STOPPED: Duration = Duration::from_secs(10);

/// What a busy machine may add.
const SLACK: SignedDuration = SignedDuration::from_millis(1500);

/// Stops a daemon, lets it go on, and judges what became of each second.
fn check_stop(stop: impl FnOnce(&Story), go_on: impl FnOnce(&Story)) {
    let mut story = Story::start(&mut netjobs(&["run"]), EACH_SECOND);
    let long_ago = Timestamp::UNIX_EPOCH;
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, long_ago, 2)));
    stop(&story);
    pass(STOPPED);
    let woken = Timestamp::now();
    go_on(&story);
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, woken, 3)));
    let story = story.end();
    assert!(story.steps.is_empty(), "no clock was set: {:?}", story.steps);
    for name in NAMES {
        let missed = story.check_each_second(name);
        let runs = story.told(name).iter().filter_map(|told| Some((told.scheduled, told.started?)));
        let after: Vec<_> = runs.filter(|(_, started)| *started >= woken).collect();
        let first = after.iter().map(|(_, started)| started.duration_since(woken)).min().unwrap();
        let late = after.iter().filter(|(scheduled, _)| *scheduled < woken).count();
        eprintln!("{name}: {missed} of about 10 starts missed, {late} caught up, the first {first:#} after");
        assert!(
            first <= SignedDuration::from_secs(1) + SLACK,
            "{name}: the first start came {first:#} after"
        );
        assert!(late <= 1, "{name}: {late} starts were caught up with");
        assert!((7..=11).contains(&missed), "{name}: {missed} missed");
    }
}

/// Fault case 37: stopped for 10 s.
#[test]
fn a_program_that_is_stopped_for_ten_seconds_goes_on_without_a_burst() {
    check_stop(|story| story.signal(Signal::SIGSTOP), |story| story.signal(Signal::SIGCONT));
}

/// A control group that freezes; it is taken away with the value.
struct Freezer {
    folder: tempfile::TempDir,
}

impl Freezer {
    /// A freezer with one process in it.
    fn around(process: u32) -> Self {
        let freezer = Self { folder: tempfile::tempdir().unwrap() };
        freezer.tell(&format!("mkdir $group; echo {process} > $group/cgroup.procs"));
        freezer
    }

    /// Whether it says so.
    fn set_frozen(&self, frozen: bool) {
        let number = u8::from(frozen);
        self.tell(&format!(
            "echo {number} > $group/cgroup.freeze; until grep -q 'frozen {number}' $group/cgroup.events; do :; done"
        ));
    }

    /// Runs words of a shell where the groups are mounted, which nobody else sees.
    fn tell(&self, words: &str) {
        let mount = self.folder.path().display();
        let group = self.folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        let script = format!("set -e; mount -t cgroup2 none {mount}; group={mount}/netjobs-{group}; {words}");
        let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Its process has ended, and is gone from it soon.
            self.tell("echo 0 > $group/cgroup.freeze; until rmdir $group 2>/dev/null; do :; done");
        }
    }
}

#[test]
fn a_program_that_is_frozen_for_ten_seconds_goes_on_without_a_burst() {
    let freezer = std::cell::OnceCell::new();
    check_stop(
        |story| freezer.get_or_init(|| Freezer::around(story.child().id())).set_frozen(true),
        |_| freezer.get().unwrap().set_frozen(false),
    );
}

/// The path of libfaketime for programs with threads.
fn faketime() -> String {
    let found = fs::read_dir("/usr/lib").unwrap().flatten().find_map(|entry| {
        let path = entry.path().join("faketime/libfaketimeMT.so.1");
        path.exists().then(|| path.display().to_string())
    });
    found.expect("the package faketime is installed")
}
