//! Listeners from the service manager, by name: `LISTEN_FDS` and what can be wrong with it.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::{Jobs, PATIENCE, ended, keep_stderr, signal};
use crate::{netns::Namespace, program::Running};

/// Opens what its arguments name, such as `web=tcp=127.0.0.1:7000`, and becomes the command after `--` with them, as a
/// manager would. Variables that are set already stay.
const HAND_OVER: &str = "
import fcntl, os, socket, sys
cut = sys.argv.index('--')
opened, names = [], []
for spec in sys.argv[1:cut]:
    name, kind, at = spec.split('=', 2)
    if kind == 'file':
        fd = os.open(at, os.O_RDONLY)
    elif kind == 'pair':
        fd = socket.socketpair()[0].detach()
    else:
        family = socket.AF_UNIX if kind.startswith('unix') else socket.AF_INET6 if '[' in at else socket.AF_INET
        stream = kind in ('tcp', 'unix')
        one = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        host, _, port = at.rpartition(':')
        one.bind('\\0' + at[1:] if at[0] == '@' else at if kind.startswith('unix') else (host.strip('[]'), int(port)))
        if stream:
            one.listen(100)
        fd = one.detach()
    opened.append(fcntl.fcntl(fd, fcntl.F_DUPFD, 100))
    names.append(name)
for at, fd in enumerate(opened):
    os.dup2(fd, 3 + at, True)
    os.close(fd)
for name, value in [('PID', str(os.getpid())), ('FDS', str(len(opened))), ('FDNAMES', ':'.join(names))]:
    os.environ.setdefault('LISTEN_' + name, value)
os.execv(sys.argv[cut + 1], sys.argv[cut + 1:])
";

/// The command, started with these listeners.
fn with(listeners: &[&str], command: &Command) -> Command {
    let mut hand_over = Command::new("python3");
    hand_over
        .args(["-c", HAND_OVER])
        .args(listeners)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    hand_over.env("NO_COLOR", "1").stdin(Stdio::null());
    hand_over
}

fn start(network: &Namespace, mut command: Command) -> Running {
    network.run(move || Running::start(&mut command))
}

/// What an echo at this address says.
#[track_caller]
fn echoes(network: &Namespace, to: &str) {
    let said = network.sh(&format!("{} exchange '{to}' --send hello", env!("CARGO_BIN_EXE_netjobs")));
    assert!(said.contains("bytes=5"), "{to}: {said}");
}

fn echo(name: &str, listen: &str) -> String {
    format!("  - name: {name}\n    echo: {{ listen: {listen} }}\n")
}

/// The inodes of the sockets that a process has.
fn sockets(running: &Running) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{}/fd", running.child.id())).unwrap().flatten();
    let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut sockets: Vec<String> = links.map(|link| link.display().to_string()).collect();
    sockets.retain(|link| link.starts_with("socket:"));
    sockets
}

