//! Asking the hosts of the machine's own links: for their stations, by ARP and neighbour solicitations, and then at these
//! for echoes. The kernel's neighbour table, which may be smaller than a link, knows nothing of it.

use std::{collections::BTreeSet, io, time::Duration};

use super::{
    super::{found::Finding, spec::Method},
    Drive,
    gate::MOST_UNRESOLVED,
    places::Places,
};
use crate::{
    kind::Error,
    net::{
        icmp::{Peer, pace::Pacer},
        neighbour::{self, Asker, Question, Routes},
        reason_of,
    },
    outcome::{Evidence, Reason},
};

/// Packets that are sent before answers are read again.
const BATCH: usize = 64;
/// How long a second station may take to answer for an address when all have been found.
const LINGER: u64 = 10_000_000;
const PAUSE: u64 = 1_000_000;
/// How often, for each pass, one is made anew because this machine lost answers.
const REPEATS: u32 = 3;

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
        for question in self.questions() {
            self.ask_links(&places.links, *question).await;
        }
        // Who answered to an earlier question was not asked again.
        self.progress.total = self.progress.done;
        self.note_seen();
        if let Method::Tcp(_) = self.sweep.method {
            self.near.seen.keys().for_each(|index| self.near.gate.add(*index, true));
        }
        Ok(())
    }

    /// Whether a host needs no more asking: it is alive, or was asked at its link.
    pub(super) fn is_settled(&self, index: u32) -> bool {
        let goes_on =
            matches!(self.sweep.method, Method::Tcp(_)) && !self.near.lacks(Question::Station, index);
        self.findings.get(index).is_alive() || self.near.asks(index) && !goes_on
    }

    /// How many hosts of links need no more asking, though they are not alive.
    pub(super) fn silent(&self) -> u32 {
        let is_icmp = self.sweep.method == Method::Icmp;
        self.near.silent(if is_icmp { Question::Echo } else { Question::Station })
    }

    /// Takes the last answers, and notes who is alive by them.
    pub(in super::super) fn settle(&mut self) {
        self.hear();
        self.note_seen();
        self.near.end();
    }

    /// What hosts of links are asked there.
    fn questions(&self) -> &'static [Question] {
        match self.sweep.method {
            Method::Auto | Method::Icmp => &[Question::Station, Question::Echo],
            Method::Arp | Method::Tcp(_) => &[Question::Station],
        }
    }

    /// Takes what has come.
    fn hear(&mut self) {
        for (index, rtt) in self.near.hear(self.hosts) {
            self.findings.note(index, Finding::alive(Evidence::Echo), rtt);
        }
    }

    async fn routes(&self) -> Result<Routes, Error> {
        let interfaces = self.cx.shared().interfaces.current().await?;
        Ok(neighbour::routes(&interfaces).await?)
    }

    /// Opens the sockets that these hosts need.
    fn knock(&self, routes: &Routes, places: &Places) -> Result<Asker, crate::net::Error> {
        let doors: BTreeSet<_> = places
            .links
            .iter()
            .map(|(index, link)| (*link, self.hosts.peer(*index).address.is_ipv6()))
            .collect();
        let links = doors.into_iter().filter_map(|(number, v6)| {
            let link = &routes.links()[number];
            link.mac.map(|mac| (number, v6, mac, link))
        });
        Asker::open(links, self.questions())
    }

    /// Makes the passes of a question. What answered nobody is dead, unless the run was cancelled.
    async fn ask_links(&mut self, links: &[(u32, usize)], question: Question) {
        let mut pacer = Pacer::new(self.pace(false), self.near.look());
        let (mut passes, mut repeats, mut lost) = (0, 0, false);
        while passes < self.sweep.passes.0 && links.iter().any(|(index, _)| self.near.lacks(question, *index))
        {
            if !self.link_pass(links, question, &mut pacer).await {
                return;
            }
            let drops = self.near.new_drops();
            self.local_drops += u64::from(drops);
            lost = drops > 0;
            if lost && repeats < REPEATS * self.sweep.passes.0 {
                repeats += 1;
            } else {
                passes += 1;
            }
        }
        let silence = Finding::dead(if lost { Reason::LocalLoss } else { Reason::Timeout });
        for (index, _) in links.iter().filter(|(index, _)| self.near.lacks(question, *index)) {
            self.findings.note(*index, silence, None);
        }
    }

    /// Asks each host that has not answered, and waits; whether the run goes on.
    async fn link_pass(&mut self, links: &[(u32, usize)], question: Question, pacer: &mut Pacer) -> bool {
        let missing = links.iter().filter(|(index, _)| self.near.lacks(question, *index)).count();
        let all = self.near.answered(question) + missing;
        self.progress.total += missing as u64;
        let (mut left, mut last) = (links, self.near.look());
        let timeout = u64::try_from(self.sweep.timeout.0.as_nanos()).unwrap_or(u64::MAX);
        loop {
            // Taken before the answers are read: what comes later than this is not yet overdue.
            let now = self.near.look();
            self.hear();
            let wake = if let Some(at) = self.ask_some(&mut left, question, pacer, &mut last) {
                at
            } else {
                // Only for a station there may be two answers.
                let linger = if question == Question::Station { LINGER.min(timeout) } else { 0 };
                let patience = if self.near.answered(question) >= all { linger } else { timeout };
                let end = last.saturating_add(patience);
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
    fn ask_some(
        &mut self,
        left: &mut &[(u32, usize)],
        question: Question,
        pacer: &mut Pacer,
        last: &mut u64,
    ) -> Option<u64> {
        for _ in 0..BATCH {
            let ((index, _), rest) = left.split_first()?;
            if !self.near.lacks(question, *index) {
                *left = rest;
                continue;
            }
            let (peer, now) = (self.hosts.peer(*index), self.near.look());
            let at = pacer.next().max(pacer.next_to(peer.address));
            if at > now {
                return Some(at);
            }
            match self.near.ask(question, *index, self.hosts, now) {
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

    /// Notes those whose station answered as alive, where that is enough.
    fn note_seen(&mut self) {
        if !matches!(self.sweep.method, Method::Auto | Method::Arp) {
            return;
        }
        for (index, seen) in &self.near.seen {
            let finding = alive(self.hosts.peer(*index));
            self.findings.note(*index, finding, Some(seen.rtt));
        }
    }
}

/// What an answer of its station says of a host.
pub(super) fn alive(peer: Peer) -> Finding {
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
