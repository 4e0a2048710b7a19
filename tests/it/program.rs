//! The built program and real peers as child processes: started, read line by line, ended by their id.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
};

/// The built program with these arguments, without colour and without the caller's environment of proxies.
pub(crate) fn netjobs(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netjobs"));
    command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
#[track_caller]
pub(crate) fn output(arguments: &[&str]) -> Output {
    netjobs(arguments).output().unwrap()
}

/// Runs the program, asserts its exit code, and gives its standard output.
#[track_caller]
pub(crate) fn check(arguments: &[&str], code: i32) -> String {
    let output = output(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    out.into_owned()
}

/// The program where everybody may run it, and the folder that goes with the test.
pub(crate) fn reachable() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = folder.path().join("netjobs");
    fs::copy(env!("CARGO_BIN_EXE_netjobs"), &path).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// A program that goes on while the test does; it is killed and reaped when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    /// The process.
    pub child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Running {
    /// Starts a command and keeps its standard output to be read.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        Self { child, lines }
    }

    /// Waits until the process ends by itself.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Reads lines until one contains `text`, and gives that line.
    #[track_caller]
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let lines = self.lines.as_mut().unwrap();
        let found = lines.by_ref().map_while(Result::ok).find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("the program ended without a line that contains `{text}`"))
    }

    /// Reads all that it still prints.
    pub(crate) fn rest(&mut self) -> String {
        let lines = self.lines.as_mut().unwrap().map_while(Result::ok);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until a service verb says that it is ready, and gives its first address, such as `127.0.0.1:40123`.
    #[track_caller]
    pub(crate) fn ready(&mut self, scheme: &str) -> String {
        let line = self.line_with(scheme);
        let rest = &line[line.find(scheme).unwrap() + scheme.len()..];
        rest.split(|c: char| c.is_whitespace() || c == ',').next().unwrap().to_owned()
    }

    /// Asks the process to end with a signal, and waits for its exit code.
    #[track_caller]
    pub(crate) fn end(mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}

/// Ends a process that leads a group of its own, with all that it forked, and reaps it.
pub(crate) fn end_group(leader: &mut Child) {
    if matches!(leader.try_wait(), Ok(Some(_))) {
        // Its number may be another's by now.
        return;
    }
    let group = nix::unistd::Pid::from_raw(i32::try_from(leader.id()).unwrap());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = leader.wait();
}

/// What an address answers to a request, head and body.
#[track_caller]
pub(crate) fn request(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A running daemon and the address of its HTTP server.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// The process, whose log it reads.
    pub process: Running,
    /// Open as long as the daemon may have something to say.
    _stderr: BufReader<ChildStderr>,
    /// Such as `127.0.0.1:9750`.
    pub address: String,
}

impl Daemon {
    /// Starts the daemon on any port.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        command.args(["--web.listen-address", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut process = Running::start(command);
        let mut stderr = BufReader::new(process.child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no start message");
        }
        let rest = line.split("http://").nth(1).unwrap();
        let address = rest.split('/').next().unwrap().to_owned();
        Self { process, _stderr: stderr, address }
    }

    /// The answer to a GET, head and body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        self.request("GET", path)
    }

    /// The answer to a request, head and body.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str) -> String {
        request(&self.address, method, path)
    }

    /// A line of the process's status in /proc.
    #[track_caller]
    pub(crate) fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    }
}
