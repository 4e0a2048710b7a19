//! The built forward between real programs: each test has a network of its own, in which any port is free.

mod descriptors;
mod ends;
mod faults;
mod files;
mod names;
mod reloads;
mod sockets;
mod web;

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::{
    netns::Namespace,
    program::{Running, netjobs},
};

/// Far more than any test needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine of the test's own: its loopback, and whatever it is linked to.
struct Host(Namespace);

impl Host {
    fn new() -> Self {
        Self(Namespace::new())
    }

    /// Starts a server that stays in the foreground, and waits until it listens on a port of 127.0.0.1.
    #[track_caller]
    fn server(&self, port: u16, program: &str, arguments: &[&str]) -> Running {
        let server = self.start(quiet(program, arguments));
        self.wait_for(port);
        server
    }

    /// Starts a command inside.
    fn start(&self, mut command: Command) -> Running {
        self.0.run(move || Running::start(&mut command))
    }

    /// Starts the built program and waits until it is ready.
    #[track_caller]
    fn netjobs(&self, arguments: &[&str]) -> Running {
        let mut running = self.start(netjobs(arguments));
        running.line_with("ready");
        running
    }

    /// Starts a forward from 127.0.0.1:8800.
    #[track_caller]
    fn forward(&self, to: &str) -> Running {
        self.netjobs(&["forward", "127.0.0.1:8800", "--to", to])
    }

    /// Waits until somebody listens on a port of 127.0.0.1. Not by connecting: some servers take one client at a time.
    #[track_caller]
    fn wait_for(&self, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        let listens = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
        let found = self.0.run(move || {
            while !fs::read_to_string("/proc/thread-self/net/tcp").unwrap().contains(&listens) {
                if Instant::now() > deadline {
                    return false;
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
            true
        });
        assert!(found, "nobody listens on port {port}");
    }

    /// Runs a program to its end, which is forced after a while; it must succeed. Gives what it printed.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.output(program, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        let printed: String = printed.chars().take(2000).collect();
        assert!(output.status.success(), "{program} {arguments:?}: {}\n{printed}{error}", output.status);
        output.stdout
    }

    /// The same with whatever exit code.
    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "60", program]).args(arguments).stdin(Stdio::null());
        self.0.run(move || command.output().unwrap())
    }

    /// A connection from inside.
    fn connect(&self, to: &'static str) -> TcpStream {
        let stream = self.0.run(move || TcpStream::connect(to).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A listener inside, which does not wait for ever.
    fn listen(&self, on: &'static str) -> TcpListener {
        let listener = self.0.run(move || TcpListener::bind(on).unwrap());
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        listener
    }
}

/// A command whose standard streams are nobody's business.
fn quiet(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Stops a forward as a user does, and gives the lines of its connections and what it came to.
#[track_caller]
fn stopped(mut forward: Running) -> String {
    interrupt(&forward);
    let rest = forward.rest();
    assert_eq!(forward.wait(), Some(0), "{rest}");
    rest
}

/// Sends what Ctrl-C does.
fn interrupt(running: &Running) {
    let id = i32::try_from(running.child.id()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), Signal::SIGINT).unwrap();
}

/// Reads to the end and gives the error with which it ended, if it was no clean end.
fn read_all(stream: &mut TcpStream) -> (Vec<u8>, std::io::Result<usize>) {
    let mut bytes = vec![];
    let end = stream.read_to_end(&mut bytes);
    (bytes, end)
}

/// Bytes that are told apart by their place.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(step).collect()
}
