//! The prober thread: it owns a socket and every probe on its way, and nobody shares its state.
//!
//! The order of its loop is strict: receive, errors, expiry, send, sleep. Since it reads before it judges, a probe is
//! lost only when no answer waits in the buffer; since it reads before it sends, a starved thread only sends more slowly.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use tokio::sync::mpsc::{self, error::TryRecvError, error::TrySendError};

use super::{
    Counts, Event, Options, Peer, Probe, What,
    clock::{self, Moment},
    failure::Failure,
    mark::{self, Key},
    pace::Pacer,
    packet, silence,
    socket::{IcmpSocket, Received},
    window::Window,
};
use crate::outcome::Reason;

/// What a session asks for.
#[derive(Debug)]
pub(super) enum Command {
    Open { id: u32, key: Key, options: Options, events: mpsc::Sender<Vec<Event>>, counts: Arc<Counts> },
    Probes { id: u32, probes: Vec<Probe> },
}

/// A session as the thread knows it.
struct State {
    key: Key,
    options: Options,
    events: mpsc::Sender<Vec<Event>>,
    counts: Arc<Counts>,
    /// Events that have not been handed over.
    pending: Vec<Event>,
    extras: usize,
    queue: VecDeque<Waiting>,
    pacer: Pacer,
    in_flight: usize,
}

/// A probe that waits to be sent.
#[derive(Clone, Copy)]
struct Waiting {
    probe: Probe,
    /// How often it was sent before, and lost by this machine.
    resends: u16,
}

/// What a reply or an error must name to belong to a probe.
type Id = (Peer, u32);

/// A probe on its way.
struct Flight {
    session: u32,
    waiting: Waiting,
    sent: Moment,
    deadline: u64,
    /// This machine lost packets while it was on its way: its answer may be among them.
    tainted: bool,
    failure: Option<Failure>,
}

pub(super) struct Prober {
    v6: bool,
    socket: IcmpSocket,
    commands: mpsc::Receiver<Command>,
    wakes: UnixStream,
    foreign: Arc<AtomicU64>,
    sessions: HashMap<u32, State>,
    turns: VecDeque<u32>,
    flights: HashMap<Id, Flight>,
    deadlines: BinaryHeap<Reverse<(u64, Id)>>,
    window: Window,
    serial: u64,
    /// The kernel could not take a packet: nothing is sent before this time.
    blocked: u64,
    /// Errors in a row that nothing explains.
    strange: u32,
    buffer: Vec<u8>,
    payload: Vec<u8>,
    packet: Vec<u8>,
}

/// Packets that are read before errors, expiry and sending have their turn.
const BATCH: usize = 4096;
/// Packets that are sent before replies are read again.
const SEND_BATCH: usize = 64;
/// Waiting probes that are looked at for one whose network may be probed now.
const LOOK_AHEAD: usize = 64;
/// Answers beyond the first that a session is told of at a time; a flood of them is cut here.
const MOST_EXTRAS: usize = 4096;
/// Losses on this machine after which a probe ends with that reason.
const MOST_RESENDS: u16 = 30;
const PAUSE: u64 = 1_000_000;
const LONG_PAUSE: Duration = Duration::from_millis(100);

impl Prober {
    pub(super) fn new(
        v6: bool,
        socket: IcmpSocket,
        commands: mpsc::Receiver<Command>,
        wakes: UnixStream,
        foreign: Arc<AtomicU64>,
    ) -> Self {
        let window = Window::new(socket.window(), clock::now().monotonic);
        Self {
            v6,
            socket,
            commands,
            wakes,
            foreign,
            window,
            sessions: HashMap::new(),
            turns: VecDeque::new(),
            flights: HashMap::new(),
            deadlines: BinaryHeap::new(),
            serial: 0,
            blocked: 0,
            strange: 0,
            buffer: vec![0; 65_600],
            payload: Vec::new(),
            packet: Vec::new(),
        }
    }

