//! What is stuck never stops the work: a run in a system call, and output that nobody reads, that is closed, full, held or
//! renamed, behind the built program.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write, pipe},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use netjobs::{
    event::Event,
    meter::Counter,
    outcome::Verdict,
    sink::{
        Level,
        json::{Format, Log},
        pump,
        queue::Queue,
        testing,
    },
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sched::{CloneFlags, unshare},
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    netns::Namespace,
    program::{Daemon, Running, netjobs, request},
    sinks::check_promtool,
};

/// A check with a long label, so that a pipe and the log's queue are full soon, and a forward that has work to do.
fn busy(folder: &Path) -> String {
    let label = "x".repeat(32_768);
    let mut text = String::from("jobs:\n  - name: echo\n    echo: { listen: '127.0.0.1:0' }\n");
    text.push_str("  - name: way\n    forward: { listen: '127.0.0.1:0', to: 'job:echo' }\n");
    for number in 0..8 {
        let check = "every: 100ms\n    interfaces: { select: [lo] }";
        writeln!(text, "  - name: n{number}\n    labels: {{ note: {label} }}\n    {check}").unwrap();
    }
    write(folder, &text)
}

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("jobs.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One check that runs ten times a second and says little.
const SMALL: &str = "jobs:\n  - name: small\n    every: 100ms\n    interfaces: { select: [lo] }\n";

fn value(daemon: &Daemon, series: &str) -> u64 {
    let scrape = daemon.get("/metrics");
    let line = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Waits until a condition holds, and panics where it does not within half a minute.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

const RUNS: &str = "netjobs_run_duration_seconds_count{kind=\"interfaces\"}";
const DROPPED: &str = "netjobs_log_dropped_total";

/// Fault case 34: stdout that nobody reads stops neither checks nor forwards nor scrapes, and not the end either.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(&mut netjobs(&["run", &busy(folder.path())]));
    let way = loop {
        let line = daemon.process.line_with("\"job_ready\"");
        let record: Value = serde_json::from_str(&line).unwrap();
        if record["job_name"] == "way" {
            break record["addresses"][0].as_str().unwrap()["tcp://".len()..].to_owned();
        }
    };
    until("lines are dropped", || value(&daemon, DROPPED) > 0);
    let (runs, dropped) = (value(&daemon, RUNS), value(&daemon, DROPPED));
    let mut client = TcpStream::connect(way).unwrap();
    for _ in 0..100 {
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
    }
    drop(client);
    until("checks go on", || value(&daemon, RUNS) > runs + 20);
    assert!(value(&daemon, DROPPED) > dropped);
    let start = Instant::now();
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// Fault case 34: what was made is what was written and what was dropped, to the line.
#[tokio::test]
async fn drops_are_the_records_made_less_the_lines_written() {
    const RECORDS: u64 = 40_000;
    let (mut reader, writer) = pipe().unwrap();
    let dropped = Counter::default();
    let log = Log::new(Queue::start(Box::new(writer), dropped.clone()).unwrap(), Format::Json, Level::Info);
    let (sender, receiver) = mpsc::channel(16);
    let (full, drained) = (dropped.clone(), std::sync::mpsc::sync_channel(1));
    // Reads nothing before the queue has dropped a hundred lines, then everything.
    let lines = thread::spawn(move || {
        while full.value() < 100 {
            thread::yield_now();
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let _ = drained.0.send(());
        text.lines().map(|line| serde_json::from_str::<Value>(line).map(drop).unwrap()).count() as u64
    });
    let send = async {
        for _ in 1..RECORDS {
            let _ = sender.send(testing::run("gateway", "ping", Verdict::Passed)).await;
        }
        let _ = sender.send(Event::Stopped).await;
    };
    tokio::join!(send, pump(receiver, vec![Box::new(log)]));
    let lines = lines.join().unwrap();
    assert!(dropped.value() >= 100 && lines > 0, "{lines} written");
    assert_eq!(lines + dropped.value(), RECORDS);
}

/// Fault case 34, with `RLIMIT_FSIZE` for a disk that fills: the log goes on behind a whole line when there is room again.
#[test]
fn a_log_file_that_may_not_grow_costs_lines_until_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, path) = (write(folder.path(), SMALL), folder.path().join("log"));
    let mut command = Command::new("prlimit");
    command.args(["--fsize=5000:", env!("CARGO_BIN_EXE_netjobs"), "run", &jobs, "--log.file"]).arg(&path);
    let daemon = Daemon::start(&mut command);
    until("lines are dropped", || value(&daemon, DROPPED) > 2);
    assert_eq!(fs::metadata(&path).unwrap().len(), 5000, "a line was cut");
    let id = daemon.process.child.id().to_string();
    let grown = Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited:"]).status().unwrap();
    assert!(grown.success());
    until("the file grows", || fs::metadata(&path).unwrap().len() > 10_000);
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
}

/// Fault case 34: a file that logrotate renames is left at SIGHUP, and one that it copies and truncates is begun anew.
#[test]
fn a_log_file_is_opened_anew_at_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, path, old) =
        (write(folder.path(), SMALL), folder.path().join("log"), folder.path().join("log.1"));
    let daemon = Daemon::start(&mut netjobs(&["run", &jobs, "--log.file", path.to_str().unwrap()]));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    until("there are lines", || read(&path).lines().count() > 2);
    fs::rename(&path, &old).unwrap();
    let id = nix::unistd::Pid::from_raw(i32::try_from(daemon.process.child.id()).unwrap());
    nix::sys::signal::kill(id, Signal::SIGHUP).unwrap();
    until("the new file has lines", || read(&path).lines().count() > 2);
    assert!(read(&path).lines().next().unwrap().contains("\"config_reloaded\""));
    let before = read(&old);
    assert!(
        before.starts_with("{\"time\"") && before.ends_with("}\n") && !before.contains("config_reloaded")
    );
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    until("the truncated file has lines", || read(&path).ends_with("}\n"));
    assert!(read(&path).starts_with("{\"time\""), "no hole before them");
    assert_eq!(value(&daemon, DROPPED), 0);
    assert_eq!(read(&old), before);
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

