//! The program ends at whatever moment it is told to: with the code of its papers, soon, and without leaving anything.

use std::{
    fs,
    net::UdpSocket,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::time::Instant;

use super::{Jobs, ended, signal};
use crate::{
    netns::Namespace,
    program::{Running, netjobs},
};

/// Services on sockets with files, children, checks that come at once and later.
const JOBS: &str = "
  - name: stream
    echo: { listen: 'unix:stream' }
  - name: datagrams
    echo: { listen: 'unixgram:datagrams' }
  - name: forward
    forward: { listen: 'unix:forward', to: 'unix:stream' }
  - name: children
    every: 50ms
    ipc: { via: unix_datagram, messages: 200 }
  - name: answers
    every: 50ms
    needs: [forward]
    exchange: { to: 'unix:forward', send: hello }
";

/// Ends a command with a signal, so long after its start.
#[derive(Clone, Copy)]
struct Moment {
    after: Duration,
    signal: Signal,
}

/// What is asked of every end: its code or signal is one of these, it comes soon, and nothing is left of it.
#[track_caller]
fn check(inner: &Command, folder: &Path, moment: Moment, codes: &[i32]) -> (i32, Duration) {
    let temporary = tempfile::tempdir().unwrap();
    // Who runs the tests in the background of a shell ignores SIGINT, and so would the program until it catches signals.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM").arg(inner.get_program()).args(inner.get_args());
    command.env("NO_COLOR", "1").env("TMPDIR", temporary.path()).stdin(Stdio::null()).stderr(Stdio::null());
    let mut running = Running::start(&mut command);
    // The moment is random on purpose: it is a time, and nothing is waited for.
    thread::park_timeout(moment.after);
    let group = Pid::from_raw(i32::try_from(running.child.id()).unwrap());
    kill(group, moment.signal).unwrap();
    let begun = Instant::now();
    let _ = running.rest();
    let status = running.child.wait().unwrap();
    let took = begun.elapsed();
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap();
    let when = format!("{:?} after the start, {}", moment.after, moment.signal);
    assert!(codes.contains(&code), "{when}: {status:?}");
    assert!(took < Duration::from_secs(10), "{when}: ended after {took:?}");
    assert_eq!(killpg(group, None), Err(Errno::ESRCH), "{when}: a child is left");
    let left = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name != "jobs.yaml").collect()
    };
    assert_eq!(left(folder), [""; 0], "{when}");
    assert_eq!(left(temporary.path()), [""; 0], "{when}");
    (code, took)
}

/// Tries so many moments between the start and a while after it, and prints what came of them.
fn sweep(what: &str, count: u32, codes: &[i32], command: impl Fn(&Jobs) -> Command) {
    let mut ends = std::collections::BTreeMap::<i32, u32>::new();
    let mut longest = Duration::ZERO;
    for step in 0..count {
        let jobs = Jobs::new(JOBS);
        // The first moments lie close to each other: most of the start is over soon.
        let after = Duration::from_micros(u64::from(step * step) * 400_000 / u64::from(count * count));
        let signal = if step % 2 == 0 { Signal::SIGTERM } else { Signal::SIGINT };
        let (code, took) = check(&command(&jobs), jobs.folder.path(), Moment { after, signal }, codes);
        *ends.entry(code).or_default() += 1;
        longest = longest.max(took);
    }
    eprintln!("{what}: {count} moments, exit codes {ends:?}, the longest end {longest:?}");
}

#[test]
fn a_daemon_that_is_told_to_end_at_any_moment_of_its_start_leaves_nothing() {
    // Before it catches signals it has nothing to end: the system ends it, and systemd takes that for clean, too.
    sweep("run", 50, &[0, 130, 143], Jobs::run);
}

#[test]
fn a_smoke_check_that_is_told_to_end_at_any_moment_leaves_nothing() {
    sweep("once", 30, &[0, 130, 143], |jobs| netjobs(&["once", jobs.file.to_str().unwrap()]));
}

