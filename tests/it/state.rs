//! What `--state` promises, with the built program: a save is whole or has not been, a disk that fails costs a sentence, what
//! does not read is set aside, and a folder has one runner.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::program::{Daemon, Running, netjobs};

/// How long something that is sure to come may take.
const LONG: Duration = Duration::from_mins(1);

/// A sweep that always finds its hosts: a connection that is refused is life. More hosts are another memory.
fn sweep(state: &Path, hosts: usize) -> Vec<String> {
    let targets = format!("127.0.0.1-{hosts}");
    ["sweep", &targets, "--method", "tcp/9", "--state", state.to_str().unwrap()].map(str::to_owned).into()
}

/// Runs a command to its end, behind the words of another program.
fn behind(words: &[&str], arguments: &[String]) -> Output {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_netjobs")).args(arguments);
    command.output().unwrap()
}

fn run(arguments: &[String]) -> Output {
    netjobs(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// How many hosts the memory is about; panics where the file is not whole.
#[track_caller]
fn kept(state: &Path) -> usize {
    let text = fs::read_to_string(state.join("sweep.json")).unwrap();
    let document: Value = serde_json::from_str(&text).expect("the file is whole");
    let states = document["value"]["states"].as_str().unwrap().to_owned();
    states.trim_end_matches('a').parse().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// The words of strace that tamper with calls on the state's files, and with no other.
fn tamper<'a>(state: &'a Path, log: &'a Path, inject: &'a str) -> Vec<String> {
    let file = |name: &str| state.join(name).display().to_string();
    let (memory, temporary) = (file("sweep.json"), file("sweep.json.tmp"));
    let calls = inject.split(':').next().unwrap().trim_start_matches("inject=");
    let words =
        ["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-P", state.to_str().unwrap(), "-P", &memory];
    let more = ["-P", &temporary, "-e", &format!("trace={calls}"), "-e", inject].map(str::to_owned);
    words.map(str::to_owned).into_iter().chain(more).collect()
}

fn tampered(state: &Path, inject: &str, hosts: usize) -> Output {
    let log = tempfile::NamedTempFile::new().unwrap();
    let words = tamper(state, log.path(), inject);
    behind(&words.iter().map(String::as_str).collect::<Vec<_>>(), &sweep(state, hosts))
}

/// Fault case 28: killed at every system call of a save, the old state or the new one is there, and always reads.
#[test]
fn case_28_a_save_that_is_killed_anywhere_leaves_the_old_state_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    assert_eq!(run(&sweep(&state, 1)).status.code(), Some(0));
    let (mut before, mut hosts, mut kills) = (1, 1, vec![]);
    for call in ["unlink", "openat", "write", "fsync", "rename"] {
        // Until a run comes to its end because there are fewer calls than that.
        for when in 1.. {
            hosts += 1;
            let output = tampered(&state, &format!("inject={call}:signal=KILL:when={when}"), hosts);
            assert!(!stderr(&output).contains("set aside"), "{output:?}");
            let now = kept(&state);
            assert!(now == before || now == hosts, "{call} {when}: {now} is neither {before} nor {hosts}");
            before = now;
            if output.status.code() == Some(0) {
                assert_eq!(now, hosts, "{call} {when}");
                break;
            }
            kills.push((call, when));
        }
    }
    for call in [("unlink", 1), ("openat", 1), ("write", 1), ("fsync", 1), ("fsync", 2), ("rename", 1)] {
        assert!(kills.contains(&call), "never killed at {call:?}: {kills:?}");
    }
    assert_eq!(names(&state), ["LOCK", "sweep.json"]);
}

/// Fault case 29: where the disk, the rights or the room fail, the old state stays, it is told once, and the work goes on.
#[test]
fn case_29_a_save_that_fails_keeps_the_old_state_and_is_told() {
    for (inject, why) in [
        ("inject=fsync:error=EIO", "Input/output error"),
        ("inject=rename:error=EACCES", "Permission denied"),
        ("inject=write:error=ENOSPC", "No space left on device"),
        ("inject=write:retval=0", "failed to write whole buffer"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert_eq!(run(&sweep(state, 3)).status.code(), Some(0));
        let output = tampered(state, inject, 4);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = stderr(&output);
        assert!(said.contains(why) && said.contains("sweep.json"), "{inject}: {said}");
        assert_eq!(said.matches("state: write").count(), 1, "{said}");
        assert_eq!(
            (kept(state), names(state)),
            (3, vec!["LOCK".to_owned(), "sweep.json".into()]),
            "{inject}"
        );
    }
}

/// A daemon with one sweep of the hosts in a file, its state on a file system of its own, mounted so.
struct Disk {
    folder: tempfile::TempDir,
    daemon: Daemon,
}

impl Disk {
    fn start(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        fs::write(folder.path().join("hosts"), "127.0.0.1\n").unwrap();
        let yaml =
            "jobs:\n  - name: sweep\n    every: 100ms\n    sweep: { targets: '@hosts', method: tcp/9 }\n";
        fs::write(folder.path().join("jobs.yaml"), yaml).unwrap();
        let script = format!(
            "mount -t tmpfs -o {options} none {path}/disk && exec \"$0\" run {path}/jobs.yaml --state {path}/disk/state \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_netjobs")]);
        let daemon = Daemon::start(&mut command);
        Self { folder, daemon }
    }

    /// The folder on the daemon's disk, which only its own mounts show.
    fn disk(&self) -> std::path::PathBuf {
        let inside = self.folder.path().join("disk").display().to_string();
        format!("/proc/{}/root{inside}", self.daemon.process.child.id()).into()
    }

    /// At once: a run may read the file at any time.
    fn set_hosts(&self, count: usize) {
        let [new, hosts] = ["new", "hosts"].map(|name| self.folder.path().join(name));
        fs::write(&new, format!("127.0.0.1-{count}\n")).unwrap();
        fs::rename(new, hosts).unwrap();
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.daemon.get("/metrics");
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn has_kept(&self, count: usize) -> bool {
        self.disk().join("state/sweep.json").exists() && kept(&self.disk().join("state")) == count
    }
}

#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "{what}");
        nix::poll::poll(&mut [], 20u16).unwrap();
    }
}