/// What a shell's command comes to; `$0` is the program.
fn shell(script: &str, argument: &str) -> Output {
    Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_netjobs"), argument]).output().unwrap()
}

#[track_caller]
fn check(script: &str, jobs: &str, code: i32, said: &str) {
    let output = shell(script, jobs);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{script}: {stderr}");
    assert!(stderr.contains(said), "{script}: {stderr}");
}

/// Fault case 34, for `once` and verbs: closed or full, the verdict is the exit code; but results that are not there are a
/// failure.
#[test]
fn output_that_is_closed_or_full_changes_no_verdict_but_of_results() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = write(folder.path(), "jobs:\n  - name: lo\n    interfaces: { select: [lo] }\n");
    check("exec \"$0\" once \"$1\" >&-", &jobs, 0, "");
    check("exec \"$0\" once \"$1\" >&- 2>&-", &jobs, 0, "");
    check("exec \"$0\" once \"$1\" >/dev/full 2>/dev/full", &jobs, 0, "");
    check("exec \"$0\" once \"$1\" --json - >/dev/full", &jobs, 1, "write stdout: No space left");
    check("exec \"$0\" interfaces lo >&-", &jobs, 0, "");
    check("exec \"$0\" interfaces lo --json >/dev/full", &jobs, 1, "write stdout: No space left");
    check("\"$0\" interfaces lo --json | true; exit 0", &jobs, 0, "");
}

/// Fault case 34, for `once`: a pipe that is full and that nobody reads ends it with the first signal once all is done, and
/// reading it ends it well.
#[test]
fn a_pipe_that_stays_full_holds_once_no_longer_than_its_reader_or_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = write(folder.path(), "jobs:\n  - name: lo\n    interfaces: { select: [lo] }\n");
    for is_read in [true, false] {
        let report = folder.path().join(format!("{is_read}.json"));
        let (mut reader, mut writer) = pipe().unwrap();
        let flags = OFlag::from_bits_truncate(fcntl(writer.as_fd(), FcntlArg::F_GETFL).unwrap());
        fcntl(writer.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
        while writer.write(&[b'.'; 4096]).is_ok() {}
        fcntl(writer.as_fd(), FcntlArg::F_SETFL(flags)).unwrap();
        let mut command = netjobs(&["once", &jobs, "--json", report.to_str().unwrap()]);
        let errors = writer.try_clone().unwrap();
        let child = command.stdout(writer).stderr(errors).spawn().unwrap();
        drop(command);
        // The work is done though the console cannot say so.
        until("the report is there", || report.exists());
        let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let ended = thread::spawn(move || child.wait_with_output().unwrap().status.code());
        if is_read {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert!(text.trim_start_matches('.').starts_with("PASS lo"), "{text}");
            assert_eq!(ended.join().unwrap(), Some(0));
        } else {
            // It may not listen for signals yet when the report is there.
            until("it ends", || {
                let _ = nix::sys::signal::kill(id, Signal::SIGINT);
                ended.is_finished()
            });
            assert_eq!(ended.join().unwrap(), Some(130));
        }
    }
}

