//! The command line, as the built binary: exit codes, ad-hoc verbs, signals, rights. What commands print is in
//! `tests/cli/*.trycmd`.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Daemon, Running, netjobs, reachable};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end and compares the exit code.
#[track_caller]
fn check(arguments: &[&str], code: i32) -> Output {
    check_command(&mut netjobs(arguments), code)
}

#[track_caller]
fn check_command(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    output
}

/// The records of `--json`, one a line.
fn records(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An address where connections are refused, for as long as the socket lives: bound, and never listened on.
fn refusing() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    (socket, address)
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
    for command in ["check", "once", "run", "next", "plan"] {
        let output = check(&[command, path(&wrong)], 2);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("jobs.yaml:3:5: unknown") && said.contains("`ipc`"), "{command}: {said}");
    }
}

#[test]
fn next_prints_starts_later_than_from_and_not_later_than_until() {
    let jobs =
        folder("jobs:\n  - name: a\n    cron: '0 6 * * *'\n    timezone: Europe/Berlin\n    ipc: {}\n");
    let span = ["--from", "2027-03-27T05:00:00Z", "--until", "2027-03-29T04:00:00Z", "--json"];
    let output = check(&[&["next", path(&jobs)], &span[..]].concat(), 0);
    let starts: Vec<Value> = records(&output).into_iter().map(|record| record["start"].clone()).collect();
    assert_eq!(starts, ["2027-03-28T06:00:00+02:00", "2027-03-29T06:00:00+02:00"]);
}

