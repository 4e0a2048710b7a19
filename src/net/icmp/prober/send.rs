//! The prober's voice: sessions take turns, each at its pace, all within the window, and many packets go by one call.

use std::{cmp::Reverse, io, sync::atomic::Ordering};

use socket2::SockAddr;

use super::{
    super::{Probe, What, clock, failure::Failure, mark::Mark, packet},
    Prober, Waiting,
};
use crate::sys::{
    control,
    datagram::{MOST, Outgoing},
    icmp::STAMP_NUMBER,
};

/// The packets of one call.
#[derive(Default)]
pub(super) struct Outbox {
    picks: Vec<Pick>,
    bytes: Vec<u8>,
    control: Vec<u8>,
    dont_fragment: bool,
}

/// A packet that goes next.
struct Pick {
    session: u16,
    number: u32,
    waiting: Waiting,
    to: SockAddr,
    /// Where its bytes and its control messages end.
    ends: (usize, usize),
}

/// The kernel could not take a packet.
#[derive(Default)]
pub(super) struct Blocked {
    /// Nothing is sent before this time.
    until: u64,
    /// Since when it has taken none.
    since: Option<u64>,
}

/// What became of a turn to send.
#[derive(Default)]
pub(super) struct Wake {
    /// When to look again, if there is more.
    pub(super) at: Option<u64>,
    /// Whether anything was sent.
    pub(super) sent: bool,
}

enum Choice {
    /// The session has nothing to send.
    Nothing,
    /// Not before this time.
    Later(u64),
    Now(Waiting),
}

/// Waiting probes that are looked at for one whose network may be probed now.
const LOOK_AHEAD: usize = 64;
/// Bytes of one call.
const MOST_BYTES: usize = 64 << 10;
const PAUSE: u64 = 1_000_000;
/// How long the kernel may take nothing at all before probes end for want of it.
const PATIENCE: u64 = 2_000_000_000;
/// More left-over errors than this in front of one packet: send it a little later.
const MOST_TRIES: u32 = 64;

impl Prober {
    /// Sends what may be sent at once.
    pub(super) fn send(&mut self) -> Wake {
        if self.turns.is_empty() {
            return Wake::default();
        }
        let now = clock::monotonic();
        self.window.grow(now);
        if self.blocked.until > now {
            return Wake { at: Some(self.blocked.until), sent: false };
        }
        let at = self.pick(now);
        if self.outbox.picks.is_empty() {
            return Wake { at, sent: false };
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        self.flush(&mut outbox);
        outbox.picks.clear();
        outbox.bytes.clear();
        outbox.control.clear();
        self.outbox = outbox;
        Wake { at, sent: true }
    }

    /// Chooses the packets of the next call; when to look again for those that have to wait.
    fn pick(&mut self, now: u64) -> Option<u64> {
        let (mut wake, mut fruitless) = (None, 0);
        while fruitless < self.turns.len()
            && self.outbox.picks.len() < MOST
            && self.outbox.bytes.len() < MOST_BYTES
            && !self.flights.is_full()
        {
            let Some(place) = self.turns.pop_front() else { break };
            let later = match self.choose(place, now) {
                Choice::Nothing => {
                    if let Some(state) = self.sessions.get(place) {
                        state.is_listed = false;
                    }
                    continue;
                }
                Choice::Later(at) => Some(at),
                Choice::Now(waiting) => {
                    self.prepare(place, waiting, now);
                    None
                }
            };
            self.turns.push_back(place);
            fruitless = if later.is_some() { fruitless + 1 } else { 0 };
            wake = [wake, later].into_iter().flatten().min();
        }
        wake
    }

    /// The next probe of a session that its pace and the window allow.
    fn choose(&mut self, place: u16, now: u64) -> Choice {
        let Some(state) = self.sessions.get(place).filter(|state| !state.queue.is_empty()) else {
            return Choice::Nothing;
        };
        if state.pacer.next() > now {
            return Choice::Later(state.pacer.next());
        }
        if !self.window.has_room(state.options.size, now) {
            return Choice::Later(self.window.opens().unwrap_or(now));
        }
        // All packets of a call may be split, or none.
        if !self.outbox.picks.is_empty() && self.outbox.dont_fragment != state.options.df {
            return Choice::Later(now);
        }
        let mut soonest = u64::MAX;
        for at in 0..state.queue.len().min(LOOK_AHEAD) {
            let next = state.pacer.next_to(state.queue[at].probe.peer.address);
            if next <= now {
                return state.queue.remove(at).map_or(Choice::Nothing, Choice::Now);
            }
            soonest = soonest.min(next);
        }
        Choice::Later(soonest)
    }

    /// Makes a probe's packet.
    fn prepare(&mut self, place: u16, waiting: Waiting, now: u64) {
        let Some(state) = self.sessions.get(place) else { return };
        let Probe { index, peer } = waiting.probe;
        let Some(number) = self.flights.take(place, index, waiting.resends, peer) else { return };
        let Outbox { picks, bytes, control, dont_fragment } = &mut self.outbox;
        let id_seq = (number ^ self.key.veil(peer.address)) & self.socket.id_seq_mask();
        let generation = number.to_be_bytes()[0];
        let mark = Mark { generation, index, tag: self.tag, session: place };
        let size = state.options.size;
        packet::build(self.v6, id_seq, bytes, |out| state.key.write(peer.address, id_seq, mark, size, out));
        control.extend_from_slice(&state.control);
        if state.options.is_stamped && self.stamps.is_numbered() {
            control::push(control, libc::SOL_SOCKET, STAMP_NUMBER, &number.to_ne_bytes());
        }
        *dont_fragment = state.options.df;
        state.pacer.sent(peer.address, now);
        self.window.sent(size, now);
        let (to, ends) = (peer.socket_address().into(), (bytes.len(), control.len()));
        picks.push(Pick { session: place, number, waiting, to, ends });
    }

    /// Sends what was chosen. A probe fails by an error only if that is about itself: the kernel gives errors that are
    /// left over from others to whoever calls next, so the queue is read and the send tried again.
    fn flush(&mut self, outbox: &mut Outbox) {
        let (mut done, mut tries, mut empty_handed) = (0, 0, 0);
        while done < outbox.picks.len() {
            let now = self.clocks.look();
            let result = self.call(outbox, done);
            let error = match result {
                Ok(sent) if sent > 0 => {
                    self.blocked.since = None;
                    for pick in &outbox.picks[done..done + sent] {
                        self.launched(pick, now);
                    }
                    done += sent;
                    (tries, empty_handed) = (0, 0);
                    continue;
                }
                Ok(_) => io::Error::from_raw_os_error(libc::EAGAIN),
                Err(error) => error,
            };
            tries += 1;
            if self.stamps.failed() {
                self.socket.restart_numbers();
            }
            let refused = match error.raw_os_error() {
                Some(libc::EINTR) => false,
                Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                    if now.saturating_sub(*self.blocked.since.get_or_insert(now)) < PATIENCE {
                        return self.put_back(outbox.picks.drain(done..), now);
                    }
                    true
                }
                Some(libc::EMSGSIZE) => {
                    self.read_errors();
                    true
                }
                _ => {
                    // The first error may be left over from a queue that was read already.
                    empty_handed += u32::from(!self.read_errors());
                    if tries > MOST_TRIES {
                        return self.put_back(outbox.picks.drain(done..), now);
                    }
                    empty_handed > 1
                }
            };
            if refused {
                self.refuse(&outbox.picks[done], &error, now);
                done += 1;
                (tries, empty_handed) = (0, 0);
            }
        }
    }

