//! The protocol of `sd_notify(3)`, heard by a real datagram socket.

use std::{fs, net::TcpListener, os::unix::net::UnixStream, process::Command};

use nix::{
    sys::signal::Signal,
    time::{ClockId, clock_gettime},
};
use tokio::time::{Duration, Instant};

use super::{Jobs, Manager, PATIENCE, ended, keep_stderr, signal};
use crate::program::{Running, netjobs};

fn monotonic_micros() -> u128 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_micros()
}

fn echo(name: &str, path: &str) -> String {
    format!("  - name: {name}\n    echo: {{ listen: 'unix:{path}' }}\n")
}

#[test]
fn the_manager_hears_that_services_are_bound_of_each_reload_and_of_the_end() {
    for abstract_name in [false, true] {
        let jobs = Jobs::new("");
        let socket = jobs.path("echo");
        let text = echo("e", socket.to_str().unwrap());
        jobs.write(&text);
        let folder = jobs.folder.path();
        let manager = if abstract_name { Manager::at_name(folder) } else { Manager::at_path(folder) };
        let begun = Instant::now();
        let daemon = Running::start(jobs.run().env("NOTIFY_SOCKET", &manager.name));
        assert_eq!(manager.hear(), "READY=1\nSTATUS=1 job, none failing");
        println!("READY {:?} after the start", begun.elapsed());
        UnixStream::connect(&socket).expect("it is ready, so it is bound");

        let reload = |text: &str| {
            jobs.write(text);
            let before = monotonic_micros();
            signal(&daemon, Signal::SIGHUP);
            let message = manager.hear_of("RELOADING=1");
            let stamp = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
            assert!((before..=monotonic_micros()).contains(&stamp.parse().unwrap()), "{message}");
            manager.hear_of("READY=1")
        };
        let more = echo("f", jobs.path("more").to_str().unwrap());
        assert_eq!(reload(&format!("{text}{more}")), "READY=1\nSTATUS=2 jobs, none failing");
        UnixStream::connect(jobs.path("more")).expect("it is ready again");
        let rejected = "READY=1\nSTATUS=2 jobs, none failing; the last reload was rejected";
        assert_eq!(reload("nonsense"), rejected);
        assert_eq!(reload(&text), "READY=1\nSTATUS=1 job, none failing");

        let (code, _, took) = ended(daemon);
        assert_eq!(code, Some(0));
        assert!(manager.hear_of("STOPPING=1").contains("STATUS=stopping"));
        println!("idle exit under a manager: {took:?}");
        assert!(!socket.exists());
    }
}

#[test]
fn a_service_that_cannot_start_holds_up_nobody_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let jobs = Jobs::new(&format!("  - name: busy\n    echo: {{ listen: '{address}' }}\n"));
    let manager = Manager::at_path(jobs.folder.path());
    let begun = Instant::now();
    let daemon = Running::start(jobs.run().env("NOTIFY_SOCKET", &manager.name));
    let ready = manager.hear();
    assert!(ready.starts_with("READY=1\nSTATUS=1 job, 1 failing: busy"), "{ready}");
    assert!(begun.elapsed() < Duration::from_secs(8), "it waited for a service that had given up");
    assert_eq!(ended(daemon).0, Some(0));
}

#[test]
fn signs_of_life_come_at_half_the_time_and_only_if_this_process_is_meant() {
    for (pid, wanted) in [("$$", 6..=11), ("1", 0..=0)] {
        let jobs = Jobs::new("  - name: a\n    every: 1h\n    ipv6: {}\n");
        let manager = Manager::at_path(jobs.folder.path());
        let run = jobs.run();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("WATCHDOG_PID={pid} exec \"$0\" \"$@\"")]);
        command.arg(run.get_program()).args(run.get_args());
        command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "400000");
        let daemon = Running::start(&mut command);
        manager.hear_of("READY=1");
        manager.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (begun, mut signs) = (Instant::now(), 0);
        let mut message = [0; 100];
        while begun.elapsed() < Duration::from_secs(2) {
            let heard = manager.socket.recv(&mut message).unwrap_or_default();
            signs += u32::from(&message[..heard] == b"WATCHDOG=1");
        }
        println!("{signs} signs of life in 2 s at a watchdog of 400 ms, WATCHDOG_PID {pid}");
        assert!(wanted.contains(&signs), "{signs}");
        assert_eq!(ended(daemon).0, Some(0));
    }
}