/// Case 40 of the forward's list.
#[test]
fn each_job_serves_on_the_listeners_that_have_its_name() {
    let network = Namespace::new();
    let jobs = Jobs::new("");
    let (stream, datagram) = (jobs.path("s"), jobs.path("d"));
    let (stream, datagram) = (stream.display(), datagram.display());
    let text = [
        echo("web", "['127.0.0.1:7000', 'udp://127.0.0.1:7000', '[::1]:7001']"),
        // A path of the job file starts at its folder.
        echo("local", "['unix:s', 'unixgram:d', 'unix:@handed.over']"),
        echo("own", "127.0.0.1:7002"),
    ]
    .concat();
    jobs.write(&text);
    let handed = [
        &format!("local=unixgram={datagram}"),
        "web=udp=127.0.0.1:7000",
        "web=tcp=[::1]:7001",
        &format!("local=unix={stream}"),
        "http=tcp=127.0.0.1:7009",
        "local=unix=@handed.over",
        "web=tcp=127.0.0.1:7000",
    ];
    let mut command = with(&handed, &jobs.run());
    let mut daemon = start(&network, {
        keep_stderr(&mut command);
        command
    });
    for _ in 0..3 {
        daemon.line_with("job_ready");
    }
    let all = || {
        for to in ["127.0.0.1:7000", "udp://127.0.0.1:7000", "[::1]:7001", "127.0.0.1:7002"] {
            echoes(&network, to);
        }
        for to in [format!("unix:{stream}"), format!("unixgram:{datagram}"), "unix:@handed.over".into()] {
            echoes(&network, &to);
        }
    };
    all();
    let metrics = network.sh("curl -sS http://127.0.0.1:7009/-/ready");
    assert!(metrics.contains("ready"), "{metrics}");

    // A job that is changed, one that is taken away, and one that comes back: the listeners are the same.
    let before = sockets(&daemon);
    let mut reload = |text: &str| {
        jobs.write(text);
        signal(&daemon, Signal::SIGHUP);
        daemon.line_with("config_reloaded")
    };
    reload(&text.replace("name: web\n", "name: web\n    labels: { a: b }\n"));
    all();
    let left = text[text.find("  - name: own").unwrap()..].to_owned();
    assert!(reload(&left).contains(r#""removed":["local","web"]"#));
    // Its clients wait, as they would while nothing runs.
    let mut early = network.run(|| TcpStream::connect("127.0.0.1:7000").unwrap());
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    early.write_all(b"early").unwrap();
    assert!(reload(&text).contains(r#""added":["web","local"]"#));
    let mut answer = [0; 5];
    early.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"early");
    drop(early);
    all();
    let after = sockets(&daemon);
    let kept = before.iter().filter(|socket| after.contains(socket)).count();
    assert!(kept >= handed.len(), "{kept} of {before:?} in {after:?}");
    let (code, said, _) = ended(daemon);
    assert_eq!(code, Some(0));
    assert!(!said.contains("warning"), "{said}");
    assert!(fs::exists(jobs.path("s")).unwrap(), "the manager's socket is the manager's");
}

/// Case 40 of the forward's list: whoever holds the listener can start the runner anew, and no client is refused.
#[test]
fn clients_wait_for_the_next_runner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let jobs = Jobs::new(&echo("web", &format!("'{address}'")));
    let run = jobs.run();
    let runner = || {
        let mut command = Command::new("sh");
        let becomes =
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\"";
        command.args(["-c", becomes]).arg(run.get_program()).args(run.get_args());
        command.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
        Running::start(&mut command)
    };
    let mut before = runner();
    before.line_with("job_ready");
    assert_eq!(ended(before).0, Some(0));
    let mut clients: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let after = runner();
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    drop(clients);
    assert_eq!(ended(after).0, Some(0));
}

#[test]
fn a_listener_at_another_address_is_refused_with_both_named_and_the_others_run() {
    let network = Namespace::new();
    let both = [echo("web", "0.0.0.0:7000"), echo("other", "127.0.0.1:7001")].concat();
    let jobs = Jobs::new(&both);
    let mut daemon = start(&network, with(&["web=tcp=[::]:7000"], &jobs.run()));
    let said = "was handed tcp://[::]:7000 by the service manager, and listens on tcp://0.0.0.0:7000";
    let why = daemon.line_with(said);
    assert!(why.contains("\"reason\":\"mismatch\""), "{why}");
    network.sh(&format!("{} wait tcp://127.0.0.1:7001 -t 30s", env!("CARGO_BIN_EXE_netjobs")));
    echoes(&network, "127.0.0.1:7001");
    jobs.write(&both.replace("0.0.0.0:7000", "'[::]:7000'"));
    signal(&daemon, Signal::SIGHUP);
    daemon.line_with("config_reloaded");
    echoes(&network, "127.0.0.1:7000");
    jobs.write(&both.replace("0.0.0.0:7000", "127.0.0.1:7005"));
    signal(&daemon, Signal::SIGHUP);
    assert!(daemon.line_with("config_rejected").contains("was handed tcp://[::]:7000"));
    echoes(&network, "127.0.0.1:7000");
    assert_eq!(ended(daemon).0, Some(0));
}

/// Listeners, variables that are set before, and what is said.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

/// Fault case 69: names of nobody, what is no listener, wrong numbers, another's descriptors.
#[test]
fn what_cannot_be_taken_is_said_and_closed_and_the_runner_runs() {
    let network = Namespace::new();
    let jobs = Jobs::new(&echo("web", "127.0.0.1:7000"));
    let file = format!("web=file={}", jobs.file.display());
    let tcp = "web=tcp=127.0.0.1:7000";
    let cases: [Case; 12] = [
        (&[tcp, "stray=tcp=127.0.0.1:7003"], &[], "called `stray`, and no job is"),
        (&[tcp, "http=udp=127.0.0.1:7003"], &[], "`http` of the service manager is no TCP listener"),
        (&[&file], &[], "the descriptor `web` of the service manager is no socket"),
        (&["web=pair="], &[], "is a connection and no listener"),
        (
            &[tcp],
            &[("LISTEN_FDS", "1000000")],
            "LISTEN_FDS says 1000000, but descriptor 4 is not open; 1 descriptor taken",
        ),
        (&[tcp], &[("LISTEN_FDS", "4294967295"), ("LISTEN_FDNAMES", "web")], "descriptor 4 is not open"),
        (&[], &[("LISTEN_FDS", "99999999999999999999")], "which is no number"),
        (&[], &[("LISTEN_FDS", "-1")], "LISTEN_FDS is `-1`, which is no number"),
        (&[], &[("LISTEN_FDS", "\u{1b}[31m")], "LISTEN_FDS is `\\u{1b}[31m`"),
        (&[], &[("LISTEN_PID", "me")], "LISTEN_PID is `me`, which is no number"),
        (&[], &[("LISTEN_PID", "1"), ("LISTEN_FDS", "7")], ""),
        (&[tcp], &[("LISTEN_FDNAMES", "web:more:than:there:are")], ""),
    ];
    for (listeners, variables, said) in cases {
        let mut command = with(listeners, &jobs.run());
        command.envs(variables.iter().copied());
        let mut daemon = start(&network, {
            keep_stderr(&mut command);
            command
        });
        let ready = daemon.line_with("job_ready");
        assert!(ready.contains("127.0.0.1:7000"), "{said}: {ready}");
        echoes(&network, "127.0.0.1:7000");
        let free = network.run(|| TcpListener::bind("127.0.0.1:7003").is_ok());
        assert!(free, "{said}: it still holds what it has no use for");
        let (code, warned, _) = ended(daemon);
        assert_eq!(code, Some(0), "{warned}");
        assert!(warned.contains(said), "{said}: {warned}");
        assert_eq!(warned.contains("warning"), !said.is_empty(), "{warned}");
    }
}

/// Case 40 of the forward's list, by systemd's own tool: the first connection starts the program, and it is served.
#[test]
fn systemd_s_tool_hands_over_at_the_first_connection() {
    let network = Namespace::new();
    let jobs = Jobs::new(&echo("web", "127.0.0.1:7000"));
    let run = jobs.run();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", "127.0.0.1:7000", "--fdname=web"]).arg(run.get_program()).args(run.get_args());
    let mut daemon = start(&network, {
        keep_stderr(&mut command);
        command
    });
    let mut client = network.run(|| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect("127.0.0.1:7000") {
                Ok(client) => return client,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
        }
    });
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"first").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"first");
    assert!(daemon.line_with("job_ready").contains("127.0.0.1:7000"));
    drop(client);
    let (code, said, _) = ended(daemon);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn without_rights_low_ports_are_those_of_the_start() {
    let network = Namespace::new();
    let web = echo("web", "['127.0.0.1:80', 'udp://127.0.0.1:80']");
    let jobs = Jobs::new(&web);
    let mut command = jobs.run();
    command.arg("--drop-all");
    let mut daemon = start(&network, command);
    assert!(daemon.line_with("job_ready").contains("127.0.0.1:80"));
    let rights = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    assert!(rights.contains("CapPrm:\t0000000000000000"), "{rights}");
    let mut reload = |text: &str, event: &str| {
        jobs.write(text);
        signal(&daemon, Signal::SIGHUP);
        daemon.line_with(event)
    };
    // Another job of the same port finds it, also after a time without one.
    reload(&echo("own", "127.0.0.1:7002"), "config_reloaded");
    reload(&web.replace("web", "again"), "config_reloaded");
    echoes(&network, "127.0.0.1:80");
    echoes(&network, "udp://127.0.0.1:80");
    let refused = reload(&echo("more", "127.0.0.1:81"), "config_rejected");
    assert!(refused.contains("CAP_NET_BIND_SERVICE"), "{refused}");
    echoes(&network, "127.0.0.1:80");
    assert_eq!(ended(daemon).0, Some(0));
    assert!(network.run(|| TcpListener::bind("127.0.0.1:80").is_ok()));
}
