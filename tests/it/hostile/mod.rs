//! A hostile machine: system calls that fail, and limits on files, threads and memory. Descriptors of forwards stand in
//! `streams/descriptors.rs`, disks in `state.rs`.

mod calls;
mod files;
mod limits;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::{Signal, kill};

use crate::program::{end_group, netjobs};

/// Jobs of each kind that starts threads or opens sockets, on any machine; the sweep and the ping go to loopback.
const JOBS: &str = "
jobs:
  - name: echo
    echo: { listen: 127.0.0.1:0 }
  - name: datagrams
    echo: { listen: 'udp://127.0.0.1:0' }
  - name: way
    forward: { listen: 127.0.0.1:0, to: 127.0.0.1:9 }
  - name: talk
    every: 1s
    exchange: { to: 'job:echo', send: 'random: 64KiB' }
  - name: ping
    every: 1s
    ping: { host: 127.0.0.1, count: 1, timeout: 500ms }
  - name: sweep
    every: 1s
    sweep: { targets: [127.0.0.1-8], timeout: 200ms }
  - name: named
    every: 1s
    wait: { for: 'tcp://localhost:1', timeout: 300ms }
  - name: nics
    every: 1s
    interfaces: {}
  - name: child
    every: 1s
    ipc: {}
";

/// Those jobs in a file of the folder.
fn jobs(folder: &Path) -> String {
    let file = folder.join("jobs.yaml");
    fs::write(&file, JOBS).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The command that runs the program under another one, such as `prlimit`, and is ended where it hangs for half a minute: with
/// 124, or 137.
fn under(outer: &[&str], arguments: &[&str]) -> Command {
    let inner = netjobs(arguments);
    let mut command = Command::new("timeout");
    // In the foreground it hands a signal on to its child alone, and once.
    command.args(["--foreground", "-k", "10", "30"]).args(outer).arg(inner.get_program()).args(arguments);
    command.envs([("NO_COLOR", "1"), ("RUST_BACKTRACE", "0")]).stdin(Stdio::null());
    command
}

/// Runs it to its end and gives its code and all that it said; it must neither hang nor panic, nor die without a word.
#[track_caller]
fn ends(mut command: Command, what: &str) -> (i32, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    sound(output.status.code(), String::from_utf8_lossy(&said).into_owned(), what)
}

/// Runs a daemon until it says that it runs, and then ends it by SIGTERM; or until it ends by itself.
#[track_caller]
fn serves(mut command: Command, what: &str) -> (i32, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        if line.contains("metrics on http://") {
            // `timeout` hands it on.
            kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        }
        said.push_str(&line);
        said.push('\n');
    }
    let code = child.wait().unwrap().code();
    end_group(&mut child);
    // `timeout` that was told to end says 124 whatever came of it.
    sound(code.map(|code| if code == 124 { 0 } else { code }), said, what)
}

#[track_caller]
fn sound(code: Option<i32>, said: String, what: &str) -> (i32, String) {
    assert!(!said.contains("panicked") && !said.contains("a defect of this program"), "{what}: {said}");
    let code = code.unwrap_or_else(|| panic!("{what}: a signal; {said}"));
    // So says the loader, before there is a program.
    let is_loaded = !(code == 127 && said.contains("shared libraries"));
    assert!(!is_loaded || code < 100 && (code == 0 || !said.is_empty()), "{what}: exit code {code}; {said}");
    (code, said)
}
