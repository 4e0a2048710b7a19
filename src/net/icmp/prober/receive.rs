//! The prober's ear: replies are credited to their probes, stamps and errors noted at theirs, and what is overdue comes
//! to its end.
//!
//! A reply counts only if its source, its identifier and sequence number, and every byte of its payload are ours.

use std::{cmp::Reverse, io::ErrorKind, sync::atomic::Ordering};

use super::{
    super::{
        Failure, Peer, Probe, What, clock, mark, silence,
        socket::{Received, Told},
    },
    ERROR_SLOT, LONG_PAUSE, Prober, STRANGE, Waiting,
};
use crate::{outcome::Reason, sys::datagram::Message};

/// Batches that are read before expiry and sending have their turn.
const ROUNDS: usize = 128;

impl Prober {
    /// Reads what has come; whether all of it was read.
    pub(super) fn receive(&mut self) -> bool {
        for _ in 0..ROUNDS {
            let Some(mut batch) = self.batch.take() else { return true };
            let received = self.socket.receive(&mut batch, self.slot);
            // The stamp of a packet is there before its reply. So it is read after the replies and before they are
            // credited.
            let explained = self.read_errors();
            let more = match received {
                Ok(more) => {
                    self.strange = 0;
                    let read = self.clocks.look();
                    for message in batch.messages() {
                        if self.credit(&message, read).is_none() {
                            self.foreign.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    more
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    self.strange = 0;
                    false
                }
                // An error of some probe, left over; its entry was in the queue.
                Err(_) if explained => true,
                Err(_) => {
                    self.strange = self.strange.saturating_add(1);
                    if self.strange > STRANGE {
                        self.deaf_until = clock::monotonic() + LONG_PAUSE;
                    }
                    false
                }
            };
            self.batch = Some(batch);
            if !more {
                return true;
            }
        }
        false
    }

    /// Credits a reply to its probe; `None` where it is not a reply to any of ours.
    fn credit(&mut self, message: &Message<'_>, read: u64) -> Option<()> {
        let (Received { peer, ttl, stamp }, echo) = self.socket.parse(message)?;
        let mark = mark::read(echo.payload).filter(|mark| mark.tag == self.tag)?;
        let state = self.sessions.get(mark.session)?;
        let size = state.options.size;
        if echo.payload.len() != size || !state.key.verify(peer.address, echo.id_seq, echo.payload) {
            return None;
        }
        let hidden = echo.id_seq ^ self.key.veil(peer.address);
        let flight = self.flights.find(hidden, self.socket.id_seq_mask());
        let own = flight.filter(|(number, known)| {
            let generation = number.to_be_bytes()[0];
            (known.index, known.session, generation) == (mark.index, mark.session, mark.generation)
        });
        let Some((number, known)) = own else {
            self.sessions.tell(mark.session, mark.index, What::Extra, read);
            return Some(());
        };
        let trip = self.clocks.round_trip(known.sent, known.delay, stamp, read);
        self.window.answered(size, known.sent, trip.rtt);
        let failure = self.flights.end(number, &mut state.list);
        if trip.rtt > state.options.timeout {
            self.sessions.end(known, What::Lost(failure.unwrap_or(silence())), read);
            self.sessions.tell(mark.session, mark.index, What::Extra, read);
        } else {
            let what = What::Answered { rtt: trip.rtt, ttl, is_stamped: trip.is_stamped };
            self.sessions.end(known, what, read);
        }
        Some(())
    }

    /// Notes what stamps and errors say of their probes; whether there were any errors. A reply that still comes wins
    /// over them.
    pub(super) fn read_errors(&mut self) -> bool {
        let mut any = false;
        let Some(mut batch) = self.errors.take() else { return false };
        while let Ok(more) = self.socket.receive_errors(&mut batch, ERROR_SLOT) {
            for message in batch.messages() {
                match self.socket.parse_error(&message) {
                    Some(Told::Left(stamp, wall)) => self.stamp(stamp, wall),
                    Some(Told::Failed(peer, id_seq, failure)) => {
                        any = true;
                        // What the kernel says of a packet that it did not send comes back from the send itself.
                        if let Some(id_seq) = id_seq.filter(|_| !failure.local) {
                            self.fail(peer, id_seq, failure);
                        }
                    }
                    None => any = true,
                }
            }
            if !more {
                break;
            }
        }
        self.errors = Some(batch);
        any
    }

    fn stamp(&mut self, stamp: u32, wall: u64) {
        let flight = self.stamps.number(stamp).and_then(|number| self.flights.find(number, u32::MAX));
        if let Some((number, known)) = flight
            && let Some(delay) = self.clocks.delay(known.sent, wall)
        {
            self.flights.left(number, delay);
        }
    }

    fn fail(&mut self, peer: Peer, id_seq: u32, failure: Failure) {
        let number = id_seq ^ self.key.veil(peer.address);
        // Where a link-local host was probed without a zone, the kernel chose the link.
        if let Some((number, _)) = self.flights.find(number, self.socket.id_seq_mask())
            && self.flights.peer(number).address == peer.address
        {
            self.flights.fail(number, failure);
        }
    }

    /// What this machine lost may be the answer to any probe on its way.
    pub(super) fn look_for_drops(&mut self, now: u64) {
        // Read also where nothing flies: what was dropped before a probe was sent is not its loss.
        let drops = self.socket.new_drops();
        if drops == 0 || self.flights.count() == 0 {
            return;
        }
        self.window.lost();
        self.dropped = Some(now);
        for state in self.sessions.iter().filter(|state| state.in_flight > 0) {
            state.counts.local_drops.fetch_add(drops.into(), Ordering::Relaxed);
        }
    }

    /// Ends the probes that were overdue at a time before the buffer was read.
    pub(super) fn expire(&mut self, now: u64) {
        while let Some(Reverse((at, place))) = self.alarms.peek().copied()
            && at <= now
        {
            self.alarms.pop();
            if self.sessions.get(place).is_some_and(|state| state.alarm == Some(at)) {
                self.expire_of(place, now);
            }
        }
    }

    fn expire_of(&mut self, place: u16, now: u64) {
        while let Some(state) = self.sessions.get(place) {
            let Some((number, known)) = self.flights.first(state.list) else {
                state.alarm = None;
                return;
            };
            let deadline = state.deadline(known.sent);
            if deadline > now {
                state.alarm = Some(deadline);
                self.alarms.push(Reverse((deadline, place)));
                return;
            }
            let peer = self.flights.peer(number);
            let failure = self.flights.end(number, &mut state.list);
            let tainted = self.dropped.is_some_and(|dropped| known.sent <= dropped);
            match failure {
                None if tainted && known.resends < state.options.resends && state.resends.take() => {
                    state.in_flight -= 1;
                    let probe = Probe { index: known.index, peer };
                    state.queue.push_front(Waiting { probe, resends: known.resends + 1 });
                    if !std::mem::replace(&mut state.is_listed, true) {
                        self.turns.push_back(place);
                    }
                }
                None if tainted => {
                    let lost = Failure { reason: Reason::LocalLoss, offender: None, local: true };
                    self.sessions.end(known, What::Lost(lost), now);
                }
                failure => self.sessions.end(known, What::Lost(failure.unwrap_or(silence())), now),
            }
        }
    }
}