    /// One call for all that is left.
    fn call(&mut self, outbox: &Outbox, done: usize) -> io::Result<usize> {
        let mut packets = [Outgoing { bytes: &[], to: None, from: None, control: &[] }; MOST];
        let (mut count, mut start) = (0, done.checked_sub(1).map_or((0, 0), |at| outbox.picks[at].ends));
        for (packet, pick) in packets.iter_mut().zip(&outbox.picks[done..]) {
            packet.bytes = &outbox.bytes[start.0..pick.ends.0];
            packet.control = &outbox.control[start.1..pick.ends.1];
            packet.to = Some(&pick.to);
            start = pick.ends;
            count += 1;
        }
        self.socket.send(&packets[..count], outbox.dont_fragment)
    }

    /// A packet has gone.
    fn launched(&mut self, pick: &Pick, now: u64) {
        let Some(state) = self.sessions.get(pick.session) else { return };
        if state.options.is_stamped {
            self.stamps.sent(pick.number);
        }
        state.counts.packets.fetch_add(1, Ordering::Relaxed);
        if pick.waiting.resends == 0 {
            state.counts.sent.fetch_add(1, Ordering::Relaxed);
            state.resends.earn();
        }
        state.in_flight += 1;
        self.flights.launch(pick.number, now, &mut state.list);
        if state.alarm.is_none() {
            let deadline = state.deadline(now);
            state.alarm = Some(deadline);
            self.alarms.push(Reverse((deadline, pick.session)));
        }
    }

    /// The kernel did not send a packet and never will.
    fn refuse(&mut self, pick: &Pick, error: &io::Error, now: u64) {
        self.flights.give_back(pick.number);
        let failure = Failure::of_send(error, self.v6);
        // What was sent once and lost here was sent, whatever became of the second try.
        let what = if pick.waiting.resends > 0 { What::Lost(failure) } else { What::Refused(failure) };
        self.sessions.tell(pick.session, pick.waiting.probe.index, what, now);
    }

    /// The kernel can take nothing now: these go a little later.
    fn put_back(&mut self, picks: impl DoubleEndedIterator<Item = Pick>, now: u64) {
        self.blocked.until = now + PAUSE;
        for pick in picks.rev() {
            self.flights.give_back(pick.number);
            if let Some(state) = self.sessions.get(pick.session) {
                state.queue.push_front(pick.waiting);
                if !std::mem::replace(&mut state.is_listed, true) {
                    self.turns.push_back(pick.session);
                }
            }
        }
    }
}
