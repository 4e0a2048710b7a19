//! `netjobs run` and its files: changes that it takes by itself, those that it must not take, and sets that are wrong in
//! every way. What does not happen is waited for by the runs of a job that starts ten times a second.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::Value;

use crate::program::{Daemon, netjobs};

/// Runs of `tick` that are more than the time in which a change would be taken.
const LONG: usize = 6;
const TICK: &str = "jobs:\n  - name: tick\n    every: 100ms\n    ipv6: {}\n    expect: {}\n";

/// A folder of job files in another, and the daemon that runs them.
struct Runner {
    root: tempfile::TempDir,
    daemon: Daemon,
}

impl Runner {
    fn start(prepare: impl FnOnce(&Path), flags: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("jobs")).unwrap();
        fs::write(root.path().join("jobs/tick.yaml"), TICK).unwrap();
        prepare(root.path());
        let daemon = Daemon::start(netjobs(&["run", "jobs"]).args(flags).current_dir(root.path()));
        let mut runner = Self { root, daemon };
        runner.nothing_happens();
        runner
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The next record of the log that is one of these events.
    #[track_caller]
    fn record(&mut self, events: &[&str]) -> Value {
        loop {
            let line = self.daemon.process.line_with("\"event\":\"");
            let record: Value = serde_json::from_str(&line).unwrap();
            if events.iter().any(|event| record["event"] == *event) {
                return record;
            }
        }
    }

    /// Asserts that no reload comes for a while.
    #[track_caller]
    fn nothing_happens(&mut self) {
        for _ in 0..LONG {
            let record = self.record(&["run_finished", "config_reloaded", "config_rejected"]);
            assert_eq!(record["event"], "run_finished", "{record}");
        }
    }

    /// Asserts that the next reload adds, removes and changes these jobs.
    #[track_caller]
    fn takes(&mut self, added: &[&str], removed: &[&str], changed: &[&str]) {
        let record = self.record(&["config_reloaded", "config_rejected"]);
        assert_eq!(
            (&record["added"], &record["removed"], &record["changed"]),
            (&added.into(), &removed.into(), &changed.into()),
            "{record}"
        );
    }

    /// Asserts that the next reload is refused for this reason.
    #[track_caller]
    fn refuses(&mut self, why: &str) -> Value {
        let record = self.record(&["config_reloaded", "config_rejected"]);
        assert!(record.to_string().contains(why), "{why}: {record}");
        assert_eq!(record["event"], "config_rejected");
        record
    }

    fn end(self) {
        assert_eq!(self.daemon.process.end(Signal::SIGTERM), Some(0));
    }
}

fn job(name: &str) -> String {
    format!("jobs:\n  - name: {name}\n    every: 1h\n    ipv6: {{}}\n    expect: {{}}\n")
}

/// Fault case 63: editors' files, files that are renamed over others, half-written ones, and one that goes.
#[test]
fn a_changed_file_is_taken_once_it_is_whole_and_what_editors_leave_is_not() {
    let mut runner = Runner::start(|_| {}, &[]);
    runner.write("jobs/a.yaml", &job("a"));
    runner.takes(&["a"], &[], &[]);
    for name in [".a.yaml.swp", "4913", "a.yaml~", ".#a.yaml", "#a.yaml#", "a.yaml.bak"] {
        runner.write(&format!("jobs/{name}"), "anything: [");
    }
    fs::remove_file(runner.path("jobs/4913")).unwrap();
    fs::create_dir(runner.path("jobs/below.yaml")).unwrap();
    runner.write("jobs/below.yaml/b.yaml", &job("b"));
    // The same bytes again, other times, other rights.
    runner.write("jobs/a.yaml", &job("a"));
    fs::set_permissions(runner.path("jobs/a.yaml"), PermissionsExt::from_mode(0o600)).unwrap();
    runner.nothing_happens();
    runner.write("jobs/.new", &job("b"));
    fs::rename(runner.path("jobs/.new"), runner.path("jobs/a.yaml")).unwrap();
    runner.takes(&["b"], &["a"], &[]);
    // Each half is a right file by itself.
    let mut file = File::create(runner.path("jobs/a.yaml")).unwrap();
    file.write_all(job("c").as_bytes()).unwrap();
    runner.nothing_happens();
    file.write_all(b"  - name: d\n    ipc: {}\n    every: 1h\n").unwrap();
    runner.nothing_happens();
    drop(file);
    runner.takes(&["c", "d"], &["b"], &[]);
    fs::remove_file(runner.path("jobs/a.yaml")).unwrap();
    runner.takes(&[], &["c", "d"], &[]);
    runner.end();
}

