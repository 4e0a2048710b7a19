//! Reloads that must change nothing, and reloads at bad moments: sets that are wrong in two hundred ways, and wishes by
//! signal, by HTTP and by changed files, all at once, at the start and while the runner ends.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use serde_json::Value;

use crate::program::{Daemon, netjobs};

const KEPT: &str = "jobs:\n  - name: kept\n    echo: { listen: 127.0.0.1:0 }\n";

fn daemon(folder: &Path, flags: &[&str]) -> Daemon {
    Daemon::start(netjobs(&["run", folder.to_str().unwrap(), "--web.enable-lifecycle"]).args(flags))
}

/// Asks for a reload.
fn post(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Makes the folder wrong in one of two hundred ways; gives a part of what must be said, and whether at a line.
fn break_it(folder: &Path, number: usize, taken: &str) -> (String, bool) {
    let (n, way) = (number / 20, number % 20);
    let pad = "# a line\n".repeat(n);
    let file = folder.join(format!("wrong-{n}.yaml"));
    let check = |keys: &str| format!("{pad}jobs:\n  - name: w{n}\n    every: 1h\n    {keys}\n");
    let (text, said, is_placed) = match way {
        0 => (check(&format!("pnig{n}: {{}}")), "unknown", true),
        1 => (check(&format!("ipc: {{ key{n}: 1 }}")), "unknown", true),
        2 => (check("ipc: {}").replace(&format!("name: w{n}"), "name: kept"), "is taken by", true),
        3 => (check("ipc: { "), "", true),
        4 => (check("ipc: {}\n\tevery: 1s"), "", true),
        5 => (format!("{pad}jobs: {n}\n"), "", true),
        6 => (check(&format!("needs: [nobody-{n}]\n    ipc: {{}}")), "no job is called", true),
        7 => (check("ipc: {}").replace("1h", "-1h"), "", true),
        8 => (
            check(&format!("forward: {{ listen: '{taken}', to: 'a:1' }}")).replace("    every: 1h\n", ""),
            "in use",
            false,
        ),
        9 => (
            check("echo: { listen: 'unix:///nowhere/at/all' }").replace("    every: 1h\n", ""),
            "no folder",
            false,
        ),
        10 => (check("ping: { host: a, count: 0 }"), "", true),
        11 => (check("exchange: { to: 'a:1', send: '${file:missing}' }"), "no such file", true),
        12 => (check("ping: { host: '${NOT_SET_AT_ALL}' }"), "is not set", true),
        13 => (check("ipc: {}").replace("every: 1h", "cron: '0 0 31 2 *'"), "", true),
        14 => (format!("{pad}jobs:\n  - &a\n    name: w\n    <<: *a\n"), "", true),
        15 => (format!("{pad}{}\0", check("ipc: {}")), "NUL", true),
        16 => ("#".repeat((1 << 20) + 1 + n), "larger than 1 MiB", true),
        17 => ("[".repeat(2000 + n), "", true),
        18 | 19 => (String::new(), if way == 18 { "not a regular file" } else { "anybody may write" }, true),
        _ => unreachable!(),
    };
    match way {
        18 if n % 2 == 0 => mkfifo(&file, Mode::S_IRUSR).unwrap(),
        18 => symlink("/dev/zero", &file).unwrap(),
        19 => {
            fs::write(&file, check("ipc: {}")).unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        }
        _ => fs::write(&file, text).unwrap(),
    }
    (said.to_owned(), is_placed)
}

/// Fault case 49: a port that another holds is among the two hundred ways.
#[test]
fn two_hundred_broken_sets_leave_the_old_one_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.yaml"), KEPT).unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let mut daemon = daemon(root.path(), &["--no-watch"]);
    let ready: Value = serde_json::from_str(&daemon.process.line_with("\"job_ready\"")).unwrap();
    let address = ready["addresses"][0].as_str().unwrap()["tcp://".len()..].to_owned();
    let old = TcpStream::connect(&address).unwrap();
    for number in 0..200 {
        let (said, is_placed) = break_it(root.path(), number, &taken);
        let answer = daemon.request("POST", "/-/reload");
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains(&said), "{number}: {answer}");
        let record: Value = serde_json::from_str(&daemon.process.line_with("\"config_")).unwrap();
        assert_eq!(record["event"], "config_rejected", "{number}: {record}");
        let first = &record["diagnostics"][0];
        assert_eq!(
            first["line"].is_u64() && first["column"].is_u64() && first["file"].is_string(),
            is_placed,
            "{number}: {record}"
        );
        let wrong = root.path().join(format!("wrong-{}.yaml", number / 20));
        assert!(record.to_string().contains(wrong.to_str().unwrap()), "{number}: {record}");
        fs::remove_file(wrong).unwrap();
    }
    while !daemon.get("/metrics").contains("netjobs_config_last_reload_successful 0\n") {}
    TcpStream::connect(&address).expect("it still listens");
    old.peer_addr().expect("and nobody was broken off");
    fs::write(root.path().join("b.yaml"), "jobs:\n  - name: b\n    every: 1h\n    ipc: {}\n").unwrap();
    let answer = daemon.request("POST", "/-/reload");
    assert!(answer.ends_with("1 added, 0 removed, 0 changed, 1 kept\n"), "{answer}");
    // The metrics hear of it a moment after whoever asked.
    while !daemon.get("/metrics").contains("netjobs_config_last_reload_successful 1\n") {}
    drop((old, holder));
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

