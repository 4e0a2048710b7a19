//! The built program and real peers as child processes: started, read line by line, ended by their id.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Output, Stdio},
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
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        Self { child, lines }
    }

    /// Takes care of a process that was started elsewhere.
    pub(crate) fn of(child: Child) -> Self {
        Self { child, lines: None }
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