/// Fault case 34: a terminal held with Ctrl-S holds no work, and Ctrl-C ends the program.
#[test]
fn a_terminal_that_is_held_holds_no_work() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = write(folder.path(), SMALL);
    // Not below a shell, which Ctrl-C would end, too.
    let command =
        format!("exec {} run {jobs} --web.listen-address 127.0.0.1:0", env!("CARGO_BIN_EXE_netjobs"));
    let mut command_line = Command::new("script");
    command_line.args(["-qefc", &command, "/dev/null"]).stdin(Stdio::piped());
    let mut process = Running::start(&mut command_line);
    let line = process.line_with("http://");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let scrape = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(RUNS)).unwrap_or(" 0").trim();
        line.parse::<u64>().unwrap()
    };
    let mut keys = process.child.stdin.take().unwrap();
    keys.write_all(b"\x13").unwrap();
    let runs = scrape();
    until("checks go on", || scrape() > runs + 10);
    keys.write_all(b"\x03").unwrap();
    assert_eq!(process.wait(), Some(0));
}

/// Fault case 66: a run that is stuck in open(2) is named by the health, the others start on time, and once the call
/// returns all is well. Where `::1` is missing an `ipv6` job reads a setting, which is a FIFO here that nobody writes to.
#[test]
fn a_run_that_is_stuck_in_a_system_call_is_named_until_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let stuck = "  - name: blocked\n    every: 100ms\n    run_timeout: 2s\n    ipv6: {}\n";
    let jobs = write(folder.path(), &format!("{SMALL}{stuck}"));
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let network = Namespace::new();
    network.sh("ip address delete ::1/128 dev lo");
    network.run(|| unshare(CloneFlags::CLONE_NEWNS).unwrap());
    let setting = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
    network.sh(&format!("mount --make-rprivate /; mount --bind {} {setting}", fifo.display()));
    let mut daemon = network.run(move || Daemon::start(&mut netjobs(&["run", &jobs])));
    let stuck = daemon.process.line_with("\"run_stuck\"");
    assert!(stuck.contains("\"job_name\":\"blocked\""), "{stuck}");
    let at = daemon.address.clone();
    let health = || {
        let address = at.clone();
        network.run(move || request(&address, "GET", "/-/healthy"))
    };
    until("the health names it", || {
        let health = health();
        health.starts_with("HTTP/1.1 503") && health.ends_with(": blocked\n")
    });
    let mut lags: Vec<f64> = vec![];
    while lags.len() < 20 {
        let record: Value = serde_json::from_str(&daemon.process.line_with("\"run_finished\"")).unwrap();
        assert_eq!(record["job_name"], "small");
        lags.push(record["start_lag_seconds"].as_f64().unwrap());
    }
    lags.sort_unstable_by(f64::total_cmp);
    assert!(lags[10] < 0.2, "{lags:?}");
    // The next runs need not look.
    network.sh("ip address add ::1/128 dev lo");
    fs::write(&fifo, "0\n").unwrap();
    daemon.process.line_with("\"run_returned\"");
    until("it is healthy", || health().starts_with("HTTP/1.1 200"));
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}

/// Quotes, ESC, a C1 control, a right-to-left override and NUL, then much more than is told.
fn hostile() -> Vec<u8> {
    let mut bytes = b"q\" \\ \r\n\x1b[2J\xff\xfe \xc2\x9b \xe2\x80\xae \0".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 65_536));
    bytes
}

/// Fault case 68: what a peer sends and what a file's labels say is one line a record in either form of the log, of which no
/// terminal obeys a byte, and which promtool takes.
#[test]
fn hostile_bytes_of_peers_and_files_are_harmless_in_each_form_of_the_log() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    // Ends with the test's process; each client gets the same.
    thread::spawn(move || {
        for mut client in peer.incoming().flatten() {
            let _ = client.read(&mut [0; 16]).and_then(|_| client.write_all(&hostile()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let label = r#""q\" b\\ \n \x1b[2J \u202e \u009b""#;
    let jobs = write(
        folder.path(),
        &format!(
            "jobs:\n  - name: odd\n    every: 100ms\n    labels: {{ note: {label} }}\n    exchange: {{ to: '{address}', send: x, want: y }}\n"
        ),
    );
    for format in ["json", "pretty"] {
        let mut daemon = Daemon::start(&mut netjobs(&["run", &jobs, "--log.format", format]));
        let line = daemon.process.line_with("differs");
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
        assert!(line.len() < 4096, "{} bytes", line.len());
        if format == "json" {
            let record: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(record["labels"]["note"], "q\" b\\ \n \u{1b}[2J \u{202e} \u{9b}");
        }
        let scrape = daemon.get("/metrics");
        check_promtool(scrape.split_once("\r\n\r\n").unwrap().1);
        assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
    }
    let output = netjobs(&["exchange", &address.to_string(), "--send", "x", "--want", "y"]).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    let risky = |byte: &u8| byte.is_ascii_control() && *byte != b'\n' && *byte != b'\t';
    assert!(!told.iter().any(risky), "{}", String::from_utf8_lossy(&told));
    assert_eq!(
        BufReader::new(&told[..]).lines().map_while(Result::ok).filter(|line| line.len() > 2000).count(),
        0
    );
}
