//! The passes of a sweep: the first over all hosts, each later one over those that have not answered.

mod echo;
mod progress;
mod syn;
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
    progress: Progress,
    /// The pass that goes on, from 1.
    pass: u32,
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
        let order = if plain {
            Permutation::plain(count)
        } else {
            Permutation::scattered(count, icmp::random_key()?)
        };
        let progress = Progress::default();
        let findings = Findings::new(count);
        Ok(Self { sweep, cx, hosts, order, progress, pass: 0, findings, packets: 0, local_drops: 0 })
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

    /// Begins a pass, the first of which is 1.
    fn begin(&mut self, pass: u32) {
        self.pass = pass;
        self.findings.is_last_pass = pass >= self.sweep.passes.0;
        self.progress.total += u64::from(self.missing());
    }

    /// How many hosts were asked at least once.
    pub(super) fn asked(&self) -> u32 {
        let count = self.hosts.count();
        if self.pass > 1 { count } else { u32::try_from(self.packets).unwrap_or(count).min(count) }
    }

    fn missing(&self) -> u32 {
        self.hosts.count() - self.findings.alive()
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