const FAILURES: &str = "netjobs_state_write_failures_total";
const RUNS: &str = "netjobs_runs_total{";

/// Fills a disk by a full file or by many empty ones; gives what is to be removed to make room.
fn fill(disk: &Path, with_bytes: bool) -> Vec<std::path::PathBuf> {
    let mut made = vec![];
    for number in 0..10_000 {
        let path = disk.join(format!("fill{number}"));
        let Ok(mut file) = fs::File::create(&path) else { return made };
        made.push(path);
        let mut size = 4096;
        while with_bytes && size > 0 {
            size = if file.write_all(&vec![0; size]).is_ok() { size } else { size / 2 };
        }
        if with_bytes {
            return made;
        }
    }
    panic!("the disk does not get full");
}

fn check_full_disk(options: &str, with_bytes: bool) {
    let disk = Disk::start(options);
    wait_for("the first save", || disk.has_kept(1));
    let full = fill(&disk.disk(), with_bytes);
    disk.set_hosts(2);
    wait_for("a failure is counted", || disk.metric(FAILURES) > 0);
    disk.set_hosts(3);
    wait_for("another failure is counted", || disk.metric(FAILURES) > 1);
    let runs = disk.metric(RUNS);
    wait_for("the work goes on", || disk.metric(RUNS) > runs);
    assert!(disk.has_kept(1), "the old state stays");
    for file in full {
        fs::remove_file(file).unwrap();
    }
    disk.set_hosts(4);
    wait_for("it is saved again", || disk.has_kept(4));
    let mut process = disk.daemon.process;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(process.child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let log = process.rest();
    let told: Vec<_> = log.lines().filter(|line| line.contains("state: ")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("No space left on device") && told[1].contains("can be written again"),
        "{told:?}"
    );
}

/// Fault case 30: a disk that is full costs what is not saved, is told once and counted, and is written to again.
#[test]
fn case_30_a_full_disk_keeps_the_old_state_until_there_is_room() {
    check_full_disk("size=64k", true);
}

/// Fault case 31: so does one without inodes.
#[test]
fn case_31_a_disk_without_inodes_keeps_the_old_state_until_there_are_some() {
    check_full_disk("size=1m,nr_inodes=8", false);
}

/// Fault case 32: a folder that cannot be written to is an error at the start, with what to do instead.
#[test]
fn case_32_a_folder_on_a_read_only_disk_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs none {path} && mkdir {path}/there && mount -o remount,ro {path} && exec \"$0\" \"$@\""
    );
    for (name, why) in [("there", "lock it: Read-only"), ("missing", "make the folder: Read-only")] {
        let state = folder.path().join(name);
        let output = behind(&["unshare", "-m", "sh", "-c", &script], &sweep(&state, 1));
        let said = stderr(&output);
        assert!(said.contains(&format!("error: use {} for state: {why}", state.display())), "{said}");
        assert!(said.contains("hint: name a folder"), "{said}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "nothing was sent");
    }
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let output = run(&sweep(&file, 1));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("make the folder: "), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

/// Fault case 33: a limit on the size of files keeps the old state, and SIGXFSZ ends nobody.
#[test]
fn case_33_a_limit_of_file_sizes_keeps_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&sweep(folder.path(), 3)).status.code(), Some(0));
    let output = behind(&["prlimit", "--fsize=50:50"], &sweep(folder.path(), 4));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("File too large"), "{output:?}");
    assert_eq!(
        (kept(folder.path()), names(folder.path())),
        (3, vec!["LOCK".to_owned(), "sweep.json".into()])
    );
}

