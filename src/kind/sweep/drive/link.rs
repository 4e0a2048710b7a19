//! Asking the hosts of the machine's own links by ARP and neighbour solicitations, before anything else is sent to them:
//! who has no station there takes no place in the kernel's neighbour table. Not what is asked of those that answered.

use std::{collections::BTreeSet, io, time::Duration};

use super::{
    super::{found::Finding, layout::name, spec::Method},
    Drive,
    gate::MOST_UNRESOLVED,
};
use crate::{
    kind::Error,
    net::{
        icmp::{Peer, pace::Pacer},
        neighbour::{self, Asker, Routes, Way},
        reason_of,
    },
    outcome::{Evidence, Notice, Reason},
};

/// Where each host is, as far as it matters here; hosts by number, in the order of the sweep.
#[derive(Debug, Default)]
struct Places {
    /// On a link with this number.
    links: Vec<(u32, usize)>,
    /// On a link where the kernel alone can ask.
    guarded: Vec<u32>,
    here: Vec<u32>,
    elsewhere: Vec<u32>,
}

/// Packets that are sent before answers are read again.
const BATCH: usize = 64;
/// Hosts that are looked up before others have their turn.
const PLACES: usize = 1024;
/// How long a second station may take to answer for an address when all have been found.
const LINGER: u64 = 10_000_000;
const PAUSE: u64 = 1_000_000;
/// How often a pass is made anew because this machine lost answers.
const MOST_REPEATS: u32 = 10;
/// How many hosts a message names.
const NAMED: usize = 5;