/// Fault case 64: a hundred wishes a second and more, by all three ways, from the start on, and into the end.
#[test]
fn a_storm_of_wishes_by_all_ways_changes_hands_safely_until_the_end() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    let jobs = |number: usize| {
        format!(
            "{KEPT}  - name: changing\n    echo: {{ listen: 127.0.0.1:0, max_connections: {} }}\n",
            number + 1
        )
    };
    fs::write(&file, jobs(0)).unwrap();
    let mut daemon = daemon(root.path(), &[]);
    let id = Pid::from_raw(i32::try_from(daemon.process.child.id()).unwrap());
    let address = daemon.address.clone();
    let ready: Value = serde_json::from_str(&daemon.process.line_with("\"job_name\":\"kept\"")).unwrap();
    let client = TcpStream::connect(&ready["addresses"][0].as_str().unwrap()["tcp://".len()..]).unwrap();
    let asking =
        thread::spawn(move || (0..50).filter(|_| post(&address).starts_with("HTTP/1.1 200")).count());
    // Never half a file: who reads it in between would be right to refuse it.
    let write = |text: String| {
        let next = root.path().join(".next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &file).unwrap();
    };
    for number in 1..=300 {
        write(jobs(number));
        kill(id, Signal::SIGHUP).unwrap();
    }
    assert_eq!(asking.join().unwrap(), 50, "each wish is answered");
    write(format!("{KEPT}  - name: last\n    every: 1h\n    ipc: {{}}\n"));
    loop {
        let record: Value = serde_json::from_str(&daemon.process.line_with("\"config_")).unwrap();
        assert_eq!(record["event"], "config_reloaded", "{record}");
        if record["added"] == serde_json::json!(["last"]) {
            break;
        }
    }
    client.peer_addr().expect("what is the same keeps its connections");
    // It drains, since a connection is open, and wishes are refused and not fatal.
    kill(id, Signal::SIGTERM).unwrap();
    for _ in 0..50 {
        kill(id, Signal::SIGHUP).unwrap();
    }
    let refused = post(&daemon.address);
    assert!(refused.contains("the runner is stopping"), "{refused}");
    drop(client);
    assert_eq!(daemon.process.wait(), Some(0));
}

/// Fault case 64: a wish that comes while the program starts ends nothing.
#[test]
fn a_signal_to_reload_in_the_start_does_not_end_the_runner() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..200 {
        let job = format!("jobs:\n  - name: j{number}\n    every: 1h\n    ipc: {{}}\n");
        fs::write(root.path().join(format!("{number}.yaml")), job).unwrap();
    }
    let mut command = netjobs(&["run", root.path().to_str().unwrap(), "--web.listen-address", "127.0.0.1:0"]);
    command.stderr(std::process::Stdio::null());
    let mut running = crate::program::Running::start(&mut command);
    let id = Pid::from_raw(i32::try_from(running.child.id()).unwrap());
    // Nothing is set up before the program's own first step: that it was begun shows in what it ignores or catches.
    let handles = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let mask = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
        };
        (mask("SigIgn") | mask("SigCgt")) & 1 != 0
    };
    while !handles() {}
    for _ in 0..20 {
        kill(id, Signal::SIGHUP).unwrap();
    }
    running.line_with("\"started\"");
    assert_eq!(running.end(Signal::SIGTERM), Some(0));
}
