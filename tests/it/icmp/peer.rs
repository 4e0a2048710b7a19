//! A peer that answers echo requests as a script says: late, twice, in another order, forged.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use netjobs::net::icmp::packet::checksum;
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Namespace;

/// An answer of the script.
pub(super) struct Answer {
    /// After this time.
    pub(super) delay: Duration,
    /// From this address.
    pub(super) from: Ipv4Addr,
    /// The ICMP message.
    pub(super) message: Vec<u8>,
}

/// The thread that answers; it ends when this is dropped.
pub(super) struct Scripted {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The peer's own address.
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Another address of the peer.
pub(super) const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

/// An honest reply to a request.
pub(super) fn reply(request: &[u8]) -> Vec<u8> {
    let mut message = request.to_vec();
    message[0] = 0;
    seal(&mut message);
    message
}

/// Sets a right checksum.
pub(super) fn seal(message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// An honest reply after some milliseconds.
pub(super) fn after(milliseconds: u64, request: &[u8]) -> Answer {
    Answer { delay: Duration::from_millis(milliseconds), from: PEER, message: reply(request) }
}

impl Scripted {
    /// Silences the peer's kernel and answers each request, counted from 0, as the script says.
    pub(super) fn start(
        peer: &Namespace,
        script: impl FnMut(usize, &[u8]) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        peer.sh("echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all; ip addr add 10.9.0.3/24 dev $(ls /sys/class/net | grep -v lo | head -1) 2>/dev/null || ip addr add 10.9.0.3/32 dev lo");
        let [requests, own, other] = peer.run(|| {
            let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
            [open(), open(), open()]
        });
        own.bind(&SocketAddr::from((PEER, 0)).into()).unwrap();
        other.bind(&SocketAddr::from((OTHER, 0)).into()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || answer(&requests, &own, &other, &stopped, script));
        Self { stop, thread: Some(thread) }
    }
}

/// When, which in order, what, from where, to where.
type Due = (Instant, u64, Vec<u8>, Ipv4Addr, Ipv4Addr);

fn answer(
    mut requests: &Socket,
    own: &Socket,
    other: &Socket,
    stopped: &AtomicBool,
    mut script: impl FnMut(usize, &[u8]) -> Vec<Answer>,
) {
    let (mut count, mut number) = (0, 0u64);
    let mut buffer = vec![0; 65_536];
    let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    while !stopped.load(Ordering::Relaxed) {
        let now = tokio::time::Instant::now().into_std();
        while due.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, message, from, to))) = due.pop() else { break };
            let socket = if from == OTHER { other } else { own };
            socket.send_to(&message, &SocketAddr::from((to, 0)).into()).unwrap();
        }
        let next = due.peek().map_or(Duration::from_millis(20), |Reverse((at, ..))| *at - now);
        requests
            .set_read_timeout(Some(next.clamp(Duration::from_micros(100), Duration::from_millis(20))))
            .unwrap();
        let length = match requests.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => panic!("{error}"),
        };
        let received = tokio::time::Instant::now().into_std();
        let packet = &buffer[..length];
        // Bytes 12 to 16 of the IP header are the source.
        let from = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[12..16]).unwrap());
        let message = &packet[usize::from(packet[0] & 15) * 4..];
        if message[0] != 8 || from == PEER {
            continue;
        }
        for answer in script(count, message) {
            number += 1;
            due.push(Reverse((received + answer.delay, number, answer.message, answer.from, from)));
        }
        count += 1;
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
