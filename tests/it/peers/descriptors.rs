//! What the built program holds: its descriptors and memory after many connections, and what its children get of it.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{Host, PATIENCE, quiet, stopped};
use crate::program::{Running, netjobs};

/// What the descriptors of a process are, by their numbers in /proc.
fn descriptors(process: u32) -> Vec<(String, String)> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let target = |path: &Path| fs::read_link(path).map(|to| to.display().to_string()).unwrap_or_default();
    entries.map(|entry| (entry.file_name().display().to_string(), target(&entry.path()))).collect()
}

/// The memory of a process in KiB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Connects so often one after the other, one byte each way; the client breaks each second connection off.
fn connects(host: &Host, listener: &TcpListener, count: usize) {
    let listener = listener.try_clone().unwrap();
    let server = thread::spawn(move || {
        for _ in 0..count {
            let mut far = listener.accept().unwrap().0;
            let mut byte = [0];
            far.read_exact(&mut byte).unwrap();
            far.write_all(&byte).unwrap();
        }
    });
    host.0.run(move || {
        for number in 0..count {
            let mut client = TcpStream::connect("127.0.0.1:8800").unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            if number % 2 == 0 {
                socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    });
    server.join().unwrap();
}

/// Case 57 of the forward's list with ten thousand connects.
#[test]
fn after_ten_thousand_connects_all_descriptors_and_memory_are_back() {
    let host = Host::new();
    let listener = host.listen("127.0.0.1:7000");
    let said = tempfile::NamedTempFile::new().unwrap();
    // Into a file: a pipe that nobody reads would be what costs memory here.
    let script = "exec \"$@\" >\"$0\"";
    let path = said.path().display().to_string();
    let program = [env!("CARGO_BIN_EXE_netjobs"), "forward", "8800", "--to", "127.0.0.1:7000"];
    let forward = host.start(quiet("sh", &[&["-c", script, &path], &program[..]].concat()));
    let lines = |what: &str| fs::read_to_string(said.path()).unwrap().matches(what).count();
    until("the forward is not ready", || lines(" ready on ") == 1);
    let process = forward.child.id();
    // What is made once and kept is made by these.
    connects(&host, &listener, 1000);
    until("connections are left", || lines(" -> ") == 1000);
    let base = descriptors(process).len();
    let before = memory(process);
    connects(&host, &listener, 10_000);
    until("descriptors are left", || descriptors(process).len() <= base);
    let after = memory(process);
    assert!(after <= before + 512, "{before} KiB before, {after} KiB after");
    stopped(forward);
    assert_eq!(lines("11000 connections, 0 active"), 1);
    assert_eq!((lines(" finished: 1 B in, 1 B out"), lines(" client_reset: 1 B in, 1 B out")), (5500, 5500));
}

/// A runner with a forward that holds connections, and a child of its `ipc`.
const JOBS: &str = "
jobs:
  - name: web
    forward: { listen: [127.0.0.1:8800, 'udp://127.0.0.1:8800'], to: [127.0.0.1:7000, 'udp://127.0.0.1:7000'] }
  - name: child
    every: 1s
    ipc: { via: VIA, messages: 1000000 }
";

/// Case 60 of the forward's list.
#[test]
fn a_child_inherits_no_descriptor() {
    for via in ["socketpair", "unix_stream", "unix_datagram"] {
        let host = Host::new();
        let listener = host.listen("127.0.0.1:7000");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.yaml");
        fs::write(&file, JOBS.replace("VIA", via)).unwrap();
        let mut command = netjobs(&["run", &file.display().to_string()]);
        command.stderr(std::process::Stdio::null());
        let mut runner = host.start(command);
        runner.line_with("\"job_ready\"");
        let clients: Vec<_> =
            (0..5).map(|_| (host.connect("127.0.0.1:8800"), listener.accept().unwrap())).collect();
        let child = child_of(&runner);
        let held = sockets(runner.child.id());
        assert!(held.len() > 2 * clients.len(), "{via}: {held:?}");
        // The child's end of a socketpair has a number of its own; what this test was started with goes down to all.
        let ours = descriptors(std::process::id());
        let is_beyond = |(number, what): &(String, String)| {
            held.contains(what) || number.len() > 1 && !ours.contains(&(number.clone(), what.clone()))
        };
        let beyond = || descriptors(child).into_iter().filter(is_beyond).collect::<Vec<_>>();
        // Between fork and exec it has everything.
        until(&format!("{via}: the child has more than its own"), || beyond().is_empty());
    }
}

/// The sockets that a process holds.
fn sockets(process: u32) -> BTreeSet<String> {
    descriptors(process)
        .into_iter()
        .map(|(_, what)| what)
        .filter(|what| what.starts_with("socket:"))
        .collect()
}

/// The child of a runner, once it is the program that it is to run: before, it is a copy of its parent.
fn child_of(runner: &Running) -> u32 {
    let parent = format!("\nPPid:\t{}\n", runner.child.id());
    let is_it = |id: &u32| {
        let read = |what: &str| fs::read_to_string(format!("/proc/{id}/{what}")).unwrap_or_default();
        read("status").contains(&parent) && read("cmdline").contains("\0ipc-child\0")
    };
    let mut child = None;
    until("there is no child", || {
        let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
        child = names.filter_map(|name| name.to_str()?.parse().ok()).find(is_it);
        child.is_some()
    });
    child.unwrap()
}

/// Case 60 of the forward's list, for the command that `wait` becomes.
#[test]
fn the_command_of_a_wait_inherits_no_descriptor() {
    let host = Host::new();
    let _listener = host.listen("127.0.0.1:7000");
    let wait = ["wait", "tcp://127.0.0.1:7000", "-t", "10s", "--", "ls", "-l", "/proc/self/fd"];
    let listed = host.run(env!("CARGO_BIN_EXE_netjobs"), &wait);
    let listed = String::from_utf8_lossy(&listed);
    assert!(listed.contains(" 0 -> /dev/null"), "{listed}");
    assert!(!listed.contains("socket:") && !listed.contains("anon_inode:"), "{listed}");
}
