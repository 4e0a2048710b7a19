//! Names that do not resolve, resolve late, or resolve to one family only, by a name server of the test's own. Fault
//! case 55 of the list of faults, as far as a wait meets it.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use netjobs::{
    kind::wait::Wait,
    outcome::{Outcome, Sample, Verdict},
};
use nix::sched::{CloneFlags, unshare};
use tokio::time::{Duration, Instant};

use super::{run, sample};
use crate::netns::Namespace;

const A: u16 = 1;
const AAAA: u16 = 28;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// What the name server says of a name, `age` after its first question.
fn answer(name: &str, kind: u16, age: Duration) -> Option<Result<Vec<u8>, u8>> {
    let v4 = || Ok(if kind == A { Ipv4Addr::LOCALHOST.octets().to_vec() } else { vec![] });
    match name {
        "fails.test" => Some(Err(SERVFAIL)),
        "silent.test" => None,
        "heals.test" if age < Duration::from_millis(700) => Some(Err(NXDOMAIN)),
        "slow.test" if age < Duration::from_millis(1300) => None,
        "heals.test" | "slow.test" => Some(v4()),
        "six.test" => Some(Ok(if kind == AAAA { Ipv6Addr::LOCALHOST.octets().to_vec() } else { vec![] })),
        _ => Some(Err(NXDOMAIN)),
    }
}

/// Answers questions as they come (RFC 1035, 4.1), with at most one address each.
fn serve(socket: &UdpSocket) {
    let mut first = std::collections::HashMap::new();
    let mut packet = [0; 512];
    // An empty datagram ends the server.
    while let Ok((length @ 1.., from)) = socket.recv_from(&mut packet) {
        let question = &packet[12..length];
        let (mut name, mut at) = (String::new(), 0);
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            name = name + &String::from_utf8_lossy(&question[at + 1..end]) + ".";
            at = end;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let name = name.trim_end_matches('.').to_lowercase();
        let age = first.entry(name.clone()).or_insert_with(Instant::now).elapsed();
        let Some(found) = answer(&name, kind, age) else { continue };
        let (code, address) = found.map_or_else(|code| (code, vec![]), |address| (0, address));
        let mut reply =
            vec![packet[0], packet[1], 0x81, 0x80 | code, 0, 1, 0, u8::from(!address.is_empty()), 0, 0, 0, 0];
        reply.extend_from_slice(&question[..at + 5]);
        if !address.is_empty() {
            reply.extend_from_slice(&[0xc0, 12]);
            reply.extend_from_slice(&kind.to_be_bytes());
            reply.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::try_from(address.len()).unwrap()]);
            reply.extend_from_slice(&address);
        }
        socket.send_to(&reply, from).unwrap();
    }
}

/// A world with a name server of its own, and a service on port 80 of both loopback addresses.
struct World {
    namespace: Namespace,
    server: Option<std::thread::JoinHandle<()>>,
    _services: Vec<TcpListener>,
    _file: tempfile::NamedTempFile,
}

impl World {
    fn new() -> Self {
        let namespace = Namespace::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n").unwrap();
        namespace.run(|| unshare(CloneFlags::CLONE_NEWNS).unwrap());
        let path = file.path().display();
        namespace.sh(&format!("mount --make-rprivate /; mount --bind {path} /etc/resolv.conf"));
        let (server, services) = namespace.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
            let listen = |at| TcpListener::bind(at).unwrap();
            let services = vec![listen("127.0.0.1:80"), listen("[::1]:80")];
            (std::thread::spawn(move || serve(&socket)), services)
        });
        Self { namespace, server: Some(server), _services: services, _file: file }
    }

    fn wait(&self, yaml: &'static str) -> (Outcome, Duration) {
        self.namespace.block_on(move || run::<Wait>(yaml))
    }

    #[track_caller]
    fn check_missing(&self, yaml: &'static str, timeout: u64) {
        let (outcome, took) = self.wait(yaml);
        assert_eq!(outcome.verdict, Verdict::Failed, "{yaml}: {outcome:?}");
        assert_eq!(sample(&outcome, "last_reason"), &Sample::Word("dns"), "{yaml}: {outcome:?}");
        let timeout = Duration::from_millis(timeout);
        assert!(took >= timeout && took <= timeout + Duration::from_millis(50), "{yaml} took {took:?}");
    }

    #[track_caller]
    fn check_passed(&self, yaml: &'static str, at_most: u64) {
        let (outcome, took) = self.wait(yaml);
        assert_eq!(outcome.verdict, Verdict::Passed, "{yaml}: {outcome:?}");
        assert!(took <= Duration::from_millis(at_most), "{yaml} took {took:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.namespace.run(|| UdpSocket::bind("127.0.0.1:0")?.send_to(&[], "127.0.0.1:53")).unwrap();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Fault case 55: NXDOMAIN, SERVFAIL, silence.
#[test]
fn a_name_that_does_not_resolve_is_not_there_yet_and_no_deadline_is_overshot() {
    let world = World::new();
    world.check_missing("{ for: 'nosuch.test:80', timeout: 400ms }", 400);
    world.check_missing("{ for: 'fails.test:80', timeout: 400ms }", 400);
    world.check_missing("{ for: 'silent.test:80', timeout: 1500ms }", 1500);
    // That a name is unknown does not prove that the service is down.
    world.check_missing("{ for: 'nosuch.test:80', until: down, timeout: 400ms }", 400);
}

/// Fault case 55: a name that changes, a slow server, AAAA only.
#[test]
fn a_name_that_heals_is_noticed_and_a_slow_server_is_waited_for() {
    let world = World::new();
    world.check_passed("{ for: 'heals.test:80', timeout: 20s }", 1800);
    world.check_passed("{ for: 'slow.test:80', timeout: 20s }", 3500);
    world.check_passed("{ for: 'six.test:80', timeout: 20s }", 500);
    world.check_missing("{ for: 'six.test:80', family: 4, timeout: 400ms }", 400);
}
