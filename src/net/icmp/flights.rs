//! The probes on their way, 32 bytes each with an IPv4 address, 48 with an IPv6 one; no map is searched for any of them.
//!
//! Each has a place and a generation; both travel in its identifier and sequence number, so that a reply says which probe
//! it is for. A place that is free again is taken last. The probes of a session hang together in the order of sending.

use std::{collections::HashMap, net::IpAddr};

use super::{Failure, Peer};

/// A probe on its way, or a free place.
#[derive(Clone, Copy, Debug)]
struct Flight {
    /// When it was handed to the kernel, in two halves: one whole would want four bytes more.
    sent: [u32; 2],
    /// How long after that it left the kernel; 0 where that is not known.
    delay: u32,
    index: u32,
    previous: u32,
    next: u32,
    session: u16,
    generation: u8,
    state: u8,
}

const _: () = assert!(size_of::<Flight>() == 28);

/// How often it was sent before.
const RESENDS: u8 = 0x1f;
/// Whether the place is taken.
const TAKEN: u8 = 0x80;
/// Whether an error has come.
const FAILED: u8 = 0x40;

/// No place.
const NONE: u32 = u32::MAX;
/// What of a number is the place; the rest is the generation.
const PLACE: u32 = 0x00ff_ffff;

/// The probes of a session, in the order in which they were sent; or the free places in that in which they became free.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

/// What is known of a probe on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The caller's number.
    pub(super) index: u32,
    /// Its session.
    pub(super) session: u16,
    /// How often it was sent before.
    pub(super) resends: u8,
    /// When it was handed to the kernel.
    pub(super) sent: u64,
    /// How long after that it left the kernel.
    pub(super) delay: Option<u32>,
}

/// All probes on their way.
#[derive(Debug)]
pub(super) struct Flights {
    v6: bool,
    places: Vec<Flight>,
    /// 4 bytes each, or 16 and the interface.
    addresses: Vec<u8>,
    free: List,
    flying: usize,
    most: usize,
    failures: HashMap<u32, Failure>,
}

