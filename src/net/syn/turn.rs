//! What an asker does at each turn: answers are credited to their SYNs, what is overdue comes to its end, more is sent.
//!
//! An answer counts only if its source, both its ports and its acknowledgement are those of a SYN of ours.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Asker, Event, Flight, MOST_RESENDS, Waiting, What,
    socket::{Arrived, SynSocket},
};
use crate::{
    net::icmp::{Failure, Peer, clock},
    outcome::Reason,
};

/// Batches that are read before errors, expiry and sending have their turn.
const BATCHES: usize = 128;
/// SYNs that are sent before answers are read again.
const SEND_BATCH: usize = 64;
/// Waiting hosts that are looked at for one whose network may be asked now.
const LOOK_AHEAD: usize = 64;
const PAUSE: u64 = 1_000_000;

impl Asker {
    /// Works until something became of some hosts. Safe to abandon and call again; never returns while nothing is queued or
    /// on its way.
    pub async fn next(&mut self) -> Vec<Event> {
        loop {
            // Taken before the buffer is read: an answer that comes later than this is not yet overdue.
            let now = self.clocks.look();
            let emptied = self.receive();
            self.read_errors();
            if emptied {
                self.look_for_drops();
                self.expire(now);
            }
            let wake = self.send();
            if !self.events.is_empty() {
                yield_now().await;
                return std::mem::take(&mut self.events);
            }
            if !emptied || wake == Some(0) {
                yield_now().await;
            } else {
                self.sleep(wake).await;
            }
        }
    }