#[test]
fn an_echo_verb_serves_until_ended_and_an_exchange_verb_checks_it() {
    let mut echo = Running::start(&mut netjobs(&["echo", "127.0.0.1:0"]));
    let to = echo.ready("tcp://");
    check(&["exchange", &to, "--send", "hello", "--count", "3"], 0);
    check(&["exchange", &to, "--send", "hello", "--want", "goodbye", "--timeout", "300ms"], 1);
    let output = check(&["exchange", &to, "--send", "hello", "--json", "--expect", "received_bytes=5B"], 0);
    let last = records(&output).pop().unwrap();
    assert_eq!((&last["event"], &last["verdict"]), (&"run_finished".into(), &"passed".into()));
    assert_eq!(echo.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_forward_verb_passes_bytes_on() {
    let mut echo = Running::start(&mut netjobs(&["echo", "127.0.0.1:0"]));
    let upstream = echo.ready("tcp://");
    let mut forward = Running::start(&mut netjobs(&["forward", "--listen", "0", "--to", &upstream]));
    let mut client = TcpStream::connect(forward.ready("tcp://")).unwrap();
    client.write_all(b"through and back").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    client.read_to_string(&mut back).unwrap();
    assert_eq!(back, "through and back");
    assert_eq!(forward.end(Signal::SIGINT), Some(0));
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
    let (_socket, to) = refusing();
    let output = check(&["wait", &to, "-t", "250ms", "--", "sh", "-c", "echo ran"], 124);
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn once_never_says_124() {
    let (_socket, to) = refusing();
    let jobs = folder(&format!("jobs:\n  - name: a\n    wait: {{ for: 'tcp://{to}', timeout: 200ms }}\n"));
    check(&["once", path(&jobs)], 1);
}

#[test]
fn a_wait_becomes_its_program_with_its_exit_code_limits_and_rights() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let script = "ulimit -n; grep -E 'Cap(Inh|Prm|Eff|Amb)|SigIgn' /proc/self/status; exit 7";
    let wait = netjobs(&["wait", &to, "--", "sh", "-c", script]);
    let mut direct = Command::new("sh");
    direct.args(["-c", script]);
    // A shell ignores SIGINT for what it runs behind, and the program must be left so.
    for caller in ["exec \"$@\"", "trap '' INT; exec \"$@\""] {
        let [ours, theirs] = [&wait, &direct].map(|command| {
            let all = [command.get_program()].into_iter().chain(command.get_args());
            let output = Command::new("sh").args(["-c", caller, "sh"]).args(all).output().unwrap();
            assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
            plain(&output.stdout)
        });
        assert_eq!(ours, theirs, "{caller}");
    }
    check(&["wait", &to, "--", "/no/such/program"], 127);
    check(&["wait", &to, "--", "/etc/passwd"], 126);
}

/// The lines without the signals above 31, which threads have made their own.
fn plain(status: &[u8]) -> String {
    let text = text(status);
    let lines = text.lines().map(|line| match line.strip_prefix("SigIgn:\t") {
        Some(mask) => format!("SigIgn {:x}\n", u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn the_program_after_a_wait_gets_the_signals() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let script = "trap 'kill $!; exit 9' TERM; sleep 60 & echo here; wait";
    let mut program = Running::start(&mut netjobs(&["wait", &to, "--", "bash", "-c", script]));
    program.line_with("here");
    assert_eq!(program.end(Signal::SIGTERM), Some(9));
}

#[test]
fn an_interrupted_check_ends_with_the_signal_s_code() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (_socket, to) = refusing();
        let mut wait = Running::start(&mut netjobs(&["wait", &to, "-t", "60s"]));
        wait.line_with("refused");
        assert_eq!(wait.end(signal), Some(code));
    }
}

#[test]
fn the_records_of_a_verb_come_while_it_runs() {
    let mut echo = Running::start(&mut netjobs(&["echo", "--listen", "0", "--json"]));
    let ready: Value = serde_json::from_str(&echo.line_with("job_ready")).unwrap();
    let address = ready["addresses"][0].as_str().unwrap().trim_start_matches("tcp://").to_owned();
    drop(std::net::TcpStream::connect(address).unwrap());
    echo.line_with("connection_closed");
    assert_eq!(echo.end(Signal::SIGTERM), Some(0));
}

const ECHO: &str = "jobs:\n  - name: a\n    echo: { listen: 0 }\n";

#[test]
fn a_daemon_that_is_told_to_end_before_it_runs_ends_with_0() {
    let jobs = folder(ECHO);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon =
            Running::start(&mut netjobs(&["run", path(&jobs), "--web.listen-address", "127.0.0.1:0"]));
        let status = format!("/proc/{}/status", daemon.child.id());
        let hangup = 1 << (Signal::SIGHUP as i32 - 1);
        // It holds SIGHUP back from its beginning until it runs, and catches it then.
        while !["SigBlk:\t", "SigCgt:\t"].iter().any(|mask| {
            let status = std::fs::read_to_string(&status).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
            u64::from_str_radix(line, 16).unwrap() & hangup != 0
        }) {}
        assert_eq!(daemon.end(signal), Some(0), "{signal}");
    }
}

#[test]
fn a_daemon_names_its_metrics_address_and_ends_with_0_on_a_signal() {
    let jobs = folder(ECHO);
    let mut daemon = Daemon::start(&mut netjobs(&["run", path(&jobs)]));
    daemon.process.line_with("job_ready");
    let metrics = daemon.get("/metrics");
    assert!(metrics.contains("netjobs_build_info"), "{metrics}");
    assert!(
        daemon.request("POST", "/-/reload").starts_with("HTTP/1.1 4"),
        "only with --web.enable-lifecycle"
    );
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_hangup_reads_the_files_anew() {
    let jobs = folder(ECHO);
    let mut daemon = Daemon::start(&mut netjobs(&["run", path(&jobs), "--no-watch"]));
    daemon.process.line_with("job_ready");
    let more = "  - name: b\n    echo: { listen: 0 }\n";
    fs::write(jobs.path().join("jobs.yaml"), format!("{ECHO}{more}")).unwrap();
    let id = nix::unistd::Pid::from_raw(i32::try_from(daemon.process.child.id()).unwrap());
    nix::sys::signal::kill(id, Signal::SIGHUP).unwrap();
    let record: Value = serde_json::from_str(&daemon.process.line_with("config_reloaded")).unwrap();
    assert_eq!((&record["added"], &record["kept"]), (&serde_json::json!(["b"]), &1.into()));
    fs::write(jobs.path().join("jobs.yaml"), "jobs: nonsense\n").unwrap();
    nix::sys::signal::kill(id, Signal::SIGHUP).unwrap();
    daemon.process.line_with("config_rejected");
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_daemon_keeps_two_rights_and_none_with_drop_all() {
    let jobs = folder(ECHO);
    for (arguments, permitted) in
        [(vec!["run", path(&jobs)], 0x2400), (vec!["run", path(&jobs), "--drop-all"], 0)]
    {
        let daemon = Daemon::start(&mut netjobs(&arguments));
        let held = |key| u64::from_str_radix(&daemon.status(key), 16).unwrap();
        assert_eq!((held("CapPrm"), held("CapEff"), held("CapInh")), (permitted, 0, 0), "{arguments:?}");
        assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
    }
}

#[test]
fn root_reads_files_that_only_their_user_may_read() {
    let jobs = folder(ECHO);
    let file = jobs.path().join("jobs.yaml");
    std::os::unix::fs::chown(&file, Some(65534), Some(65534)).unwrap();
    std::os::unix::fs::chown(jobs.path(), Some(65534), Some(65534)).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    check(&["check", path(&jobs)], 0);
    check(&["once", path(&jobs)], 0);
}

#[test]
fn a_taken_metrics_port_is_said_and_ends_with_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let jobs = folder(ECHO);
    let output = check(&["run", path(&jobs), "--web.listen-address", &at], 1);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("error: listen on {at} for metrics: Address already in use")), "{said}");
}

#[test]
fn without_a_folder_the_demo_runs_and_says_so_first() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = netjobs(&["once", "--junit=report.xml"]);
    let output = check_command(command.current_dir(empty.path()), 0);
    assert!(text(&output.stderr).starts_with("no ./jobs here: running the built-in demo\n"), "{output:?}");
    let report = fs::read_to_string(empty.path().join("report.xml")).unwrap();
    assert!(report.contains("<testsuite name=\"demo\""), "{report}");
}

