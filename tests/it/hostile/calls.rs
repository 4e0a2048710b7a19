//! System calls that fail, made so by strace(1): each once, all of a kind, and those that a signal interrupts.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
};

use super::{ends, jobs, under};
use crate::{netns::Namespace, program::Daemon};

const TORTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture");

/// A part of what `tests/torture` tries; the whole is a command by hand, and its table stands in `benches/results/torture.md`.
#[test]
fn calls_that_fail_once_make_nobody_hang_or_panic() {
    let mut command = Command::new(TORTURE);
    command.args(["--binary", env!("CARGO_BIN_EXE_netjobs"), "--part", "40", "--workers", "4"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let tried = said.lines().last().and_then(|line| line.split(' ').next()).unwrap().parse::<u32>().unwrap();
    assert!(tried >= 30, "{said}");
}

/// The program under `strace`, which makes these calls fail with an error, as often as `when` says, and writes them to a file.
fn failing(file: &Path, inject: &str, arguments: &[&str]) -> Command {
    let calls = inject.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    let file = file.to_str().unwrap();
    under(&["strace", "-f", "-ttt", "-qq", "-o", file, "-e", &trace, "-e", &inject], arguments)
}

fn injected(file: &Path) -> usize {
    fs::read_to_string(file).unwrap().lines().filter(|line| line.contains("(INJECTED)")).count()
}

/// When calls failed, in seconds.
fn times(file: &Path) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap();
    let failed = text.lines().filter(|line| line.contains("(INJECTED)"));
    failed.map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect()
}

/// Fault case 24: every third call of those that a signal may interrupt is interrupted, and nobody sees it.
#[test]
fn a_storm_of_interrupted_calls_is_invisible() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let calls = "epoll_wait,poll,ppoll,accept4,splice,recvmsg,recvmmsg,sendmsg,sendmmsg,fsync,fdatasync,getrandom,wait4,ftruncate";
    let state = folder.path().join("state");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
    let namespace = Namespace::new();
    let command = failing(
        &trace,
        &format!("{calls}:error=EINTR:when=2+3"),
        &["once", file, "--state", state.to_str().unwrap()],
    );
    let (code, said) = namespace.run(move || ends(command, "EINTR"));
    assert_eq!(code, 0, "{said}");
    assert!(injected(&trace) >= 20, "only {} calls were interrupted", injected(&trace));
    // Streams, and the tables of the kernel.
    let jobs = jobs(folder.path());
    let only = ["once", &jobs, "--select", "talk", "--select", "nics"];
    let (code, said) =
        ends(failing(&trace, "recvfrom,sendto:error=EINTR:when=2+3", &only), "EINTR of streams");
    assert_eq!(code, 0, "{said}");
    assert!(injected(&trace) >= 2, "only {} calls were interrupted", injected(&trace));
}

/// Fault case 23: each error of accept(2), of every second call, in the forwards and echoes of TCP and Unix sockets and in HTTP:
/// three clients of each are served all the same.
#[test]
fn an_error_of_accept_ends_no_listener_of_any_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (file, trace) = (folder.path().join("jobs.yaml"), folder.path().join("trace"));
    let unix = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let (back, front) = (unix("back"), unix("front"));
    let job = |name: &str, what: String| format!("  - name: {name}\n    {what}\n");
    let jobs = [
        "jobs:\n".to_owned(),
        job("echo", "echo: { listen: 127.0.0.1:0 }".into()),
        job("unix-echo", format!("echo: {{ listen: '{back}' }}")),
        job("forward", format!("forward: {{ listen: 127.0.0.1:0, to: '{back}' }}")),
        job("unix-forward", format!("forward: {{ listen: '{front}', to: '{back}' }}")),
    ];
    fs::write(&file, jobs.concat()).unwrap();
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM", "EINTR"] {
        let inject = format!("accept4:error={error}:when=1+2");
        let mut daemon = Daemon::start(&mut failing(&trace, &inject, &["run", file.to_str().unwrap()]));
        let ready = [(); 4].map(|()| daemon.process.line_with("\"job_ready\""));
        let tcp = ready.iter().filter_map(|line| line.split("tcp://").nth(1)?.split('"').next());
        let tcp: Vec<&str> = tcp.collect();
        assert_eq!(tcp.len(), 2, "{ready:?}");
        for _ in 0..3 {
            for at in &tcp {
                talk(TcpStream::connect(at).unwrap());
            }
            for name in ["back", "front"] {
                talk(UnixStream::connect(folder.path().join(name)).unwrap());
            }
            assert!(daemon.get("/-/healthy").starts_with("HTTP/1.1 200"), "{error}");
        }
        assert!(injected(&trace) >= 5, "{error}: only {} errors", injected(&trace));
        drop(daemon);
        // Its sockets go with it only where it is let end.
        let _ = (fs::remove_file(folder.path().join("back")), fs::remove_file(folder.path().join("front")));
    }
}