    /// Runs until nobody can ask for anything any more.
    pub(super) fn run(mut self) {
        while self.take_commands() {
            // Taken before the buffer is read: an answer that comes later than this is not yet overdue.
            let now = clock::now().monotonic;
            let emptied = self.receive();
            self.read_errors();
            if emptied {
                self.look_for_drops();
                self.expire(now);
            }
            let wake = self.send();
            let stuck = self.deliver();
            let wake = if emptied { wake } else { Some(0) };
            self.sleep(wake, stuck);
        }
    }

    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open { id, key, options, events, counts }) => {
                    let pacer = Pacer::new(options.pace, clock::now().monotonic);
                    let (pending, queue) = (Vec::new(), VecDeque::new());
                    let state = State {
                        key,
                        options,
                        events,
                        counts,
                        pending,
                        extras: 0,
                        queue,
                        pacer,
                        in_flight: 0,
                    };
                    self.sessions.insert(id, state);
                    self.turns.push_back(id);
                }
                Ok(Command::Probes { id, probes }) => {
                    if let Some(state) = self.sessions.get_mut(&id) {
                        state.queue.extend(probes.into_iter().map(|probe| Waiting { probe, resends: 0 }));
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Reads what has come; whether all of it was read.
    fn receive(&mut self) -> bool {
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

    fn take(&mut self, received: Received, buffer: &[u8]) {
        let packet = &buffer[..received.length.min(buffer.len())];
        if self.credit(received, packet).is_none() {
            self.foreign.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Credits a reply to its probe; `None` where it is not a reply to any of ours.
    fn credit(&mut self, received: Received, packet: &[u8]) -> Option<()> {
        let echo = self.socket.parse(packet)?;
        let (session, index) = mark::read(echo.payload)?;
        let state = self.sessions.get_mut(&session)?;
        let genuine = echo.payload.len() == state.options.size
            && state.key.verify(received.peer.address, echo.id_seq, echo.payload);
        if !genuine {
            return None;
        }
        let id = (received.peer, echo.id_seq);
        let own = self.flights.get(&id).is_some_and(|flight| flight.session == session);
        let Some(flight) = own.then(|| self.flights.remove(&id)).flatten() else {
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

    fn read_errors(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read_errors_into(&mut buffer);
        self.buffer = buffer;
    }

    /// Notes what errors say of their probes; whether there were any. A reply that still comes wins over them.
    fn read_errors_into(&mut self, buffer: &mut [u8]) -> bool {
        drain(&mut self.socket, &mut self.flights, buffer)
    }

    /// What this machine lost may be the answer to any probe on its way.
    fn look_for_drops(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let drops = self.socket.new_drops();
        if drops == 0 {
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

    fn expire(&mut self, now: u64) {
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

    /// Sends what may be sent; when to look again, if there is more.
    fn send(&mut self) -> Option<u64> {
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

    /// Hands events over and forgets sessions that nobody holds; whether some could not be handed over yet.
    fn deliver(&mut self) -> bool {
        let mut stuck = false;
        self.sessions.retain(|_, state| {
            if state.pending.is_empty() {
                return !state.events.is_closed();
            }
            match state.events.try_send(std::mem::take(&mut state.pending)) {
                Ok(()) => state.extras = 0,
                Err(TrySendError::Full(pending)) => {
                    state.pending = pending;
                    stuck = true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
            true
        });
        let (sessions, flights) = (&self.sessions, &mut self.flights);
        if self.turns.len() > sessions.len() {
            self.turns.retain(|id| sessions.contains_key(id));
            flights.retain(|_, flight| sessions.contains_key(&flight.session));
            self.deadlines.retain(|Reverse((_, id))| flights.contains_key(id));
        }
        stuck
    }

    /// Sleeps until something comes, a probe is overdue, or `wake`.
    fn sleep(&mut self, wake: Option<u64>, stuck: bool) {
        let now = clock::now().monotonic;
        let overdue = self.deadlines.peek().map(|Reverse((deadline, _))| *deadline);
        let retry = stuck.then_some(now + 5 * PAUSE);
        let until = [wake, overdue, retry].into_iter().flatten().min();
        let timeout = until.map(|at| TimeSpec::from(Duration::from_nanos(at.saturating_sub(now))));
        // A socket that reports an error which nothing explains would keep us awake for ever.
        let muted = self.strange > 3;
        let timeout = if muted { Some(TimeSpec::from(LONG_PAUSE)) } else { timeout };
        let mut polled = vec![PollFd::new(self.wakes.as_fd(), PollFlags::POLLIN)];
        if !muted {
            polled.push(PollFd::new(self.socket.as_fd(), PollFlags::POLLIN));
        }
        // An interrupted sleep is a short one.
        let _ = ppoll(&mut polled, timeout, None);
        let woken = polled[0].any().unwrap_or(false);
        if muted || !polled.get(1).is_some_and(|socket| socket.any().unwrap_or(false)) {
            self.strange = 0;
        }
        if woken {
            let mut bytes = [0; 256];
            while self.wakes.read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        }
    }
}

enum Choice {
    /// The session has nothing to send.
    Nothing,
    /// Not before this time.
    Later(u64),
    Now(Waiting),
}

/// Reads the error queue and notes each error at its probe; whether there was any.
fn drain(socket: &mut IcmpSocket, flights: &mut HashMap<Id, Flight>, buffer: &mut [u8]) -> bool {
    let mut any = false;
    while let Some((peer, id_seq, failure)) = socket.receive_error(buffer) {
        any = true;
        // What the kernel says of a packet that it did not send comes back from the send itself.
        let flight = id_seq.filter(|_| !failure.local).and_then(|id_seq| flights.get_mut(&(peer, id_seq)));
        if let Some(flight) = flight {
            flight.failure = Some(failure);
        }
    }
    any
}

impl State {
    fn end(&mut self, index: u32, what: What) {
        self.in_flight -= 1;
        self.pending.push(Event { index, what });
    }

    fn extra(&mut self, index: u32) {
        if self.extras < MOST_EXTRAS {
            self.extras += 1;
            self.pending.push(Event { index, what: What::Extra });
        }
    }
}
