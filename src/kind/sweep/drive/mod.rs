//! The passes of a sweep: the first over all hosts, each later one over those that have not answered.

mod echo;
mod progress;
mod tcp;

use self::{progress::Progress, tcp::most_connections};
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
    progress: Progress,
    pub(super) findings: Findings,
    pub(super) packets: u64,
    pub(super) local_drops: u64,
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
        let order = if plain {
            Permutation::plain(count)
        } else {
            Permutation::scattered(count, icmp::random_key()?)
        };
        let progress = Progress::default();
        let findings = Findings::new(count);
        Ok(Self { sweep, cx, hosts, order, progress, findings, packets: 0, local_drops: 0 })
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
