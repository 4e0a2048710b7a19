//! The passes of a sweep: the first over all hosts, each later one over those that have not answered.

mod cursor;
mod echo;
mod progress;
mod tcp;

pub(super) use self::tcp::most_connections;
use self::{
    cursor::{Cursor, Saver},
    progress::Progress,
};
use super::{
    Sweep,
    found::Findings,
    hosts::Hosts,
    order::Permutation,
    spec::{Method, Order, Rate},
};
use crate::{
    context::Context,
    kind::Error,
    net::icmp::{self, Pace},
};

/// A sweep on its way.
pub(super) struct Drive<'a> {
    sweep: &'a Sweep,
    cx: &'a Context,
    hosts: &'a Hosts,
    order: Permutation,
    key: Option<[u64; 2]>,
    cursor: Cursor,
    saver: Option<Saver>,
    progress: Progress,
    pub(super) findings: Findings,
    pub(super) packets: u64,
    pub(super) local_drops: u64,
}

/// Probes that may be unanswered at a time.
const MOST_UNANSWERED: u32 = 8192;
/// The same at full speed: silent hosts must not hold up the others.
const MOST_UNANSWERED_AT_MAX: u32 = 65_536;
/// Above this many targets, `order: auto` scatters.
const PLAIN_UP_TO: u32 = 256;
/// Probes a second to one /24 or /64.
pub(super) const NETWORK_RATE: f64 = 200.0;

impl<'a> Drive<'a> {
    pub(super) fn new(sweep: &'a Sweep, cx: &'a Context, hosts: &'a Hosts) -> Result<Self, Error> {
        let count = hosts.count();
        let plain = match sweep.order {
            Order::Auto => count <= PLAIN_UP_TO,
            Order::Plain => true,
            Order::Random => false,
        };
        let mut drive = Self {
            sweep,
            cx,
            hosts,
            order: Permutation::plain(count),
            key: None,
            cursor: Cursor::default(),
            saver: None,
            progress: Progress::default(),
            findings: Findings::new(count),
            packets: 0,
            local_drops: 0,
        };
        if !plain {
            drive.set_order(Some(icmp::random_key()?));
        }
        Ok(drive)
    }

    /// Visits hosts in the order of a key; without one, by number.
    fn set_order(&mut self, key: Option<[u64; 2]>) {
        let count = self.hosts.count();
        self.order = key.map_or_else(|| Permutation::plain(count), |key| Permutation::scattered(count, key));
        self.key = key;
    }

    fn pace(&self, halved: bool) -> Pace {
        match self.sweep.rate {
            Rate::Max => Pace::default(),
            Rate::Limited(rate) => {
                let rate = if halved { rate.0 / 2.0 } else { rate.0 };
                Pace { rate: Some(rate), network_rate: Some(NETWORK_RATE) }
            }
        }
    }

    fn missing(&self) -> u32 {
        self.hosts.count() - self.findings.alive()
    }
}

/// How many probes of a sweep may be unanswered at a time, whatever its rate; where the method is open, the fewest.
pub(super) fn most_unanswered(method: Method, rate: Rate) -> f64 {
    match (method, rate) {
        (Method::Icmp | Method::Arp, Rate::Max) => f64::from(MOST_UNANSWERED_AT_MAX),
        (Method::Icmp | Method::Arp, Rate::Limited(_)) => f64::from(MOST_UNANSWERED),
        (Method::Auto | Method::Tcp(_), _) => most_connections() as f64,
    }
}
