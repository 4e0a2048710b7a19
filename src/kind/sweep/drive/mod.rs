//! The passes of a sweep: the first over all hosts, each later one over those that have not answered.

mod cursor;
mod echo;
mod gate;
mod link;
mod near;
mod places;
mod progress;
mod syn;
mod tcp;

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use self::{
    cursor::{Cursor, Saver},
    near::Near,
    progress::Progress,
};
pub(super) use self::{
    gate::{LEAST_ROOM, MOST_UNRESOLVED, slowest as slowest_gate, slowest_unresolved},
    near::Seen,
    tcp::most_connections,
};
use super::{
    Sweep,
    found::{Finding, Findings},
    hosts::Hosts,
    order::Permutation,
    spec::{Method, Order, Rate},
};
use crate::{
    context::Context,
    kind::Error,
    net::{
        self,
        icmp::{self, Pace},
    },
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
    pub(super) near: Near,
    pub(super) findings: Findings,
    pub(super) packets: u64,
    pub(super) local_drops: u64,
    /// Hosts that were handed over, and to which nothing had been sent when the asking ended.
    unsent: usize,
}

/// Probes that may be unanswered at a time.
const MOST_UNANSWERED: u32 = 8192;
/// The same at full speed: silent hosts must not hold up the others.
const MOST_UNANSWERED_AT_MAX: u32 = 32_768;
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
            near: Near::default(),
            findings: Findings::new(count),
            packets: 0,
            local_drops: 0,
            unsent: 0,
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

    /// How many hosts are still to be asked.
    fn missing(&self) -> u32 {
        self.hosts.count().saturating_sub(self.findings.alive()).saturating_sub(self.silent())
    }

    /// How many hosts were asked at least once.
    pub(super) fn asked(&self) -> usize {
        let waiting: HashSet<_> = self.findings.asked().chain(self.near.knocked()).collect();
        let heard = self
            .findings
            .iter()
            .filter(|(index, finding)| *finding != Finding::UNKNOWN && !waiting.contains(index));
        // In a later pass each of them was asked before.
        let unsent = if self.pass() == 1 { self.unsent } else { 0 };
        (waiting.len() + heard.count()).saturating_sub(unsent)
    }

    /// Notes what became of a host; 1 where that ends its asking.
    fn note(&mut self, index: u32, finding: Finding, rtt: Option<Duration>, is_end: bool) -> u32 {
        self.findings.note(index, finding, rtt);
        if is_end {
            self.near.gate.leave(index, finding.is_alive(), self.sweep.timeout.0, Instant::now());
            self.progress.done += 1;
        }
        u32::from(is_end)
    }
}

/// How many probes of a sweep may be unanswered at a time, whatever its rate; where the method is open, the fewest.
pub(super) fn most_unanswered(method: Method, rate: Rate) -> f64 {
    let by_connections = match method {
        Method::Icmp | Method::Arp => false,
        Method::Auto | Method::Tcp(_) => !net::syn::is_allowed(),
    };
    match rate {
        _ if by_connections => most_connections() as f64,
        Rate::Max => f64::from(MOST_UNANSWERED_AT_MAX),
        Rate::Limited(_) => f64::from(MOST_UNANSWERED),
    }
}