/// Fault case 63: the links of a mounted `ConfigMap`, through which all files change at once.
#[test]
fn the_swap_of_a_link_changes_all_files_at_once() {
    let fill = |mount: &Path, version: &str| {
        fs::create_dir(mount.join(version)).unwrap();
        for file in ["a", "b"] {
            fs::write(mount.join(version).join(format!("{file}.yaml")), job(&format!("{file}{version}")))
                .unwrap();
        }
        symlink(version, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    let mut runner = Runner::start(
        |root| {
            fs::rename(root.join("jobs"), root.join("mount")).unwrap();
            fill(&root.join("mount"), "..1");
            for file in ["a.yaml", "b.yaml"] {
                symlink(format!("..data/{file}"), root.join("mount").join(file)).unwrap();
            }
            symlink("mount", root.join("jobs")).unwrap();
        },
        &[],
    );
    let mount = runner.path("mount");
    for version in 2..5 {
        fill(&mount, &format!("..{version}"));
        fs::remove_dir_all(mount.join(format!("..{}", version - 1))).unwrap();
        let names = |version: u32| ["a", "b"].map(|file| format!("{file}..{version}"));
        let (added, removed) = (names(version), names(version - 1));
        runner.takes(&added.each_ref().map(|s| &**s), &removed.each_ref().map(|s| &**s), &[]);
    }
    // The link to the folder is turned elsewhere.
    fs::create_dir(runner.path("other")).unwrap();
    runner.write("other/tick.yaml", TICK);
    symlink("other", runner.path("turned")).unwrap();
    fs::rename(runner.path("turned"), runner.path("jobs")).unwrap();
    runner.takes(&[], &["a..4", "b..4"], &[]);
    runner.write("other/c.yaml", &job("c"));
    runner.takes(&["c"], &[], &[]);
    runner.end();
}

/// Fault case 63: no folder, no files, 10,001 files, a FIFO, a circle of links, a file that only root's rights open, and a
/// secret: each is told, the jobs go on, and what is right again is taken.
#[test]
fn a_folder_that_cannot_be_read_changes_nothing_until_it_can() {
    let mut runner = Runner::start(|_| {}, &[]);
    runner.write("jobs/a.yaml", &job("a"));
    runner.takes(&["a"], &[], &[]);
    fs::rename(runner.path("jobs"), runner.path("away")).unwrap();
    runner.refuses("no such file");
    runner.nothing_happens();
    fs::create_dir(runner.path("jobs")).unwrap();
    runner.refuses("no `*.yaml`");
    runner.write("jobs/tick.yaml", TICK);
    runner.takes(&[], &["a"], &[]);
    let odd = runner.path("jobs/odd.yaml");
    let ways: [(&str, &dyn Fn()); 3] = [
        ("not a regular file", &|| mkfifo(&odd, Mode::S_IRUSR | Mode::S_IWUSR).unwrap()),
        ("symbolic links", &|| symlink("odd.yaml", &odd).unwrap()),
        ("permission denied", &|| {
            fs::write(runner_file(&odd), job("odd")).unwrap();
            fs::set_permissions(runner_file(&odd), PermissionsExt::from_mode(0o600)).unwrap();
            chown(runner_file(&odd), Some(65534), Some(65534)).unwrap();
            fs::rename(runner_file(&odd), &odd).unwrap();
        }),
    ];
    for (why, make) in ways {
        make();
        runner.refuses(why);
        fs::remove_file(&odd).unwrap();
        runner.takes(&[], &[], &[]);
    }
    for number in 0..10_000 {
        File::create(runner.path(&format!("jobs/{number}.yml"))).unwrap();
    }
    // On a slow machine some are looked at before the last is there.
    while !runner.record(&["config_rejected"]).to_string().contains("more than 10000 files") {}
    for number in 0..10_000 {
        let gone: io::Result<()> = fs::remove_file(runner.path(&format!("jobs/{number}.yml")));
        gone.unwrap();
    }
    runner.write("secret", "one");
    let sends =
        "jobs:\n  - name: s\n    every: 1h\n    exchange: { to: '127.0.0.1:9', send: '${file:../secret}' }\n";
    runner.write("jobs/s.yaml", sends);
    while runner.record(&["config_reloaded", "config_rejected"])["added"] != serde_json::json!(["s"]) {}
    runner.write("secret", "two");
    runner.takes(&[], &[], &["s"]);
    runner.end();
}

/// A name beside a file, that is no job file's.
fn runner_file(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// A folder that is moved is another's or nobody's: however far above the job files it stands, and with another in its place.
#[test]
fn a_folder_that_is_moved_far_above_the_files_is_noticed() {
    let mut runner = Runner::start(
        |root| {
            fs::create_dir_all(root.join("far/above")).unwrap();
            fs::rename(root.join("jobs"), root.join("far/above/jobs")).unwrap();
            symlink("far/above/jobs", root.join("jobs")).unwrap();
        },
        &[],
    );
    fs::rename(runner.path("far"), runner.path("gone")).unwrap();
    runner.refuses("no such file");
    runner.write("gone/above/jobs/a.yaml", &job("a"));
    runner.nothing_happens();
    fs::rename(runner.path("gone"), runner.path("far")).unwrap();
    runner.takes(&["a"], &[], &[]);
    fs::create_dir_all(runner.path("new/above/jobs")).unwrap();
    runner.write("new/above/jobs/tick.yaml", TICK);
    fs::rename(runner.path("far"), runner.path("gone")).unwrap();
    fs::rename(runner.path("new"), runner.path("far")).unwrap();
    runner.takes(&[], &["a"], &[]);
    runner.write("far/above/jobs/b.yaml", &job("b"));
    runner.takes(&["b"], &[], &[]);
    runner.end();
}

/// What the system cannot tell any more is looked at anew: the change itself is among what it dropped.
#[test]
fn a_queue_that_is_full_loses_no_change() {
    let mut runner = Runner::start(|_| {}, &[]);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let names = ["jobs/.one", "jobs/.other"].map(|name| runner.path(name));
    File::create(&names[0]).unwrap();
    runner.daemon.signal(Signal::SIGSTOP);
    for turn in 0..limit.trim().parse::<usize>().unwrap() {
        fs::rename(&names[turn % 2], &names[1 - turn % 2]).unwrap();
    }
    runner.write("jobs/a.yaml", &job("a"));
    runner.daemon.signal(Signal::SIGCONT);
    runner.takes(&["a"], &[], &[]);
    runner.end();
}

/// The limits belong to a namespace of users of the test's own.
#[test]
fn where_the_system_lets_nobody_watch_that_is_told_once_and_a_signal_reloads() {
    for limit in ["max_inotify_watches", "max_inotify_instances"] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("jobs.yaml");
        fs::write(&file, TICK).unwrap();
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
        let mut command = netjobs(&[]);
        let program = command.get_program().to_owned();
        command = Command::new("unshare");
        command.args(["-Ur", "sh", "-ec", &script, "sh"]).arg(program).args(["run", file.to_str().unwrap()]);
        let mut runner = Runner { daemon: Daemon::start(&mut command), root };
        let told = runner.record(&["diagnostic"]);
        let message = told["message"].as_str().unwrap();
        assert!(message.contains("are not noticed: ") && message.contains("SIGHUP"), "{limit}: {message}");
        // The first look at the files comes after it.
        runner.nothing_happens();
        runner.write("jobs.yaml", &[TICK, "  - name: a\n    every: 1h\n    ipc: {}\n"].concat());
        for _ in 0..LONG {
            assert_eq!(
                runner.record(&["run_finished", "diagnostic", "config_reloaded"])["event"],
                "run_finished"
            );
        }
        runner.daemon.signal(Signal::SIGHUP);
        runner.takes(&["a"], &[], &[]);
        runner.end();
    }
}

/// What was refused for a shortage of this machine's is taken once the shortage is over, of which inotify says nothing.
#[test]
fn a_change_that_came_while_files_could_not_be_opened_is_not_lost() {
    let mut runner = Runner::start(|_| {}, &[]);
    let id = runner.daemon.process.child.id().to_string();
    let may_open = |files: &str| {
        let limit = format!("--nofile={files}:");
        let limited = Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap();
        assert!(limited.success());
    };
    may_open("3");
    runner.write("jobs/a.yaml", &job("a"));
    runner.refuses("too many open files");
    may_open("1024");
    runner.takes(&["a"], &[], &[]);
    runner.end();
}

#[test]
fn without_the_watch_only_a_wish_reloads() {
    let mut runner = Runner::start(|_| {}, &["--no-watch"]);
    runner.write("jobs/a.yaml", &job("a"));
    runner.nothing_happens();
    runner.daemon.signal(Signal::SIGHUP);
    runner.takes(&["a"], &[], &[]);
    runner.end();
}
