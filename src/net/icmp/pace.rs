//! How fast a session sends: probes a second in all and for each network. Pure: times are handed in, in nanoseconds.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The caps of a session; `None`: no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Probes a second in all.
    pub rate: Option<f64>,
    /// Probes a second for each IPv4 /24 and each IPv6 /64.
    pub network_rate: Option<f64>,
}

/// Says when the next probe may go.
#[derive(Debug)]
pub struct Pacer {
    gap: u64,
    network_gap: u64,
    next: u64,
    networks: HashMap<IpAddr, u64>,
}

/// How much lateness may be made up for by sending faster; it is what a timer may be late.
const SLACK: u64 = 10_000_000;

impl Pacer {
    /// Nothing has been sent yet.
    pub fn new(pace: Pace, now: u64) -> Self {
        let (gap, network_gap) = (gap(pace.rate), gap(pace.network_rate));
        Self { gap, network_gap, next: now, networks: HashMap::new() }
    }

    /// When the next probe to any host may go.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// When the next probe to this host's network may go.
    pub fn next_to(&self, address: IpAddr) -> u64 {
        match self.network_gap {
            0 => 0,
            _ => self.networks.get(&network(address)).copied().unwrap_or(0),
        }
    }

    /// A probe was sent.
    pub fn sent(&mut self, address: IpAddr, now: u64) {
        let earliest = now.saturating_sub(SLACK);
        self.next = self.next.max(earliest) + self.gap;
        if self.network_gap > 0 {
            let next = self.networks.entry(network(address)).or_insert(now);
            *next = (*next).max(earliest) + self.network_gap;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is too large saturates"
)]
fn gap(rate: Option<f64>) -> u64 {
    rate.filter(|rate| *rate > 0.0).map_or(0, |rate| (1e9 / rate) as u64)
}

/// The /24 or /64 of an address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & !0xff).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of an endless row of probes go within a time, if the prober looks every `step`.
    fn sent(pace: Pace, hosts: &[IpAddr], time: u64, step: u64) -> u64 {
        let (mut pacer, mut count) = (Pacer::new(pace, SECOND), 0);
        let mut now = SECOND;
        while now < SECOND + time {
            while let Some(host) = hosts.iter().find(|host| pacer.next().max(pacer.next_to(**host)) <= now) {
                pacer.sent(*host, now);
                count += 1;
            }
            now += step;
        }
        count
    }

    #[test]
    fn rates_hold_in_all_and_for_each_network() {
        let hosts: Vec<IpAddr> = (0..4).map(|net| IpAddr::from([10, 0, net, 1])).collect();
        let pace = Pace { rate: Some(1000.0), network_rate: Some(200.0) };
        assert_eq!(sent(pace, &hosts[..1], SECOND, 1_000_000), 200);
        assert_eq!(sent(pace, &hosts, SECOND, 1_000_000), 800);
        let pace = Pace { rate: Some(500.0), network_rate: None };
        assert_eq!(sent(pace, &hosts, SECOND, 1_000_000), 500);
    }

    #[test]
    fn case_4_no_burst_follows_a_pause() {
        let host = IpAddr::from([10, 0, 0, 1]);
        let mut pacer = Pacer::new(Pace { rate: Some(1000.0), network_rate: None }, 0);
        pacer.sent(host, 0);
        let (mut burst, now) = (0, 300_000_000);
        while pacer.next() <= now {
            pacer.sent(host, now);
            burst += 1;
        }
        assert_eq!(burst, 11);
    }
}
