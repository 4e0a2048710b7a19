//! The built program where the kernel refuses what makes bulk cheap, and what a connection leaves behind in it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use super::noise;
use crate::program::Daemon;

/// A daemon with one forward, under a command such as strace.
struct Forward {
    daemon: Daemon,
    at: String,
    server: TcpListener,
    _folder: tempfile::TempDir,
}

impl Forward {
    fn start(under: &[&str], options: &str) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.yaml");
        let to = server.local_addr().unwrap();
        let job = format!("jobs:\n  - name: web\n    forward: {{ listen: 0, to: '{to}'{options} }}\n");
        fs::write(&file, job).unwrap();
        let program = env!("CARGO_BIN_EXE_netjobs");
        let mut command = Command::new(under.first().unwrap_or(&program));
        command.args(under.iter().skip(1));
        if !under.is_empty() {
            command.arg(program);
        }
        command.args(["run", file.to_str().unwrap(), "--log.format", "json"]).env("NO_COLOR", "1");
        let mut daemon = Daemon::start(&mut command);
        let line = daemon.process.line_with("\"event\":\"job_ready\"");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let at = ready["addresses"][0].as_str().unwrap()["tcp://".len()..].to_owned();
        Self { daemon, at, server, _folder: folder }
    }

    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(&self.at).unwrap();
        let far = self.server.accept().unwrap().0;
        for stream in [&client, &far] {
            stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        }
        (client, far)
    }

    fn value(&self, series: &str) -> u64 {
        self.find(series).unwrap_or_else(|| panic!("no {series}"))
    }

    /// Some series begin with the first that they count.
    fn find(&self, series: &str) -> Option<u64> {
        let text = self.daemon.get("/metrics");
        let line = text.lines().find(|line| line.starts_with(series))?;
        Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    /// Asks until a series has a value.
    fn wait_for(&self, series: &str, wanted: u64) {
        let start = tokio::time::Instant::now();
        while self.find(series) != Some(wanted) {
            assert!(start.elapsed() < super::PATIENCE, "{series} is {:?}, not {wanted}", self.find(series));
        }
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.daemon.process.child.id())).unwrap().count()
    }
}

/// Sends bytes through, and the end after them. The reader begins late: so many bytes wait that reads are full.
fn send(mut from: TcpStream, mut to: TcpStream, bytes: &[u8]) {
    from.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut rest = bytes;
    while let (false, Ok(count)) = (rest.is_empty(), from.write(rest)) {
        rest = &rest[count..];
    }
    from.set_write_timeout(None).unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            from.write_all(rest).unwrap();
            from.shutdown(Shutdown::Write).unwrap();
            from
        });
        let mut got = vec![];
        to.read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{} of {}", got.len(), bytes.len());
        drop(sender.join().unwrap());
    });
}

/// The program under strace, which tells it that a system call failed. In a group of its own as `-D` makes it, the program
/// is the child that the test started.
fn injected(calls: &str, inject: &str) -> Forward {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    Forward::start(&strace, "")
}

/// So much that a direction splices also where a loaded machine hands it over in lumps.
fn bulk() -> Vec<u8> {
    noise(20, 999_983).repeat(32)
}

/// Case 19: each direction tries once, and goes on by copying.
#[test]
fn without_a_pipe_bytes_are_copied() {
    let forward = injected("pipe2", "pipe2:error=ENFILE");
    let (client, far) = forward.connect();
    send(client, far, &bulk());
    forward.wait_for("netjobs_forward_closes_total{", 1);
    assert_eq!(forward.value("netjobs_relay_fallbacks_total"), 1);
    assert_eq!(forward.value("netjobs_forward_spliced_bytes_total"), 0);
}

/// Case 20: into the pipe, out of it with bytes in it, and later in the stream.
#[test]
fn a_kernel_that_refuses_to_splice_costs_no_byte() {
    for when in ["1+", "2+", "3+", "8+"] {
        let forward = injected("splice", &format!("splice:error=EINVAL:when={when}"));
        let (client, far) = forward.connect();
        send(client, far, &bulk());
        forward.wait_for("netjobs_forward_closes_total{", 1);
        assert_eq!(forward.value("netjobs_relay_fallbacks_total"), 1, "when {when}");
        let spliced = forward.value("netjobs_forward_spliced_bytes_total");
        // A call that finds nothing to move counts, too, and each thread counts its own: of the second and the third
        // nobody knows whether something was moved before.
        assert!(if when == "1+" { spliced == 0 } else { when != "8+" || spliced > 0 }, "{when}: {spliced}");
        assert_eq!(forward.value("netjobs_relay_pipes{state=\"leased\"}"), 0);
    }
}

/// Cases 4, 8, 16 and 56: however connections end, nothing of them is left; and while their peers do not read, they hold
/// only so much.
#[test]
fn what_ended_leaves_no_descriptor_and_what_is_blocked_holds_little() {
    const CONNECTIONS: usize = 100;
    let forward = Forward::start(&[], ", half_closed_timeout: 100ms");
    let (client, far) = forward.connect();
    send(client, far, &noise(1, 4_000_000));
    forward.wait_for("netjobs_forward_connections_active", 0);
    let resident = || forward.value("process_resident_memory_bytes");
    let (descriptors, memory) = (forward.descriptors(), resident());
    let chunk = noise(2, 1 << 20);
    let blocked: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, mut far) = forward.connect();
            far.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
            while far.write(&chunk).is_ok() {}
            (client, far)
        })
        .collect();
    let held = resident() - memory;
    assert!(held < 100 * (80 << 10), "{held} bytes for {CONNECTIONS} connections");
    let leased = forward.value("netjobs_relay_pipes{state=\"leased\"}");
    assert!(leased > 0 && leased <= 192, "{leased} pipes");
    for (index, (client, far)) in blocked.into_iter().enumerate() {
        match index % 3 {
            // Closed with bytes unread: RST.
            0 => drop((client, far)),
            1 => drop((far, client)),
            _ => {
                client.shutdown(Shutdown::Write).unwrap();
                drop(far);
            }
        }
    }
    forward.wait_for("netjobs_forward_connections_active", 0);
    forward.wait_for("netjobs_relay_pipes{state=\"leased\"}", 0);
    assert!(forward.value("netjobs_relay_pipes{state=\"pooled\"}") <= 8);
    // Up to seven more pipes may be pooled than before.
    assert!(forward.descriptors() <= descriptors + 14, "{descriptors}, then {}", forward.descriptors());
    let (client, far) = forward.connect();
    send(far, client, b"still there");
}