#[test]
fn children_do_not_hear_of_the_manager() {
    let jobs = Jobs::new("  - name: a\n    at: start\n    run_timeout: 5m\n    ipc: { messages: 100000 }\n");
    let manager = Manager::at_path(jobs.folder.path());
    let mut command = jobs.run();
    command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "60000000").env("KEPT", "kept");
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "a");
    let daemon = Running::start(&mut command);
    let child = super::child_of(&daemon, "socketpair");
    let environment = fs::read_to_string(format!("/proc/{child}/environ")).unwrap();
    assert!(environment.contains("KEPT=kept"), "{environment}");
    for gone in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        assert!(!environment.contains(gone), "{gone} in {environment}");
    }
    ended(daemon);
}

/// Fault case 69: a manager that is gone, never was, is no socket, or has no room.
#[test]
fn a_manager_that_does_not_listen_stops_nothing() {
    let jobs = Jobs::new("  - name: a\n    echo: { listen: 127.0.0.1:0 }\n");
    let gone = Manager::at_path(jobs.folder.path()).name;
    let file = jobs.file.to_str().unwrap().to_owned();
    let long = format!("@{}", "x".repeat(300));
    for (name, said) in [
        (gone.as_str(), "Connection refused"),
        ("/nowhere/notify", "No such file"),
        (&file, "Connection refused"),
        ("@nobody-is-here", "Connection refused"),
        (&long, "is told nothing"),
        ("garbage", "is told nothing"),
        ("vsock:2:9999", "is told nothing"),
    ] {
        let mut command = jobs.run();
        let mut daemon = Running::start(keep_stderr(command.env("NOTIFY_SOCKET", name)));
        let ready = daemon.line_with("job_ready");
        assert!(ready.contains("127.0.0.1"), "{ready}");
        let told_in_log = said != "is told nothing";
        if told_in_log {
            let line = daemon.line_with("tell the service manager");
            assert!(line.contains(said), "{name}: {line}");
        }
        let (code, said_on_stderr, took) = ended(daemon);
        assert_eq!(code, Some(0), "{name}: {said_on_stderr}");
        assert!(told_in_log || said_on_stderr.contains(said), "{name}: {said_on_stderr}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    }
}

/// Fault case 69: a manager that reads nothing for a while misses no word that it waits for.
#[test]
fn a_manager_without_room_is_told_later() {
    let jobs = Jobs::new("  - name: a\n    echo: { listen: 127.0.0.1:0 }\n");
    let manager = Manager::at_path(jobs.folder.path());
    let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"STATUS=noise", &manager.name).is_ok() {}
    let mut daemon =
        Running::start(jobs.run().env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "100000"));
    daemon.line_with("job_ready");
    manager.hear_of("READY=1");
    signal(&daemon, Signal::SIGHUP);
    daemon.line_with("config_reloaded");
    manager.hear_of("RELOADING=1");
    manager.hear_of("READY=1");
    assert_eq!(ended(daemon).0, Some(0));
}

/// Fault case 64, as far as the start goes: whoever asks for a reload while the files are read for the first time.
#[test]
fn a_reload_that_comes_with_the_start_is_done_and_ends_nothing() {
    let jobs = Jobs::new("");
    jobs.write(&super::checks(1000));
    let mut daemon = Running::start(&mut jobs.run());
    let status = format!("/proc/{}/status", daemon.child.id());
    let is_held = || {
        let status = fs::read_to_string(&status).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(held.trim(), 16).unwrap() & 1 == 1
    };
    let deadline = Instant::now() + PATIENCE;
    while !is_held() {
        assert!(Instant::now() < deadline, "it never holds SIGHUP");
    }
    signal(&daemon, Signal::SIGHUP);
    daemon.line_with("config_reloaded");
    assert!(!is_held());
    assert_eq!(ended(daemon).0, Some(0));
}

#[test]
fn a_command_that_becomes_another_leaves_the_manager_to_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    let output = netjobs(&["wait", &to, "--", "sh", "-c", "echo $NOTIFY_SOCKET $LISTEN_FDS"])
        .env("NOTIFY_SOCKET", "/run/some/notify")
        .env("LISTEN_FDS", "0")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.ends_with("/run/some/notify 0\n"), "{printed}");
}
