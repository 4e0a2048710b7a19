//! The program under a service manager, as the manager sees it: a socket that is told things, descriptors, signals.

mod handover;
mod moments;
mod notify;
mod unit;

use std::{
    fs,
    io::Read,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::Instant;

use crate::program::{Running, netjobs};

/// Far more than any test needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    /// What `NOTIFY_SOCKET` says.
    name: String,
}

impl Manager {
    /// Listens at a path of the folder.
    fn at_path(folder: &Path) -> Self {
        let path = folder.join("notify");
        Self::new(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
    }

    /// Listens at an abstract name that goes with the folder.
    fn at_name(folder: &Path) -> Self {
        let name = folder.to_str().unwrap();
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Self::new(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, name }
    }

    /// The next message.
    #[track_caller]
    fn hear(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The first message that contains a text, passing over signs of life and words on how the jobs stand.
    #[track_caller]
    fn hear_of(&self, text: &str) -> String {
        loop {
            let message = self.hear();
            if message.contains(text) {
                return message;
            }
            assert!(message.starts_with("STATUS=") || message == "WATCHDOG=1", "{message:?} before {text:?}");
        }
    }
}

/// A folder for a test, and the job file in it.
struct Jobs {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Jobs {
    fn new(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.yaml");
        let jobs = Self { folder, file };
        jobs.write(yaml);
        jobs
    }

    fn write(&self, yaml: &str) {
        fs::write(&self.file, format!("jobs:\n{yaml}")).unwrap();
    }

    /// A path in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `netjobs run` with these jobs, HTTP on any port. Only a signal reloads: the watch may be faster than who sends one, and then
    /// there are two reloads.
    fn run(&self) -> Command {
        netjobs(&["run", self.file.to_str().unwrap(), "--no-watch", "--web.listen-address", "127.0.0.1:0"])
    }
}

fn signal(running: &Running, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(running.child.id()).unwrap()), signal).unwrap();
}

/// Ends the program with SIGTERM: its exit code, what it still says on stderr if that was kept, and how long it took.
#[track_caller]
fn ended(mut running: Running) -> (Option<i32>, String, Duration) {
    let begun = Instant::now();
    let stderr = running.child.stderr.take();
    signal(&running, Signal::SIGTERM);
    let code = running.wait();
    let took = begun.elapsed();
    let mut said = String::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_string(&mut said).unwrap();
    }
    (code, said, took)
}

/// Keeps what the program says on stderr until its end; for tests in which it says little.
fn keep_stderr(command: &mut Command) -> &mut Command {
    command.stderr(Stdio::piped())
}

/// So many checks that have nothing to do for now.
fn checks(count: usize) -> String {
    let each = |number| format!("  - name: a{number}\n    every: 1h\n    ipv6: {{}}\n");
    (0..count).map(each).collect::<Vec<_>>().concat()
}

/// The number of a child whose command line has a word; waits for it.
#[track_caller]
fn child_of(running: &Running, word: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no child");
        let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap().flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: String = children.collect();
        // Between fork and exec it is still a copy of its parent.
        let is_it = |child: &&str| {
            fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.contains(word))
        };
        if let Some(child) = children.split_whitespace().find(is_it) {
            return child.to_owned();
        }
    }
}