impl Flights {
    /// None yet; at most so many, whose numbers fit into the bits of a mask.
    pub(super) fn new(v6: bool, mask: u32) -> Self {
        Self {
            v6,
            places: vec![],
            addresses: vec![],
            free: List::default(),
            flying: 0,
            most: (mask & PLACE) as usize + 1,
            failures: HashMap::new(),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.flying
    }

    /// Whether there is no room for another.
    pub(super) fn is_full(&self) -> bool {
        self.flying >= self.most
    }

    /// Takes a place for a probe; gives its number. `None` where all are taken.
    pub(super) fn take(&mut self, session: u16, index: u32, resends: u8, peer: Peer) -> Option<u32> {
        let place = self.place()?;
        let flight = &mut self.places[place as usize];
        flight.generation = flight.generation.wrapping_add(1);
        (flight.session, flight.index, flight.delay) = (session, index, 0);
        flight.state = TAKEN | resends.min(RESENDS);
        let number = u32::from(flight.generation) << 24 | place;
        self.flying += 1;
        self.set_peer(place, peer);
        Some(number)
    }

    fn place(&mut self) -> Option<u32> {
        if self.free.head != NONE {
            let place = self.free.head;
            let mut free = self.free;
            self.unlink(place, &mut free);
            self.free = free;
            return Some(place);
        }
        let place = u32::try_from(self.places.len()).ok().filter(|_| self.places.len() < self.most)?;
        self.places.push(Flight {
            sent: [0; 2],
            delay: 0,
            index: 0,
            previous: NONE,
            next: NONE,
            session: 0,
            generation: 0,
            state: 0,
        });
        self.addresses.resize(self.places.len() * self.stride(), 0);
        Some(place)
    }

    /// It was sent.
    pub(super) fn launch(&mut self, number: u32, sent: u64, list: &mut List) {
        let place = number & PLACE;
        self.places[place as usize].sent = halves(sent);
        self.link(place, list);
    }

    /// It was not sent after all.
    pub(super) fn give_back(&mut self, number: u32) {
        self.release(number & PLACE);
    }

    /// The probe with a number, if it is on its way; of a number of 16 bits the generation is not known.
    pub(super) fn find(&self, number: u32, mask: u32) -> Option<(u32, Known)> {
        let place = number & PLACE & mask;
        let flight = self.places.get(place as usize).filter(|flight| flight.state & TAKEN != 0)?;
        let full = u32::from(flight.generation) << 24 | place;
        (full & mask == number & mask).then(|| (full, known(flight)))
    }

    /// Its host.
    pub(super) fn peer(&self, number: u32) -> Peer {
        let at = (number & PLACE) as usize * self.stride();
        let bytes = &self.addresses[at..at + self.stride()];
        if let [a, b, c, d] = *bytes {
            return IpAddr::from([a, b, c, d]).into();
        }
        let (octets, scope) = bytes.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Peer { address: IpAddr::from(*octets), scope: scope.try_into().map_or(0, u32::from_ne_bytes) }
    }

    /// It left the kernel so much later than it was handed over.
    pub(super) fn left(&mut self, number: u32, delay: u32) {
        self.places[(number & PLACE) as usize].delay = delay;
    }

    /// An error has come; an answer may still.
    pub(super) fn fail(&mut self, number: u32, failure: Failure) {
        self.places[(number & PLACE) as usize].state |= FAILED;
        self.failures.insert(number, failure);
    }

    /// Its end; gives the error that has come, if any.
    pub(super) fn end(&mut self, number: u32, list: &mut List) -> Option<Failure> {
        let place = number & PLACE;
        let failed = self.places[place as usize].state & FAILED != 0;
        self.unlink(place, list);
        self.release(place);
        failed.then(|| self.failures.remove(&number)).flatten()
    }

    /// The first of a list.
    pub(super) fn first(&self, list: List) -> Option<(u32, Known)> {
        let flight = self.places.get(list.head as usize)?;
        Some((u32::from(flight.generation) << 24 | list.head, known(flight)))
    }

    fn release(&mut self, place: u32) {
        self.places[place as usize].state = 0;
        self.flying -= 1;
        let mut free = self.free;
        self.link(place, &mut free);
        self.free = free;
    }

    fn link(&mut self, place: u32, list: &mut List) {
        let flight = &mut self.places[place as usize];
        (flight.previous, flight.next) = (list.tail, NONE);
        match self.places.get_mut(list.tail as usize) {
            Some(behind) => behind.next = place,
            None => list.head = place,
        }
        list.tail = place;
    }

    fn unlink(&mut self, place: u32, list: &mut List) {
        let Flight { previous, next, .. } = self.places[place as usize];
        match self.places.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => list.head = next,
        }
        match self.places.get_mut(next as usize) {
            Some(after) => after.previous = previous,
            None => list.tail = previous,
        }
    }

    fn set_peer(&mut self, place: u32, peer: Peer) {
        let at = place as usize * self.stride();
        match (peer.address, self.v6) {
            (IpAddr::V4(address), false) => self.addresses[at..at + 4].copy_from_slice(&address.octets()),
            (IpAddr::V6(address), true) => {
                self.addresses[at..at + 16].copy_from_slice(&address.octets());
                self.addresses[at + 16..at + 20].copy_from_slice(&peer.scope.to_ne_bytes());
            }
            // A session asks for hosts of its own family; the kernel refuses others.
            _ => {
                let end = at + self.stride();
                self.addresses[at..end].fill(0);
            }
        }
    }

    fn stride(&self) -> usize {
        if self.v6 { 20 } else { 4 }
    }
}

fn known(flight: &Flight) -> Known {
    let [high, low] = flight.sent.map(u64::from);
    Known {
        index: flight.index,
        session: flight.session,
        resends: flight.state & RESENDS,
        sent: high << 32 | low,
        delay: (flight.delay > 0).then_some(flight.delay),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a number")]
fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

#[cfg(test)]
mod tests;
