//! The twelve one-liners that a first reader wants, each against a real program that is not ours.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::program::{Running, check, netjobs};

/// A web server of Python's on a free port that serves a folder; gives its port.
fn web_server(folder: &std::path::Path) -> (Running, u16) {
    let code = "import http.server, functools, sys\n\
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n\
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n\
        print('port', server.server_port, flush=True)\nserver.serve_forever()";
    let mut server =
        Running::start(Command::new("python3").args(["-c", code]).arg(folder).stderr(Stdio::null()));
    let line = server.line_with("port");
    let port = line.rsplit(' ').next().unwrap().parse().unwrap();
    (server, port)
}

/// A program that talks on its standard streams: gives it bytes, and all that it answers.
#[track_caller]
fn talk(command: &mut Command, bytes: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// socat as an echo server; waits until it listens.
fn socat_echo(address: &str) -> Running {
    let mut server = Command::new("socat");
    let mut server = Running::start(server.args(["-d", "-d", address, "EXEC:cat"]).stderr(Stdio::piped()));
    let mut lines = BufReader::new(server.child.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on")), "{address}");
    std::thread::spawn(move || lines.for_each(drop));
    server
}

#[test]
fn curl_reads_a_file_through_a_forward() {
    let folder = tempfile::tempdir().unwrap();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n * 31 % 251) as u8).collect();
    fs::write(folder.path().join("file"), &body).unwrap();
    let (_server, port) = web_server(folder.path());
    let to = format!("127.0.0.1:{port}");
    let mut forward = Running::start(&mut netjobs(&["forward", "--listen", "0", "--to", &to]));
    let address = forward.ready("tcp://");
    let curl = Command::new("curl")
        .args(["-sS", "--max-time", "20", &format!("http://{address}/file")])
        .output()
        .unwrap();
    assert!(curl.stdout == body, "{} bytes, {}", curl.stdout.len(), String::from_utf8_lossy(&curl.stderr));
    assert_eq!(forward.end(Signal::SIGTERM), Some(0));
}

#[test]
fn ping_agrees_with_iputils() {
    let theirs = Command::new("ping").args(["-c", "3", "-i", "0.2", "127.0.0.1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&theirs.stdout).contains("3 received"));
    let ours = check(&["ping", "127.0.0.1", "--count", "3", "--interval", "200ms", "--json"], 0);
    let finished: Value = serde_json::from_str(ours.lines().last().unwrap()).unwrap();
    assert_eq!(finished["samples"]["received"], 3);
    assert!(finished["samples"]["rtt_min"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_service_that_starts_three_seconds_later_is_noticed_within_150_ms() {
    // On a busy machine it may take three tries: what others add to the time is not ours.
    let mut times = vec![];
    while times.iter().all(|time| *time >= Duration::from_millis(150)) {
        assert!(times.len() < 3, "{times:?}");
        times.push(noticed_after());
    }
}

/// How long after its start a service is noticed that starts three seconds later.
fn noticed_after() -> Duration {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let waiting =
        Running::start(&mut netjobs(&["wait", &format!("tcp://127.0.0.1:{port}"), "--timeout", "30s"]));
    let code = format!(
        "import socket, time\ntime.sleep(3)\ns = socket.create_server(('127.0.0.1', {port}))\n\
         print('listening', time.monotonic(), flush=True)\ntime.sleep(20)"
    );
    let mut server = Running::start(Command::new("python3").args(["-c", &code]));
    server.line_with("listening");
    let listening = Instant::now();
    assert_eq!(waiting.wait(), Some(0));
    listening.elapsed()
}

#[test]
fn wait_then_runs_a_command_and_passes_its_exit_code_on() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", server.local_addr().unwrap());
    check(&["wait", &endpoint, "-t", "5s", "--", "sh", "-c", "exit 7"], 7);
    drop(server);
    check(&["wait", &endpoint, "-t", "300ms", "--", "sh", "-c", "exit 7"], 124);
}

#[test]
fn echo_answers_socat_on_every_kind_of_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (stream, datagram) = (format!("unix://{}", path("s")), format!("unixgram://{}", path("d")));
    let cases = [
        ("127.0.0.1:0", "tcp://", "TCP4:", "5"),
        ("[::1]:0", "tcp://", "TCP6:", "5"),
        ("udp://127.0.0.1:0", "udp://", "UDP4:", "0.5"),
        ("udp://[::1]:0", "udp://", "UDP6:", "0.5"),
        (&stream, "unix://", "UNIX-CONNECT:", "5"),
        (&datagram, "unixgram://", "UNIX-SENDTO:", "0.5"),
    ];
    for (listen, scheme, socat, patience) in cases {
        let mut echo = Running::start(&mut netjobs(&["echo", "--listen", listen]));
        let mut address = format!("{socat}{}", echo.ready(scheme));
        if scheme == "unixgram://" {
            address = format!("{address},bind={}", path("client"));
        }
        let answer = talk(Command::new("socat").args(["-t", patience, "-", &address]), b"Hello from socat");
        assert_eq!(String::from_utf8_lossy(&answer), "Hello from socat", "{listen}");
        assert_eq!(echo.end(Signal::SIGTERM), Some(0), "{listen}");
    }
    assert!(!fs::exists(path("s")).unwrap() && !fs::exists(path("d")).unwrap(), "sockets are left behind");
}

#[test]
fn exchange_talks_to_socat_on_every_kind_of_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let free = |address: &str| TcpListener::bind(address).unwrap().local_addr().unwrap().port();
    let (v4, v6) = (free("127.0.0.1:0"), free("[::1]:0"));
    let cases = [
        (format!("TCP4-LISTEN:{v4},bind=127.0.0.1,reuseaddr,fork"), format!("127.0.0.1:{v4}")),
        (format!("TCP6-LISTEN:{v6},bind=[::1],reuseaddr,fork"), format!("[::1]:{v6}")),
        (format!("UDP4-LISTEN:{v4},bind=127.0.0.1,reuseaddr,fork"), format!("udp://127.0.0.1:{v4}")),
        (format!("UDP6-LISTEN:{v6},bind=[::1],reuseaddr,fork"), format!("udp://[::1]:{v6}")),
        (format!("UNIX-LISTEN:{},fork", path("stream")), format!("unix://{}", path("stream"))),
    ];
    for (server, to) in cases {
        let _server = socat_echo(&server);
        check(&["exchange", "--to", &to, "--send", "Hello from netjobs", "--count", "2"], 0);
    }
    // socat does not answer on Unix datagrams by itself; Python does.
    let code = "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\n\
        print('listening', flush=True)\nwhile True:\n    data, peer = s.recvfrom(65536)\n    s.sendto(data, peer)";
    let mut server = Running::start(Command::new("python3").args(["-c", code, &path("datagram")]));
    server.line_with("listening");
    check(&["exchange", "--to", &format!("unixgram://{}", path("datagram")), "--send", "hello"], 0);
}

#[test]
fn ipc_and_ipv6_and_interfaces_are_one_line_each() {
    check(&["ipc"], 0);
    check(&["interfaces", "lo", "--expect", "up=1"], 0);
    check(&["interfaces", "lo", "--family", "4"], 0);
    check(&["interfaces", "--family", "6"], 0);
    let supported = std::net::UdpSocket::bind("[::1]:0").is_ok();
    check(&["ipv6"], i32::from(!supported));
}