/// Fault case 35: what is damaged, newer, huge or no file at all is set aside with a sentence, and the work begins anew.
#[test]
fn case_35_what_does_not_read_is_set_aside_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    assert_eq!(run(&sweep(state, 3)).status.code(), Some(0));
    let file = state.join("sweep.json");
    let good = fs::read_to_string(&file).unwrap();
    let huge = || fs::File::create(&file).unwrap().set_len(65 << 20).unwrap();
    let write = |text: &str| fs::write(&file, text).unwrap();
    let newer = good.replace("\"version\":1", "\"version\":7");
    let cases: [(&dyn Fn(), &str); 6] = [
        (&|| write(&good[..good.len() / 2]), "damaged"),
        (&|| write(""), "damaged"),
        (&|| write(&good.replacen("\"3a\"", "\"9a\"", 1)), "damaged"),
        (&|| write(&newer), "written by a newer version of this program (format 7, known is 1)"),
        (&huge, "larger than 64 MiB"),
        (&|| nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap(), "not a file"),
    ];
    for (spoil, why) in cases {
        let _ = fs::remove_file(&file);
        spoil();
        let output = run(&sweep(state, 3));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = stderr(&output);
        let lines: Vec<_> = said.lines().filter(|line| line.contains("state: ")).collect();
        assert!(
            lines.len() == 1 && lines[0].contains(why) && lines[0].contains("set aside as"),
            "{why}: {said}"
        );
        assert_eq!(kept(state), 3);
        let aside: Vec<_> = names(state).into_iter().filter(|name| name.contains(".bad-")).collect();
        assert_eq!(aside.len(), 1, "{aside:?}");
        fs::remove_file(state.join(&aside[0])).unwrap();
    }
}

