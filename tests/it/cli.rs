//! The command line, as the built binary: exit codes, ad-hoc verbs, signals, rights. What commands print is in
//! `tests/cli/*.trycmd`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// The built binary in a folder of its own, with nothing of the tester's environment that changes what it prints.
fn netjobs(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netjobs"));
    command.args(arguments).env_remove("NO_COLOR").current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end and compares the exit code.
#[track_caller]
fn check(arguments: &[&str], code: i32) -> Output {
    let output = netjobs(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    output
}

/// A running netjobs, which ends with the test.
struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The first line on stdout that holds these words.
    #[track_caller]
    fn line_with(&mut self, words: &str) -> String {
        find_line(&mut self.stdout, words)
    }

    /// The first line on stderr that holds these words.
    #[track_caller]
    fn complaint_with(&mut self, words: &str) -> String {
        find_line(&mut self.stderr, words)
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for the end and gives the exit code.
    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn find_line(reader: &mut impl BufRead, words: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        let read = reader.read_line(&mut line).unwrap();
        assert_ne!(read, 0, "no line with `{words}` in:\n{seen}");
        if line.contains(words) {
            return line;
        }
        seen.push_str(&line);
    }
}

/// The records of `--json`, one a line.
fn records(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The port at the end of the first `HOST:PORT` behind some words.
#[track_caller]
fn port_in(line: &str) -> u16 {
    let ports = line.split(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
    let port = ports.filter_map(|word| word.rsplit_once(':')).find_map(|(host, port)| {
        host.ends_with(|c: char| c.is_ascii_digit()).then(|| port.parse().ok()).flatten()
    });
    port.unwrap_or_else(|| panic!("no port in {line}"))
}

/// A folder with one job file.
fn folder(yaml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jobs.yaml"), yaml).unwrap();
    folder
}

fn path(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[test]
fn what_commands_print_is_what_the_files_say() {
    trycmd::TestCases::new().case("tests/cli/*.trycmd").env("COLUMNS", "100");
}

#[test]
fn a_closed_stdout_is_no_error() {
    let mut child = netjobs(&["man"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn completions_and_pages_know_every_verb_and_its_flags() {
    let script = text(&check(&["completions", "bash"], 0).stdout);
    assert!(script.contains("--max-targets") && script.contains("--web.listen-address"));
    let page = text(&check(&["man", "sweep"], 0).stdout);
    assert!(page.contains("max\\-targets"), "{page}");
    check(&["man", "teleport"], 2);
}

#[test]
fn wrong_files_end_with_2_and_right_ones_with_0() {
    let right = folder("jobs:\n  - name: a\n    ipc: {}\n");
    assert!(text(&check(&["check", path(&right)], 0).stdout).ends_with("1 job in 1 file: ok\n"));
    let wrong = folder("jobs:\n  - name: a\n    ipcc: {}\n");
    for command in ["check", "once", "run", "next"] {
        let output = check(&[command, path(&wrong)], 2);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("jobs.yaml:3:5: unknown") && said.contains("`ipc`"), "{command}: {said}");
    }
}

#[test]
fn next_prints_starts_later_than_from_and_not_later_than_until() {
    let jobs = folder("jobs:\n  - name: a\n    cron: '0 6 * * *'\n    timezone: Europe/Berlin\n    ipc: {}\n");
    let span = ["--from", "2027-03-27T05:00:00Z", "--until", "2027-03-29T04:00:00Z", "--json"];
    let output = check(&[&["next", path(&jobs)], &span[..]].concat(), 0);
    let starts: Vec<Value> = records(&output).into_iter().map(|record| record["start"].clone()).collect();
    assert_eq!(starts, ["2027-03-28T06:00:00+02:00", "2027-03-29T06:00:00+02:00"]);
}

#[test]
fn an_echo_verb_serves_until_ended_and_an_exchange_verb_checks_it() {
    let mut echo = Running::start(&mut netjobs(&["echo", "127.0.0.1:0"]));
    let port = port_in(&echo.line_with("127.0.0.1:"));
    let to = format!("127.0.0.1:{port}");
    check(&["exchange", &to, "--send", "hello", "--count", "3"], 0);
    check(&["exchange", &to, "--send", "hello", "--want", "goodbye", "--timeout", "300ms"], 1);
    let output = check(&["exchange", &to, "--send", "hello", "--json", "--expect", "received_bytes=5"], 0);
    let last = records(&output).pop().unwrap();
    assert_eq!((&last["event"], &last["verdict"]), (&"run_finished".into(), &"passed".into()));
    echo.signal(Signal::SIGTERM);
    assert_eq!(echo.code(), Some(0));
}

#[test]
fn a_forward_verb_passes_bytes_on() {
    let mut echo = Running::start(&mut netjobs(&["echo", "127.0.0.1:0"]));
    let upstream = format!("127.0.0.1:{}", port_in(&echo.line_with("127.0.0.1:")));
    let mut forward = Running::start(&mut netjobs(&["forward", "--listen", "127.0.0.1:0", "--to", &upstream]));
    let port = port_in(&forward.line_with("127.0.0.1:"));
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"through and back").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    client.read_to_string(&mut back).unwrap();
    assert_eq!(back, "through and back");
    forward.signal(Signal::SIGINT);
    assert_eq!(forward.code(), Some(0));
}

#[test]
fn check_verbs_end_with_their_verdict() {
    check(&["ipc", "--messages", "3"], 0);
    check(&["interfaces", "lo", "--expect", "up=1"], 0);
    check(&["interfaces", "lo", "--expect", "up=0"], 1);
    check(&["ping", "127.0.0.1", "--count", "1"], 0);
    check(&["sweep", "127.0.0.1-3", "--expect", "dead=0"], 0);
}

#[test]
fn wrong_values_are_told_by_flag_with_a_hint() {
    let output = check(&["forward", "8800", "--to", "127.0.0.1:1", "--connect-timeout", "5"], 2);
    let said = text(&output.stderr);
    assert!(said.contains("--connect-timeout: ") && said.contains("hint: "), "{said}");
    let output = check(&["ping", "127.0.0.1", "--expect", "losss=0"], 2);
    assert!(text(&output.stderr).contains("--expect losss"), "{output:?}");
}

#[test]
fn a_wait_that_times_out_ends_with_124_and_runs_nothing() {
    // Bound and never listened on: it refuses, and nobody else can have it.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let to = bound.local_addr().unwrap().as_socket().unwrap().to_string();
    let output = check(&["wait", &to, "-t", "250ms", "--", "sh", "-c", "echo ran"], 124);
    assert!(!text(&output.stdout).contains("ran"));
}

#[test]
fn a_wait_becomes_its_program_with_its_exit_code_limits_and_rights() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let script = "ulimit -n; grep CapEff /proc/self/status; exit 7";
    let output = check(&["wait", &to, "--", "sh", "-c", script], 7);
    let direct = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(text(&output.stdout).ends_with(&text(&direct.stdout)), "{output:?} {direct:?}");
    check(&["wait", &to, "--", "/no/such/program"], 127);
    check(&["wait", &to, "--", "/etc/passwd"], 126);
}

#[test]
fn the_program_after_a_wait_gets_the_signals() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let script = "trap 'exit 9' TERM; echo here; while :; do read -r _ < /dev/zero; done";
    let mut program = Running::start(&mut netjobs(&["wait", &to, "--", "bash", "-c", script]));
    program.line_with("here");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.code(), Some(9));
}

#[test]
fn an_interrupted_check_ends_with_the_signal_s_code() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let to = bound.local_addr().unwrap().as_socket().unwrap().to_string();
        let mut wait = Running::start(&mut netjobs(&["wait", &to, "-t", "60s"]));
        wait.line_with("refused");
        wait.signal(signal);
        assert_eq!(wait.code(), Some(code));
    }
}