#[test]
fn a_service_verb_that_is_told_to_end_at_any_moment_leaves_nothing() {
    sweep("echo", 20, &[0, 130, 143], |jobs| {
        netjobs(&["echo", "--listen", &format!("unix:{}", jobs.path("echo").display())])
    });
}

#[test]
fn many_signals_at_once_end_it_and_leave_nothing() {
    for count in [2, 20] {
        let jobs = Jobs::new(JOBS);
        let mut daemon = Running::start(&mut jobs.run());
        daemon.line_with("\"job_name\":\"answers\"");
        for at in 0..count {
            let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
            signal(&daemon, signals[at % signals.len()]);
        }
        let _ = daemon.rest();
        let code = daemon.wait();
        assert!([Some(0), Some(130), Some(143)].contains(&code), "{code:?}");
        for left in ["stream", "datagrams", "forward"] {
            assert!(!jobs.path(left).exists(), "{left} is left");
        }
    }
}

#[test]
fn a_signal_in_a_reload_ends_it_at_once() {
    let jobs = Jobs::new(JOBS);
    let mut daemon = Running::start(&mut jobs.run());
    daemon.line_with("\"job_name\":\"stream\"");
    let more = super::checks(500);
    jobs.write(&format!("{JOBS}{more}"));
    signal(&daemon, Signal::SIGHUP);
    let (code, _, took) = ended(daemon);
    println!("ended in a reload after {took:?}");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!jobs.path("stream").exists());
}

#[test]
fn an_idle_runner_ends_within_a_tenth_of_a_second() {
    let mut times = vec![];
    for _ in 0..11 {
        let jobs = Jobs::new(&JOBS.replace("every: 50ms", "every: 1h"));
        let mut daemon = Running::start(&mut jobs.run());
        for _ in 0..3 {
            daemon.line_with("job_ready");
        }
        let (code, _, took) = ended(daemon);
        assert_eq!(code, Some(0));
        times.push(took);
    }
    times.sort();
    println!("idle exit: median {:?}, longest {:?} of {}", times[5], times[10], times.len());
    // The name says what it takes on a machine of its own; here others build and test beside it.
    assert!(times[5] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn a_name_that_is_still_looked_up_holds_up_no_end() {
    let network = Namespace::new();
    let silent = network.run(|| UdpSocket::bind("127.0.0.1:53").unwrap());
    let jobs =
        Jobs::new("  - name: a\n    every: 1h\n    at: start\n    wait: { for: 'tcp://silent.test:80' }\n");
    let names = jobs.path("resolv.conf");
    fs::write(&names, "nameserver 127.0.0.1\noptions timeout:20 attempts:1\n").unwrap();
    network.run(|| unshare(CloneFlags::CLONE_NEWNS).unwrap());
    network.sh(&format!("mount --make-rprivate /; mount --bind {} /etc/resolv.conf", names.display()));
    let mut command = jobs.run();
    let daemon = network.run(move || Running::start(&mut command));
    // The question has come, and gets no answer.
    silent.set_read_timeout(Some(super::PATIENCE)).unwrap();
    silent.recv(&mut [0; 512]).unwrap();
    let (code, _, took) = ended(daemon);
    println!("ended beside a lookup of 20 s after {took:?}");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_runner_that_is_killed_amid_messages_leaves_no_folder_of_its_child() {
    let temporary = tempfile::tempdir().unwrap();
    let jobs = Jobs::new(
        "  - name: a\n    at: start\n    run_timeout: 5m\n    ipc: { via: unix_datagram, messages: 100000 }\n",
    );
    let daemon = Running::start(jobs.run().env("TMPDIR", temporary.path()));
    let entries = || fs::read_dir(temporary.path()).unwrap().count();
    let deadline = Instant::now() + super::PATIENCE;
    // Its child has a socket there; both ends meet, and the folder goes while they still talk.
    super::child_of(&daemon, "unix_datagram");
    while entries() > 0 {
        assert!(Instant::now() < deadline, "the folder stays");
    }
    signal(&daemon, Signal::SIGKILL);
    assert_eq!(daemon.wait(), None);
    assert_eq!(entries(), 0);
}