/// Fault case 36: of two runners with one state the second names the first, and the first is not disturbed.
#[test]
fn case_36_the_second_runner_names_the_first_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, state) = (folder.path().join("jobs.yaml"), folder.path().join("state"));
    fs::write(&jobs, "jobs:\n  - name: a\n    every: 1h\n    ipc: {}\n").unwrap();
    let arguments = |command| [command, jobs.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let first = Daemon::start(&mut netjobs(&arguments("run")));
    let pid = first.process.child.id();
    let mut second = arguments("run").to_vec();
    second.extend(["--web.listen-address", "127.0.0.1:0"]);
    let sweep: Vec<String> = sweep(&state, 1);
    let sweep: Vec<&str> = sweep.iter().map(String::as_str).collect();
    for arguments in [&second[..], &arguments("once"), &sweep] {
        let output = netjobs(arguments).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let wanted = format!("{} holds the state of another runner, process {pid}\n", state.display());
        assert!(said.contains(&wanted) && said.contains("hint: end that runner"), "{said}");
    }
    assert!(first.get("/-/healthy").contains("200 OK"));
    assert_eq!(first.process.end(Signal::SIGKILL), None);
    // The kernel drops the lock with its holder.
    assert_eq!(netjobs(&arguments("once")).output().unwrap().status.code(), Some(0));
}

/// The daemon too remembers across restarts, and who comes to its targets is seen for the first time alone.
#[test]
fn a_daemon_that_starts_again_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let [jobs, hosts, state] = ["jobs.yaml", "hosts", "state"].map(|name| folder.path().join(name));
    fs::write(&hosts, "127.0.0.1-2\n").unwrap();
    fs::write(
        &jobs,
        "jobs:\n  - name: lan\n    every: 200ms\n    sweep: { targets: '@hosts', method: tcp/9 }\n",
    )
    .unwrap();
    let first_sights = || {
        let mut daemon = Daemon::start(netjobs(&["run", jobs.to_str().unwrap(), "--state"]).arg(&state));
        let mut seen = 0;
        loop {
            let line = daemon.process.line_with("\"event\":\"");
            seen += usize::from(line.contains("\"host_changed\""));
            if line.contains("\"run_finished\"") {
                assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
                return seen;
            }
        }
    };
    assert_eq!([first_sights(), first_sights()], [2, 0]);
    fs::write(&hosts, "127.0.0.1-3\n").unwrap();
    assert_eq!([first_sights(), first_sights()], [1, 0]);
}

/// More hosts at once than sinks can take: the sweep waits for room, and each host is told.
#[test]
fn every_host_of_a_large_sweep_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let [jobs, records] = ["jobs.yaml", "records"].map(|name| folder.path().join(name));
    let job = "jobs:\n  - name: lan\n    every: 1h\n    \
               sweep: { targets: 127.16.0.0-127.16.15.254, method: tcp/9, rate: max, passes: 1 }\n";
    fs::write(&jobs, job).unwrap();
    let ended = netjobs(&["once", jobs.to_str().unwrap(), "--json"]).arg(&records).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let text = fs::read_to_string(&records).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"host_changed\"")).count(), 4095);
}

/// A disk that hangs holds up the end for some seconds, and a second signal for none; what is lost is named.
#[test]
fn a_second_signal_ends_it_though_the_disk_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("jobs.yaml"));
    fs::write(
        &file,
        "jobs:\n  - { name: a, cron: '* * * * * *', missed: once, interfaces: { select: [lo] } }\n",
    )
    .unwrap();
    let mut command = Command::new("strace");
    // The first says whether the folder can be written to.
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e"]);
    command.arg("inject=fsync:delay_enter=600s:when=2+").arg(env!("CARGO_BIN_EXE_netjobs"));
    command.args(["run", "--web.listen-address", "127.0.0.1:0", "--state"]).args([&state, &file]);
    let mut daemon = Running::start(command.stderr(Stdio::piped()));
    daemon.line_with("run_finished");
    let strace = daemon.child.id();
    let child = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let child = Pid::from_raw(child.trim().parse().unwrap());
    kill(child, Signal::SIGTERM).unwrap();
    daemon.line_with("\"stopped\"");
    let begun = Instant::now();
    kill(child, Signal::SIGTERM).unwrap();
    let stderr = BufReader::new(daemon.child.stderr.take().unwrap());
    let said = stderr.lines().map_while(Result::ok).find(|line| line.contains("could not be saved"));
    assert!(said.as_ref().is_some_and(|said| said.contains("STARTS.json")), "{said:?}");
    // Without the second it is five seconds and more.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
