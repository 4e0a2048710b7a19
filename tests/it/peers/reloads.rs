//! Reloads of a runner while connections come, go and stay.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{Host, PATIENCE, noise};
use crate::program::{Running, netjobs};

/// A runner and the folder of its job file, which can be written anew.
struct Runner {
    folder: TempDir,
    running: Running,
}

impl Runner {
    /// Starts it and waits until so many jobs are ready.
    fn start(host: &Host, jobs: &str, services: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("jobs.yaml"), jobs).unwrap();
        let mut command = netjobs(&["run", "--no-watch", &folder.path().display().to_string()]);
        command.stderr(Stdio::null());
        let mut running = host.start(command);
        (0..services).for_each(|_| drop(running.line_with("\"job_ready\"")));
        Self { folder, running }
    }

    /// Writes other jobs and waits until they are taken and so many of them are ready.
    #[track_caller]
    fn reload(&mut self, jobs: &str, services: usize) {
        fs::write(self.folder.path().join("jobs.yaml"), jobs).unwrap();
        kill(Pid::from_raw(i32::try_from(self.running.child.id()).unwrap()), Signal::SIGHUP).unwrap();
        let (mut is_taken, mut ready) = (false, 0);
        while !is_taken || ready < services {
            let line = self.running.line_with("\"event\":\"");
            assert!(!line.contains("\"config_rejected\""), "{line}");
            is_taken |= line.contains("\"config_reloaded\"");
            ready += usize::from(line.contains("\"job_ready\""));
        }
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a byte one way and takes it on the other side.
#[track_caller]
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    from.write_all(b"x").unwrap();
    let mut byte = [0];
    to.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

/// A server that answers the first byte of each connection and finishes; it ends after a `q`.
fn answering(listener: TcpListener) -> JoinHandle<()> {
    thread::spawn(move || {
        loop {
            let mut far = accept(&listener);
            let mut byte = [0];
            far.read_exact(&mut byte).unwrap();
            if &byte == b"q" {
                return;
            }
            far.write_all(&byte).unwrap();
        }
    })
}

/// Case 38 of the forward's list.
#[test]
fn a_hundred_reloads_under_load_refuse_and_reset_nobody() {
    let host = Host::new();
    let upstream = answering(host.listen("127.0.0.1:7000"));
    let jobs = |number: usize| {
        format!(
            "jobs:\n  - name: web\n    forward: {{ listen: 8800, to: 127.0.0.1:7000, idle_timeout: {}s }}\n",
            60 + number
        )
    };
    let mut runner = Runner::start(&host, &jobs(0), 1);
    let over = Arc::new(AtomicBool::new(false));
    let client = |over: Arc<AtomicBool>| {
        let mut served = 0;
        while !over.load(Ordering::Relaxed) {
            let mut client = TcpStream::connect("127.0.0.1:8800").expect("nobody is refused");
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(b"x").unwrap();
            let mut answer = vec![];
            client.read_to_end(&mut answer).expect("nobody is reset");
            assert_eq!(answer, b"x");
            served += 1;
        }
        served
    };
    let clients: Vec<JoinHandle<usize>> = {
        let over = over.clone();
        host.0.run(move || {
            (0..3).map(|_| over.clone()).map(|over| thread::spawn(move || client(over))).collect()
        })
    };
    for number in 1..=100 {
        runner.reload(&jobs(number), 1);
    }
    over.store(true, Ordering::Relaxed);
    let served: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(served.iter().all(|served| *served >= 100), "{served:?}: it was no load");
    host.connect("127.0.0.1:8800").write_all(b"q").unwrap();
    upstream.join().unwrap();
    assert_eq!(runner.running.end(Signal::SIGTERM), Some(0));
}

/// Case 37 of the forward's list: what is the same keeps a thousand live transfers bit for bit, and so does what changed.
#[test]
fn a_reload_keeps_live_transfers() {
    const LENGTH: usize = 10_000;
    let host = Host::new();
    let listener = host.listen("127.0.0.1:7000");
    let jobs = |balance: &str| {
        format!(
            "jobs:\n  - name: same\n    forward: {{ listen: 8800, to: 127.0.0.1:7000 }}\n  - name: other\n    \
             forward: {{ listen: 8801, to: 127.0.0.1:7000, balance: {balance} }}\n"
        )
    };
    let mut runner = Runner::start(&host, &jobs("first"), 2);
    let mut pairs = vec![];
    for number in 0..1000 {
        let client = host.connect(if number % 2 == 0 { "127.0.0.1:8800" } else { "127.0.0.1:8801" });
        let far = accept(&listener);
        pairs.push((number, client, far));
    }
    // On their way when the reload comes, and after it.
    for part in 0..2 {
        for (number, client, far) in &mut pairs {
            client.write_all(&noise(*number + part, LENGTH)).unwrap();
            far.write_all(&noise(*number + part + 5000, LENGTH)).unwrap();
        }
        if part == 0 {
            runner.reload(&jobs("round_robin"), 1);
        }
        let mut bytes = vec![0; LENGTH];
        for (number, client, far) in &mut pairs {
            far.read_exact(&mut bytes).unwrap();
            assert!(bytes == noise(*number + part, LENGTH), "part {part} of {number}, up");
            client.read_exact(&mut bytes).unwrap();
            assert!(bytes == noise(*number + part + 5000, LENGTH), "part {part} of {number}, down");
        }
    }
    drop(pairs);
    assert_eq!(runner.running.end(Signal::SIGTERM), Some(0));
}

/// Case 37 of the forward's list: a client that waits for a place is served by the run that follows, and not broken off.
#[test]
fn a_client_that_waits_for_a_place_is_kept_by_a_reload() {
    let host = Host::new();
    let listener = host.listen("127.0.0.1:7000");
    let jobs = |most: u32| {
        format!(
            "jobs:\n  - name: web\n    forward: {{ listen: 8800, to: 127.0.0.1:7000, max_connections: {most} }}\n"
        )
    };
    let mut runner = Runner::start(&host, &jobs(1), 1);
    for most in 2..12 {
        let first = host.connect("127.0.0.1:8800");
        let far = accept(&listener);
        pass(&first, &far);
        // The second fills the place where a client waits; the run after the reload has places of its own.
        let mut more: Vec<_> = (0..most).map(|_| host.connect("127.0.0.1:8800")).collect();
        runner.reload(&jobs(most), 1);
        for _ in 0..most {
            let mut far = accept(&listener);
            far.write_all(b"y").unwrap();
        }
        for client in &mut more {
            client.read_exact(&mut [0]).expect("it was kept and is served");
        }
        drop((first, far, more));
        runner.reload(&jobs(1), 1);
    }
    assert_eq!(runner.running.end(Signal::SIGTERM), Some(0));
}

/// Case 37 of the forward's list: a client that waits for the rate of connections is served by the run that follows, by its rate.
#[test]
fn a_client_that_waits_for_a_rate_is_kept_by_a_reload() {
    let host = Host::new();
    let listener = host.listen("127.0.0.1:7000");
    let jobs = |rate: &str| {
        format!(
            "jobs:\n  - name: web\n    forward: {{ listen: 8800, to: 127.0.0.1:7000, rate: {{ connections: {rate} }} }}\n"
        )
    };
    let mut runner = Runner::start(&host, &jobs("1/h"), 1);
    let first = host.connect("127.0.0.1:8800");
    pass(&first, &accept(&listener));
    // The next place comes in an hour.
    let mut more: Vec<_> = (0..3).map(|_| host.connect("127.0.0.1:8800")).collect();
    runner.reload(&jobs("2/h"), 1);
    // Each run lets one in at once.
    pass(&more.remove(0), &accept(&listener));
    runner.reload(&jobs("100/s"), 1);
    for _ in &more {
        accept(&listener).write_all(b"y").unwrap();
    }
    for client in &mut more {
        client.read_exact(&mut [0]).expect("it was kept and is served");
    }
    assert_eq!(runner.running.end(Signal::SIGTERM), Some(0));
}

/// Case 37 of the forward's list: lists that are changed hold for who comes from then on.
#[test]
fn a_changed_list_acts_on_new_connections_only() {
    let host = Host::new();
    let listener = host.listen("127.0.0.1:7000");
    let jobs = |deny: &str| {
        format!("jobs:\n  - name: web\n    forward: {{ listen: 8800, to: 127.0.0.1:7000, deny: [{deny}] }}\n")
    };
    let mut runner = Runner::start(&host, &jobs("10.0.0.0/8"), 1);
    let early = host.connect("127.0.0.1:8800");
    let far = accept(&listener);
    runner.reload(&jobs("127.0.0.0/8"), 1);
    let mut late = host.connect("127.0.0.1:8800");
    assert!(late.read(&mut [0]).is_err(), "it is broken off");
    pass(&early, &far);
    pass(&far, &early);
    runner.reload(&jobs("10.0.0.0/8"), 1);
    let late = host.connect("127.0.0.1:8800");
    pass(&late, &accept(&listener));
    drop((early, far, late));
    assert_eq!(runner.running.end(Signal::SIGTERM), Some(0));
}

/// Case 37 of the forward's list: two jobs swap their ports, and one has another upstream; who is connected stays where it is.
#[test]
fn ports_are_swapped_by_a_reload() {
    let host = Host::new();
    let [one, two] = ["127.0.0.1:7001", "127.0.0.1:7002"].map(|at| host.listen(at));
    let jobs = |a: u16, b: u16| {
        format!(
            "jobs:\n  - name: a\n    forward: {{ listen: {a}, to: 127.0.0.1:7001 }}\n  - name: b\n    \
             forward: {{ listen: {b}, to: 127.0.0.1:7002 }}\n"
        )
    };
    let mut runner = Runner::start(&host, &jobs(8801, 8802), 2);
    let early = host.connect("127.0.0.1:8801");
    let far = accept(&one);
    pass(&early, &far);
    runner.reload(&jobs(8802, 8801), 2);
    let (late, other) = (host.connect("127.0.0.1:8801"), host.connect("127.0.0.1:8802"));
    pass(&late, &accept(&two));
    pass(&other, &accept(&one));
    pass(&early, &far);
    pass(&far, &early);
    drop((early, far, late, other));
    assert_eq!(runner.running.end(Signal::SIGTERM), Some(0));
}