impl Drive<'_> {
    /// Asks all hosts of links. Fails where `method: arp` cannot be done; other methods go on without it.
    pub(in super::super) async fn link(&mut self) -> Result<(), Error> {
        let only = self.sweep.method == Method::Arp;
        let routes = match self.routes().await {
            Ok(routes) => routes,
            Err(error) if only => return Err(error),
            Err(_) => return Ok(()),
        };
        let mut places = self.places(&routes).await;
        if only {
            self.refuse(&places);
        }
        if places.links.is_empty() && places.guarded.is_empty() {
            return Ok(());
        }
        let families = [false, true].into_iter().zip(self.hosts.families()).filter(|(_, there)| *there);
        let tables = families.filter_map(|(v6, _)| neighbour::table(v6).ok());
        let room = tables.map(neighbour::Table::room).min().unwrap_or(MOST_UNRESOLVED);
        self.near.gate.set_room(room);
        match self.knock(&routes, &places) {
            Ok(asker) => self.near.begin(asker, &places.links),
            Err(error) if only => return Err(error.into()),
            Err(_) => places.guarded.extend(places.links.drain(..).map(|(index, _)| index)),
        }
        places.guarded.iter().for_each(|index| self.near.gate.add(*index, false));
        self.ask_links(&places.links).await;
        // Who answered to an earlier question was not asked again.
        self.progress.total = self.progress.done;
        self.pass_on(room);
        Ok(())
    }

    /// Whether a host needs no more asking: it is alive, or no station of its link has it.
    pub(super) fn is_settled(&self, index: u32) -> bool {
        self.findings.get(index).is_alive() || self.near.is_silent(index)
    }

    /// Takes the last answers, and notes who is alive by them alone.
    pub(in super::super) fn settle(&mut self) {
        self.near.hear(self.hosts);
        if matches!(self.sweep.method, Method::Auto | Method::Arp) {
            self.note_seen(0);
        }
        self.near.end();
    }

    async fn routes(&self) -> Result<Routes, Error> {
        let interfaces = self.cx.shared().interfaces.current().await?;
        Ok(neighbour::routes(&interfaces).await?)
    }

    /// Empty where the run is cancelled meanwhile.
    async fn places(&self, routes: &Routes) -> Places {
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
    fn refuse(&mut self, places: &Places) {
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

    /// Opens the sockets that these hosts need.
    fn knock(&self, routes: &Routes, places: &Places) -> Result<Asker, crate::net::Error> {
        let doors: BTreeSet<_> = places
            .links
            .iter()
            .map(|(index, link)| (*link, self.hosts.peer(*index).address.is_ipv6()))
            .collect();
        Asker::open(doors.into_iter().filter_map(|(number, v6)| {
            let link = &routes.links()[number];
            link.mac.map(|mac| (number, v6, mac, link))
        }))
    }

    /// Makes the passes. What answered nobody is dead, unless the run was cancelled.
    async fn ask_links(&mut self, links: &[(u32, usize)]) {
        let mut pacer = Pacer::new(self.pace(false), self.near.look());
        let (mut passes, mut repeats, mut lost) = (0, 0, false);
        while passes < self.sweep.passes.0 && self.near.seen.len() < links.len() {
            if !self.link_pass(links, &mut pacer).await {
                return;
            }
            let drops = self.near.new_drops();
            self.local_drops += u64::from(drops);
            lost = drops > 0;
            if lost && repeats < MOST_REPEATS {
                repeats += 1;
            } else {
                passes += 1;
            }
        }
        let silence = Finding::dead(if lost { Reason::LocalLoss } else { Reason::Timeout });
        for (index, _) in links.iter().filter(|(index, _)| !self.near.seen.contains_key(index)) {
            self.findings.note(*index, silence, None);
        }
    }

    /// Asks each host that has not answered, and waits; whether the run goes on.
    async fn link_pass(&mut self, links: &[(u32, usize)], pacer: &mut Pacer) -> bool {
        let missing = links.len() - self.near.seen.len();
        self.progress.total += missing as u64;
        let (mut left, mut last) = (links, self.near.look());
        let timeout = u64::try_from(self.sweep.timeout.0.as_nanos()).unwrap_or(u64::MAX);
        loop {
            // Taken before the answers are read: what comes later than this is not yet overdue.
            let now = self.near.look();
            self.near.hear(self.hosts);
            let wake = if let Some(at) = self.ask_some(&mut left, pacer, &mut last) {
                at
            } else {
                let all = self.near.seen.len() == links.len();
                let end = last.saturating_add(if all { LINGER.min(timeout) } else { timeout });
                if now >= end {
                    return true;
                }
                end
            };
            tokio::select! {
                biased;
                () = self.cx.cancelled() => return false,
                () = self.near.readable() => {}
                () = pause(wake.saturating_sub(now)) => {}
            }
            self.progress.tell(self.cx, self.findings.alive());
        }
    }

    /// Asks the next hosts; when to go on, `None` where all were asked.
    fn ask_some(&mut self, left: &mut &[(u32, usize)], pacer: &mut Pacer, last: &mut u64) -> Option<u64> {
        for _ in 0..BATCH {
            let ((index, _), rest) = left.split_first()?;
            if self.near.seen.contains_key(index) {
                *left = rest;
                continue;
            }
            let (peer, now) = (self.hosts.peer(*index), self.near.look());
            let at = pacer.next().max(pacer.next_to(peer.address));
            if at > now {
                return Some(at);
            }
            match self.near.ask(*index, self.hosts, now) {
                Ok(()) => self.packets += 1,
                Err(error) if is_busy(&error) => return Some(now + PAUSE),
                Err(error) => self.findings.note(*index, Finding::dead(reason_of(&error)), None),
            }
            pacer.sent(peer.address, now);
            (*left, *last) = (rest, now);
            self.progress.done += 1;
        }
        Some(0)
    }

    /// Notes those that answered as alive where nothing more is asked of them; the others come to the gate.
    fn pass_on(&mut self, room: usize) {
        match self.sweep.method {
            Method::Arp => self.note_seen(0),
            Method::Auto => self.note_seen(room),
            Method::Icmp | Method::Tcp(_) => {}
        }
        self.near.seen.keys().for_each(|index| self.near.gate.add(*index, true));
    }

    /// Notes those that answered as alive, but for the first so many.
    fn note_seen(&mut self, but: usize) {
        for (index, seen) in self.near.seen.iter().skip(but) {
            let finding = alive(self.hosts.peer(*index));
            self.findings.note(*index, finding, Some(seen.rtt));
        }
    }
}

fn alive(peer: Peer) -> Finding {
    Finding::alive(if peer.address.is_ipv6() { Evidence::Nd } else { Evidence::Arp })
}

/// The kernel has no room for a packet now.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}

/// Lets others go on, for so many nanoseconds at least.
async fn pause(nanos: u64) {
    match nanos {
        0 => tokio::task::yield_now().await,
        nanos => tokio::time::sleep(Duration::from_nanos(nanos)).await,
    }
}
