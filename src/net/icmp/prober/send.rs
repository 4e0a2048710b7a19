//! The prober's voice: sessions take turns, each at its pace, all within the window.

use std::{cmp::Reverse, sync::atomic::Ordering};

use super::{
    super::{Event, Probe, What, clock, failure::Failure, packet},
    Flight, PAUSE, Prober, Waiting,
    receive::drain,
};

/// Packets that are sent before replies are read again.
const SEND_BATCH: usize = 64;
/// Waiting probes that are looked at for one whose network may be probed now.
const LOOK_AHEAD: usize = 64;

enum Choice {
    /// The session has nothing to send.
    Nothing,
    /// Not before this time.
    Later(u64),
    Now(Waiting),
}

impl Prober {
    /// Sends what may be sent; when to look again, if there is more.
    pub(super) fn send(&mut self) -> Option<u64> {
        let now = clock::now().monotonic;
        self.window.grow(now);
        if self.blocked > now {
            return self.has_waiting().then_some(self.blocked);
        }
        let (mut wake, mut sent, mut fruitless) = (None, 0, 0);
        while fruitless < self.turns.len() {
            if sent == SEND_BATCH {
                return Some(0);
            }
            let Some(id) = self.turns.pop_front() else { break };
            self.turns.push_back(id);
            let now = clock::now().monotonic;
            match self.choose(id, now) {
                Choice::Nothing => fruitless += 1,
                Choice::Later(at) => {
                    wake = Some(wake.map_or(at, |wake: u64| wake.min(at)));
                    fruitless += 1;
                }
                Choice::Now(waiting) => {
                    fruitless = 0;
                    sent += 1;
                    if !self.launch(id, waiting) {
                        return Some(self.blocked);
                    }
                }
            }
        }
        wake
    }

    fn has_waiting(&self) -> bool {
        self.sessions.values().any(|state| !state.queue.is_empty())
    }

    /// The next probe of a session that its pace and the window allow.
    fn choose(&mut self, id: u32, now: u64) -> Choice {
        let Some(state) = self.sessions.get_mut(&id) else { return Choice::Nothing };
        if state.queue.is_empty() {
            return Choice::Nothing;
        }
        if state.pacer.next() > now {
            return Choice::Later(state.pacer.next());
        }
        if !self.window.has_room(state.options.size, now) {
            return Choice::Later(self.window.opens().unwrap_or(now));
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

    /// Sends a probe; `false` where the kernel cannot take any now.
    fn launch(&mut self, session: u32, waiting: Waiting) -> bool {
        let Some(state) = self.sessions.get_mut(&session) else { return true };
        let Probe { index, peer } = waiting.probe;
        let mask = self.socket.id_seq_mask();
        let id_seq = loop {
            self.serial += 1;
            let id_seq = state.key.id_seq(peer, index, self.serial) & mask;
            if !self.flights.contains_key(&(peer, id_seq)) {
                break id_seq;
            }
        };
        state.key.write(peer, id_seq, session, index, state.options.size, &mut self.payload);
        packet::build(self.v6, id_seq, &self.payload, &mut self.packet);
        // Taken before the call, so that no answer comes before its question.
        let sent = clock::now();
        let timeout = u64::try_from(state.options.timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = sent.monotonic.saturating_add(timeout).saturating_add(1);
        let id = (peer, id_seq);
        let (flights, buffer) = (&mut self.flights, &mut self.buffer);
        let flown =
            self.socket.send(&self.packet, peer, &state.options, |socket| drain(socket, flights, buffer));
        match flown {
            Ok(()) => {
                state.pacer.sent(peer.address, sent.monotonic);
                self.window.sent(state.options.size, sent.monotonic);
                state.counts.packets.fetch_add(1, Ordering::Relaxed);
                state.counts.sent.fetch_add(u64::from(waiting.resends == 0), Ordering::Relaxed);
                state.in_flight += 1;
                let flight = Flight { session, waiting, sent, deadline, tainted: false, failure: None };
                self.flights.insert(id, flight);
                self.deadlines.push(Reverse((deadline, id)));
                true
            }
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) =>
            {
                state.queue.push_front(waiting);
                self.blocked = sent.monotonic + PAUSE;
                false
            }
            Err(error) => {
                state.pacer.sent(peer.address, sent.monotonic);
                let failure = Failure::of_send(&error, self.v6);
                // What was sent once and lost here was sent, whatever became of the second try.
                let what = if waiting.resends > 0 { What::Lost(failure) } else { What::Refused(failure) };
                state.pending.push(Event { index, what });
                true
            }
        }
    }
}