    async fn sleep(&self, wake: Option<u64>) {
        let overdue = self.deadlines.front().map(|(deadline, _)| *deadline);
        let until = wake.into_iter().chain(overdue).min();
        let now = clock::monotonic();
        let until = until.map(|until| Instant::now() + Duration::from_nanos(until.saturating_sub(now)));
        let ready = async {
            // Where the runtime cannot watch it, a short sleep does.
            if self.socket.ready().await.is_err() {
                sleep(Duration::from_nanos(PAUSE)).await;
            }
        };
        tokio::select! {
            () = ready => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
    }

    /// Reads what has come; whether all of it was read.
    fn receive(&mut self) -> bool {
        for _ in 0..BATCHES {
            let mut arrived = Vec::new();
            match self.socket.receive(|one| arrived.push(one)) {
                Ok(more) => {
                    for one in arrived {
                        self.take(one);
                    }
                    if !more {
                        return true;
                    }
                }
                // An error of some SYN, left over; its entry is in the queue.
                Err(_) if self.read_errors() => {}
                Err(_) => return true,
            }
        }
        false
    }

    fn take(&mut self, arrived: Option<Arrived>) {
        if arrived.and_then(|arrived| self.credit(arrived)).is_none() {
            self.counts.foreign += 1;
        }
    }

    /// Credits an answer to its SYN; `None` where it answers none of ours.
    fn credit(&mut self, Arrived { peer, answer, stamp }: Arrived) -> Option<()> {
        let cookie = self.key.cookie(peer.address, answer.to, self.port);
        let is_ours = answer.from == self.port
            && answer.acknowledgement == cookie.wrapping_add(1)
            && self.socket.ports.contains(&answer.to);
        if !is_ours {
            return None;
        }
        let is_open = answer.is_open;
        let own = self.flights.get(&peer).is_some_and(|flight| flight.port == answer.to);
        let Some(flight) = own.then(|| self.flights.remove(&peer)).flatten() else {
            self.end(peer, What::Extra { is_open });
            return Some(());
        };
        let read = self.clocks.look();
        let rtt = self.clocks.round_trip(flight.sent, None, stamp, read).rtt;
        self.window.answered(0, flight.sent, rtt);
        if rtt > self.timeout {
            self.end(peer, What::Lost(flight.failure.unwrap_or(SILENCE)));
            self.end(peer, What::Extra { is_open });
        } else {
            self.end(peer, What::Answered { is_open, rtt });
        }
        Some(())
    }

    fn end(&mut self, peer: Peer, what: What) {
        self.events.push(Event { peer, what });
    }

    /// Notes what errors say of their SYNs; whether there were any. An answer that still comes wins over them.
    fn read_errors(&mut self) -> bool {
        let mut any = false;
        while let Some(error) = self.socket.receive_error() {
            any = true;
            self.note(error);
        }
        any
    }

    fn note(&mut self, (peer, quote, failure): (Peer, Option<super::packet::Quote>, Failure)) {
        // What the kernel says of a packet that it did not send comes back from the send itself.
        let Some(quote) = quote.filter(|quote| !failure.local && quote.to == self.port) else { return };
        let Some(flight) = self.flights.get_mut(&peer).filter(|flight| flight.port == quote.from) else {
            return;
        };
        if quote.sequence != self.key.cookie(peer.address, quote.from, self.port) {
            return;
        }
        // A host that says itself that nobody listens there refuses in its own way.
        if failure.reason == Reason::PortUnreachable && failure.offender == Some(peer.address) {
            let rtt = Duration::from_nanos(self.clocks.look().saturating_sub(flight.sent).max(1));
            self.flights.remove(&peer);
            self.end(peer, What::Answered { is_open: false, rtt });
        } else {
            flight.failure = Some(failure);
        }
    }

    /// What this machine lost may be the answer to any SYN on its way.
    fn look_for_drops(&mut self) {
        // Read also where nothing flies: what was dropped before a SYN was sent is not its loss.
        let drops = self.socket.new_drops();
        if drops == 0 || self.flights.is_empty() {
            return;
        }
        self.window.lost();
        self.flights.values_mut().for_each(|flight| flight.tainted = true);
        self.counts.local_drops += u64::from(drops);
    }

    fn expire(&mut self, now: u64) {
        while let Some((deadline, peer)) = self.deadlines.front().copied() {
            let flight = self.flights.get(&peer).filter(|flight| flight.deadline == deadline);
            if flight.is_some() && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if flight.is_none() {
                continue;
            }
            let Some(flight) = self.flights.remove(&peer) else { continue };
            let waiting = flight.waiting;
            match flight.failure {
                None if flight.tainted && waiting.resends < MOST_RESENDS && self.resends.take() => {
                    let (attempt, resends) = (waiting.attempt + 1, waiting.resends + 1);
                    self.queue.push_front(Waiting { attempt, resends, ..waiting });
                }
                None if flight.tainted => {
                    let lost = Failure { reason: Reason::LocalLoss, offender: None, local: true };
                    self.end(peer, What::Lost(lost));
                }
                failure => self.end(peer, What::Lost(failure.unwrap_or(SILENCE))),
            }
        }
    }

    /// Sends what may be sent; when to look again, if there is more, and 0 for at once.
    fn send(&mut self) -> Option<u64> {
        for _ in 0..SEND_BATCH {
            let now = self.clocks.look();
            self.window.grow(now);
            if self.queue.is_empty() {
                return None;
            }
            let earliest = self.blocked.max(self.pacer.next());
            if earliest > now {
                return Some(earliest);
            }
            if !self.window.has_room(0, now) {
                return Some(self.window.opens().unwrap_or(now));
            }
            let next = |waiting: &Waiting| self.pacer.next_to(waiting.peer.address);
            let ahead = || self.queue.iter().take(LOOK_AHEAD).map(next);
            let Some(at) = ahead().position(|next| next <= now) else { return ahead().min() };
            if let Some(waiting) = self.queue.remove(at)
                && !self.launch(waiting)
            {
                return Some(self.blocked);
            }
        }
        Some(0)
    }

    /// Sends a SYN; `false` where the kernel cannot take any now.
    fn launch(&mut self, waiting: Waiting) -> bool {
        let peer = waiting.peer;
        let port = self.socket.ports[waiting.attempt as usize % self.socket.ports.len()];
        let cookie = self.key.cookie(peer.address, port, self.port);
        // Taken before the call, so that no answer comes before its question.
        let sent = clock::monotonic();
        let timeout = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = sent.saturating_add(timeout).saturating_add(1);
        let mut errors = vec![];
        let drain = |socket: &mut SynSocket| {
            let before = errors.len();
            errors.extend(std::iter::from_fn(|| socket.receive_error()));
            errors.len() > before
        };
        let flown = self.socket.send(peer, (port, self.port, cookie), drain);
        for error in errors {
            self.note(error);
        }
        match flown {
            Ok(()) => {
                self.pacer.sent(peer.address, sent);
                self.window.sent(0, sent);
                self.counts.packets += 1;
                if waiting.resends == 0 {
                    self.resends.earn();
                }
                let flight = Flight { waiting, port, sent, deadline, tainted: false, failure: None };
                self.flights.insert(peer, flight);
                self.deadlines.push_back((deadline, peer));
            }
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) =>
            {
                self.queue.push_front(waiting);
                self.blocked = sent + PAUSE;
                return false;
            }
            Err(error) => {
                self.pacer.sent(peer.address, sent);
                let failure = Failure::of_send(&error, peer.address.is_ipv6());
                // What was sent once and lost here was sent, whatever became of the second try.
                let what = if waiting.resends > 0 { What::Lost(failure) } else { What::Refused(failure) };
                self.end(peer, what);
            }
        }
        true
    }
}

/// The failure of a SYN that nothing answered.
const SILENCE: Failure = Failure { reason: Reason::ConnectTimeout, offender: None, local: false };
