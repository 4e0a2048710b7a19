//! Where the hosts of a sweep are, as far as it matters how they are asked: on links, here, or elsewhere.

use super::{
    super::{found::Finding, layout::name, spec::Method},
    Drive,
    link::alive,
};
use crate::{
    net::neighbour::{Routes, Way},
    outcome::{Notice, Reason},
};

/// Where each host is, as far as it matters here; hosts by number, in the order of the sweep.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// On a link with this number.
    pub(super) links: Vec<(u32, usize)>,
    /// On a link where the kernel alone can ask.
    pub(super) guarded: Vec<u32>,
    here: Vec<u32>,
    elsewhere: Vec<u32>,
}

/// Hosts that are looked up before others have their turn.
const PLACES: usize = 1024;
/// How many hosts a message names.
const NAMED: usize = 5;

impl Drive<'_> {
    /// Empty where the run is cancelled meanwhile.
    pub(super) async fn places(&self, routes: &Routes) -> Places {
        let mut places = Places::default();
        let only = self.sweep.method == Method::Arp;
        if !only && !self.hosts.ranges().any(|(first, last)| routes.touches(first, last)) {
            return places;
        }
        for (at, index) in self.order.iter().enumerate() {
            if at % PLACES == 0 {
                tokio::task::yield_now().await;
                if self.cx.stop().cancel.is_cancelled() {
                    return Places::default();
                }
            }
            // An earlier process may have found it.
            if self.findings.get(index).is_alive() {
                continue;
            }
            let peer = self.hosts.peer(index);
            match routes.way(peer) {
                Way::Link(link) if !only && routes.is_by_hand(link, peer.address) => {}
                Way::Link(link) if routes.links()[link].mac.is_some() => places.links.push((index, link)),
                Way::Link(_) if !only => places.guarded.push(index),
                Way::Here if only => places.here.push(index),
                _ if only => places.elsewhere.push(index),
                _ => {}
            }
        }
        places
    }

    /// With `method: arp` this machine itself is alive without asking, and what is on no link cannot be asked.
    pub(super) fn refuse(&mut self, places: &Places) {
        for index in &places.here {
            self.findings.note(*index, alive(self.hosts.peer(*index)), None);
        }
        for index in &places.elsewhere {
            self.findings.note(*index, Finding::dead(Reason::NoRoute), None);
        }
        if !places.elsewhere.is_empty() {
            let mut few = places.elsewhere.clone();
            few.sort_unstable();
            few.truncate(NAMED);
            let named: Vec<_> = few.iter().map(|index| name(self.hosts.peer(*index))).collect();
            let more = if places.elsewhere.len() > NAMED { ", …" } else { "" };
            let message = format!(
                "`method: arp` asks nobody beyond the links of this machine: {}{more}; use `icmp` for such targets",
                named.join(", ")
            );
            self.cx.notice(Notice::Warning { message });
        }
    }
}
