//! A line between two namespaces that delays, loses, doubles and corrupts echoes; the same seed does the same again.
//! What else kernels send, such as reports of groups, passes unharmed.

use std::time::Duration;

use super::tun::{Device, Loop};
use crate::netns::Namespace;

/// What a line does to echoes, each way; probabilities are from 0 to 1.
#[derive(Clone, Copy, Default)]
pub(crate) struct Line {
    /// The least time on the way.
    pub(crate) delay: Duration,
    /// Up to so much longer, evenly spread: packets overtake each other.
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// How many have bytes behind the ICMP header changed in such a way that no checksum tells.
    pub(crate) corruption: f64,
}

/// The thread that carries packets; the line is gone when this is dropped.
pub(crate) struct Link {
    _loop: Loop,
}

impl Link {
    /// Joins two namespaces as `pair` does: ours is 10.9.0.1 and `fd09::1`, the peer 10.9.0.2 and `fd09::2`, and
    /// 10.99.0.0/16 lives in the peer.
    pub(crate) fn start(ours: &Namespace, peer: &Namespace, line: Line, seed: u64) -> Self {
        let near = Device::open(ours, &["10.9.0.1/24", "fd09::1/64"]);
        let far = Device::open(peer, &["10.9.0.2/24", "fd09::2/64"]);
        ours.sh(&format!("ip route add default dev {}", near.name()));
        peer.sh("ip route add local 10.99.0.0/16 dev lo; echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; \
                 echo 10000 > /proc/sys/net/ipv4/icmp_msgs_burst; echo 10000 > /proc/sys/net/ipv4/icmp_msgs_per_sec");
        // Each way has chances of its own: which packet meets which does not hang on when they cross.
        let mut chances = [Chance(seed), Chance(!seed)];
        let carry = move |from: usize, packet: &[u8], _| {
            let carried = if is_echo(packet) {
                chances[from].meet(line, packet)
            } else {
                vec![(line.delay, packet.to_vec())]
            };
            carried.into_iter().map(|(delay, packet)| (delay, 1 - from, packet)).collect()
        };
        Self { _loop: Loop::start(vec![near, far], carry) }
    }
}

/// Chances that a seed decides (splitmix64).
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any number less than this.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn is(&mut self, probability: f64) -> bool {
        self.part() < probability
    }

    /// What becomes of a packet, and when.
    fn meet(&mut self, line: Line, packet: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        let copies = if self.is(line.duplicates) { 2 } else { 1 };
        if self.is(line.loss) {
            return vec![];
        }
        let copy = || {
            let mut packet = packet.to_vec();
            if self.is(line.corruption) {
                self.corrupt(&mut packet);
            }
            (line.delay + line.jitter.mul_f64(self.part()), packet)
        };
        std::iter::repeat_with(copy).take(copies).collect()
    }

    /// Changes two bytes behind the ICMP header by the same amount, up and down, so that the sum stays what it was.
    fn corrupt(&mut self, packet: &mut [u8]) {
        let first = if packet[0] >> 4 == 4 { 28 } else { 48 };
        // Bytes that stand on the same side of their words weigh the same.
        let fits = |at: &usize| packet[*at] < 255 && packet[at + 2] > 0;
        let places: Vec<_> = (first..packet.len().saturating_sub(2)).filter(fits).collect();
        if !places.is_empty() {
            let at = places[self.below(places.len())];
            packet[at] += 1;
            packet[at + 2] -= 1;
        }
    }
}

/// Whether a packet is an echo request or reply, of either family and without options.
fn is_echo(packet: &[u8]) -> bool {
    match packet.first() {
        Some(0x45) => packet[9] == 1 && matches!(packet.get(20), Some(0 | 8)),
        Some(first) => first >> 4 == 6 && packet[6] == 58 && matches!(packet.get(40), Some(128 | 129)),
        None => false,
    }
}
