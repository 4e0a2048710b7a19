//! socat on both sides: half-closed streams, Unix sockets, and a connection on which one side talks for long.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{Host, noise, stopped};
use crate::program::Running;

impl Host {
    /// Sends bytes by socat, finishes, and gives what comes until the other side finishes too.
    #[track_caller]
    fn socat(&self, to: &str, bytes: &[u8]) -> String {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(bytes).unwrap();
        std::io::Seek::rewind(&mut input).unwrap();
        let mut command = Command::new("timeout");
        command.args(["30", "socat", "-t", "30", "-", to]).stdin(Stdio::from(input));
        let output = self.0.run(move || command.output().unwrap());
        assert!(output.status.success(), "{to}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A server that answers with the sum of what it got, once its client has finished.
    fn sum_server(&self) -> Running {
        let listen = "TCP4-LISTEN:7000,bind=127.0.0.1,reuseaddr,fork";
        self.server(7000, "socat", &["-t", "30", listen, "EXEC:sha256sum"])
    }

    fn sum_of(&self, bytes: &[u8]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let printed = self.run("sha256sum", &["--", &file.path().display().to_string()]);
        format!("{}  -\n", String::from_utf8_lossy(&printed[..64]))
    }
}

/// Waits until a socket's file is there.
#[track_caller]
fn wait_for_file(path: &str) {
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while !fs::exists(path).unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "{path} does not come");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn an_answer_that_waits_for_the_clients_end_arrives() {
    let host = Host::new();
    let _server = host.sum_server();
    let forward = host.forward("127.0.0.1:7000");
    for length in [0, 1, 10_000_000] {
        let bytes = noise(11, length);
        assert_eq!(host.socat("TCP4:127.0.0.1:8800", &bytes), host.sum_of(&bytes), "{length} bytes");
    }
    let said = stopped(forward);
    assert!(said.contains(" finished: 9.54 MiB in, 68 B out"), "{said}");
}

/// Case 42 of the forward's list, with socat on the other sides.
#[test]
fn socat_meets_unix_sockets_on_either_side() {
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bytes = noise(12, 1_000_000);
    let sum = host.sum_of(&bytes);
    let _server = host.sum_server();
    let forward = host.netjobs(&["forward", &format!("unix://{}", path("in")), "--to", "127.0.0.1:7000"]);
    assert_eq!(host.socat(&format!("UNIX-CONNECT:{}", path("in")), &bytes), sum);
    stopped(forward);
    assert!(!fs::exists(path("in")).unwrap(), "the socket's file is left behind");
    let listen = format!("UNIX-LISTEN:{},fork", path("out"));
    let _unix = host.start(super::quiet("socat", &["-t", "30", &listen, "EXEC:sha256sum"]));
    wait_for_file(&path("out"));
    let forward = host.forward(&format!("unix://{}", path("out")));
    assert_eq!(host.socat("TCP4:127.0.0.1:8800", &bytes), sum);
    stopped(forward);
}

/// As a WebSocket: a handshake, then one side talks for three idle timeouts and the other says nothing.
#[test]
fn a_connection_on_which_one_side_talks_is_not_idle() {
    let host = Host::new();
    let talk = "SYSTEM:read hello && echo switched && for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2; echo tick $n; done";
    let listen = "TCP4-LISTEN:7000,bind=127.0.0.1,reuseaddr,fork";
    let _server = host.server(7000, "socat", &["-t", "30", listen, talk]);
    let forward = host.netjobs(&["forward", "8800", "--to", "127.0.0.1:7000", "--idle-timeout", "800ms"]);
    let mut client = host.connect("127.0.0.1:8800");
    client.write_all(b"hello\n").unwrap();
    let (said, end) = super::read_all(&mut client);
    assert!(end.is_ok(), "{end:?}");
    drop(client);
    let said = String::from_utf8(said).unwrap();
    let ticks: Vec<_> = (1..=12).map(|n| format!("tick {n}")).collect();
    assert_eq!(said, format!("switched\n{}\n", ticks.join("\n")));
    stopped(forward);
}