/// A byte, there and back.
fn talk(mut stream: impl Read + Write) {
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// Fault case 25: a socket whose every receive fails is asked at most ten times a second, in a forward and in an echo of
/// datagrams, and by a ping.
#[test]
fn a_socket_that_only_fails_is_hardly_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (file, trace) = (folder.path().join("jobs.yaml"), folder.path().join("trace"));
    let job = |name: &str, what: &str| format!("  - name: {name}\n    {what}\n");
    let listening = [
        job("echo", "echo: { listen: 'udp://127.0.0.1:0' }"),
        job("way", "forward: { listen: 'udp://127.0.0.1:0', to: 'udp://127.0.0.1:9' }"),
    ];
    for service in listening {
        fs::write(&file, format!("jobs:\n{service}")).unwrap();
        let inject = "recvmmsg:error=ENOMEM";
        let mut daemon = Daemon::start(&mut failing(&trace, inject, &["run", file.to_str().unwrap()]));
        let ready = daemon.process.ready("udp://");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", ready.split('"').next().unwrap()).unwrap();
        // For two seconds from the first failure on.
        let mut calls = vec![];
        while calls.last().zip(calls.first()).is_none_or(|(last, first)| last - first < 2.0) {
            daemon.get("/-/healthy");
            calls = times(&trace);
        }
        assert!(calls.len() <= 2 * 10 + 3, "{} calls in two seconds: {service}", calls.len());
    }
    let (_, said) = ends(
        failing(
            &trace,
            "recvmmsg:error=ENOMEM",
            &["ping", "--count", "20", "--interval", "100ms", "127.0.0.1"],
        ),
        "ping",
    );
    assert!(said.contains("20 sent, 0 received"), "{said}");
    // Two seconds of echoes, one of waiting; the answers and the errors are two queues.
    assert!(injected(&trace) <= 3 * 2 * 10, "{} calls in three seconds", injected(&trace));
    let (code, _) = ends(failing(&trace, "recvfrom:error=ENOMEM", &["interfaces"]), "netlink");
    assert_ne!(code, 0);
    assert!(injected(&trace) <= 10, "{} calls for one look", injected(&trace));
}

/// Fault case 26: what this machine could not send is sent again, and never a loss; what a local filter keeps from being sent is
/// told as that.
#[test]
fn errors_of_sending_are_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    for error in ["ENOBUFS", "EAGAIN"] {
        let inject = format!("sendmmsg,sendto,sendmsg:error={error}:when=2+3");
        let (code, said) = ends(
            failing(&trace, &inject, &["ping", "--count", "10", "--interval", "20ms", "127.0.0.1"]),
            error,
        );
        assert!(code == 0 && said.contains("10 sent, 10 received, 0% loss"), "{error}: {said}");
        assert!(injected(&trace) > 2, "{error}");
    }
    let namespace = Namespace::new();
    namespace.sh("nft add table inet t; nft add chain inet t o '{ type filter hook output priority 0 ; }'; \
                  nft add rule inet t o ip daddr 127.0.0.9 icmp type echo-request drop");
    let command = under(&[], &["ping", "--count", "5", "--interval", "20ms", "127.0.0.9"]);
    let (_, said) = namespace.run(move || ends(command, "EPERM"));
    assert!(
        said.contains("5 unsent") && said.contains("admin_prohibited") && !said.contains("100% loss"),
        "{said}"
    );
}
