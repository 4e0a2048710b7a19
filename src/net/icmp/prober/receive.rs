//! The prober's ear: replies are credited to their probes, errors noted at theirs, and what is overdue comes to its end.
//!
//! A reply counts only if its source, its identifier and sequence number, and every byte of its payload are ours.

use std::{cmp::Reverse, collections::HashMap, sync::atomic::Ordering};

use super::{
    super::{
        Peer, What, clock,
        failure::Failure,
        mark, silence,
        socket::{IcmpSocket, Received},
    },
    Flight, Id, Prober, Waiting,
};
use crate::outcome::Reason;

/// Packets that are read before errors, expiry and sending have their turn.
const BATCH: usize = 4096;
/// Losses on this machine after which a probe ends with that reason.
const MOST_RESENDS: u16 = 30;

impl Prober {
    /// Reads what has come; whether all of it was read.
    pub(super) fn receive(&mut self) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut emptied = false;
        for _ in 0..BATCH {
            match self.socket.receive(&mut buffer) {
                Ok(Some(received)) => self.take(received, &buffer),
                Ok(None) => {
                    emptied = true;
                    break;
                }
                // An error of some probe, left over; its entry is in the queue.
                Err(_) if self.read_errors_into(&mut buffer) => {}
                Err(_) => {
                    self.strange += 1;
                    emptied = true;
                    break;
                }
            }
        }
        self.buffer = buffer;
        emptied
    }

    pub(super) fn take(&mut self, received: Received, buffer: &[u8]) {
        let packet = &buffer[..received.length.min(buffer.len())];
        if self.credit(received, packet).is_none() {
            self.foreign.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Credits a reply to its probe; `None` where it is not a reply to any of ours.
    pub(super) fn credit(&mut self, received: Received, packet: &[u8]) -> Option<()> {
        let echo = self.socket.parse(packet)?;
        let (session, index) = mark::read(echo.payload)?;
        let state = self.sessions.get_mut(&session)?;
        let genuine = echo.payload.len() == state.options.size
            && state.key.verify(received.peer.address, echo.id_seq, echo.payload);
        if !genuine {
            return None;
        }
        let id = flown(&self.flights, received.peer, echo.id_seq);
        let own = id.filter(|id| self.flights[id].session == session);
        let Some(flight) = own.and_then(|id| self.flights.remove(&id)) else {
            state.extra(index);
            return Some(());
        };
        let rtt = clock::round_trip(flight.sent, received.stamp, clock::now());
        self.window.answered(rtt);
        if rtt > state.options.timeout {
            state.end(index, What::Lost(flight.failure.unwrap_or(silence())));
            state.extra(index);
        } else {
            state.end(index, What::Answered { rtt, ttl: received.ttl });
        }
        Some(())
    }

    pub(super) fn read_errors(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read_errors_into(&mut buffer);
        self.buffer = buffer;
    }

    /// Notes what errors say of their probes; whether there were any. A reply that still comes wins over them.
    pub(super) fn read_errors_into(&mut self, buffer: &mut [u8]) -> bool {
        drain(&mut self.socket, &mut self.flights, buffer)
    }

    /// What this machine lost may be the answer to any probe on its way.
    pub(super) fn look_for_drops(&mut self) {
        // Read also where nothing flies: what was dropped before a probe was sent is not its loss.
        let drops = self.socket.new_drops();
        if drops == 0 || self.flights.is_empty() {
            return;
        }
        self.window.lost();
        for flight in self.flights.values_mut() {
            flight.tainted = true;
        }
        for state in self.sessions.values().filter(|state| state.in_flight > 0) {
            state.counts.local_drops.fetch_add(drops.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn expire(&mut self, now: u64) {
        while let Some(Reverse((deadline, id))) = self.deadlines.peek().copied()
            && deadline <= now
        {
            self.deadlines.pop();
            if self.flights.get(&id).is_none_or(|flight| flight.deadline != deadline) {
                continue;
            }
            let Some(flight) = self.flights.remove(&id) else { continue };
            let Some(state) = self.sessions.get_mut(&flight.session) else { continue };
            let Waiting { probe, resends } = flight.waiting;
            match flight.failure {
                None if flight.tainted && resends < MOST_RESENDS => {
                    state.in_flight -= 1;
                    state.queue.push_front(Waiting { probe, resends: resends + 1 });
                }
                None if flight.tainted => {
                    let lost = Failure { reason: Reason::LocalLoss, offender: None, local: true };
                    state.end(probe.index, What::Lost(lost));
                }
                failure => state.end(probe.index, What::Lost(failure.unwrap_or(silence()))),
            }
        }
    }
}

/// Reads the error queue and notes each error at its probe; whether there was any.
pub(super) fn drain(socket: &mut IcmpSocket, flights: &mut HashMap<Id, Flight>, buffer: &mut [u8]) -> bool {
    let mut any = false;
    while let Some((peer, id_seq, failure)) = socket.receive_error(buffer) {
        any = true;
        // What the kernel says of a packet that it did not send comes back from the send itself.
        let id = id_seq.filter(|_| !failure.local).and_then(|id_seq| flown(flights, peer, id_seq));
        if let Some(flight) = id.and_then(|id| flights.get_mut(&id)) {
            flight.failure = Some(failure);
        }
    }
    any
}

/// The probe that a reply or an error of this host belongs to. Where a link-local host was probed without a zone, the
/// kernel chose the link, and only the answer says which.
fn flown(flights: &HashMap<Id, Flight>, peer: Peer, id_seq: u32) -> Option<Id> {
    let anywhere = Peer { scope: 0, ..peer };
    [peer, anywhere].map(|peer| (peer, id_seq)).into_iter().find(|id| flights.contains_key(id))
}