#[test]
fn once_runs_what_is_selected_and_what_it_needs() {
    let jobs = folder(
        "jobs:\n  - name: e\n    echo: { listen: 0 }\n  - name: x\n    exchange: { to: 'job:e', send: hi }\n  - name: y\n    ipc: {}\n",
    );
    let output = check(&["once", path(&jobs), "--select", "x*", "--json", "-"], 0);
    let finished = records(&output).into_iter().filter(|record| record["event"] == "run_finished");
    let mut names: Vec<String> = finished.map(|record| record["job_name"].as_str().unwrap().into()).collect();
    names.sort();
    assert_eq!(names, ["e", "x"]);
    let output = check(&["once", path(&jobs), "--select", "z"], 2);
    assert!(text(&output.stderr).contains("there is no job `z`"), "{output:?}");
}

#[test]
fn a_result_file_that_cannot_be_written_is_a_failure() {
    let jobs = folder("jobs:\n  - name: y\n    ipc: {}\n");
    let output = check(&["once", path(&jobs), "--junit", "/no/such/folder/report.xml"], 1);
    assert!(text(&output.stderr).contains("/no/such/folder/report.xml"), "{output:?}");
}

#[test]
fn without_the_right_a_ping_ends_with_77_and_says_the_cure() {
    let (_folder, program) = reachable();
    let mut command = Command::new("unshare");
    // A fresh network namespace lets no group ping.
    command.args(["--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    let output = check_command(command.args([program.as_str(), "ping", "127.0.0.1", "--count", "1"]), 77);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("hint"), "{said}");
}

#[test]
fn a_limit_on_threads_ends_in_a_sentence() {
    let jobs = folder("jobs:\n  - name: y\n    ipv6: {}\n    expect: {}\n");
    fs::set_permissions(jobs.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (_folder, program) = reachable();
    let mut command = Command::new("setpriv");
    // Processes are counted by user: this one has no other.
    command.args(["--reuid=61234", "--regid=61234", "--clear-groups", "prlimit", "--nproc=1"]);
    let output = check_command(command.args([program.as_str(), "once", path(&jobs)]), 1);
    let said = text(&output.stderr);
    assert!(said.starts_with("error: start a thread: ") && said.contains("hint: "), "{said}");
}

#[test]
fn a_file_of_targets_is_read_without_its_mark_and_a_pipe_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("hosts.txt");
    let sweep = |code| check(&["sweep", &format!("@{}", list.display()), "--timeout", "200ms"], code);
    fs::write(&list, "\u{feff}127.0.0.1\r\n127.0.0.2 # a comment\r\n").unwrap();
    let output = sweep(0);
    assert!(text(&output.stdout).contains("2 targets, 2 alive"), "{output:?}");
    fs::write(&list, "127.0.0.1\n224.0.0.1\n").unwrap();
    assert!(text(&sweep(1).stderr).contains("`224.0.0.1` is no single host's"));
    fs::remove_file(&list).unwrap();
    nix::unistd::mkfifo(&list, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(text(&sweep(1).stderr).contains("is not a file of at most 16 MiB"));
}

#[test]
fn the_demo_runs_beside_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = netjobs(&["once"]);
    one.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let running: Vec<_> = (0..3).map(|_| one.spawn().unwrap()).collect();
    for mut child in running {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_smoke_check_that_has_nothing_to_run_does_not_pass() {
    let jobs = folder("jobs:\n  - name: a\n    enabled: false\n    ipv6: {}\n  - name: b\n    ipv6: {}\n");
    check(&["once", path(&jobs), "--select", "b"], 0);
    let output = crate::program::output(&["once", path(&jobs), "--select", "a"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("a left out: ") && said.contains("no job is left to run"), "{said}");
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_anything_runs() {
    let jobs = folder("jobs:\n  - name: a\n    ipv6: {}\n");
    for flag in ["--junit", "--json", "--tap"] {
        let report = format!("{flag}={}", jobs.path().join("none/report").display());
        let output = crate::program::output(&["once", path(&jobs), &report]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("none/report: No such file"), "{said}");
        assert!(output.stdout.is_empty(), "it ran: {output:?}");
    }
}
