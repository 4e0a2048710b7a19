//! The prober thread: it owns a socket and every probe on its way, and nobody shares its state.
//!
//! The order of its loop is strict: receive, errors, expiry, send, sleep. Since it reads before it judges, a probe is
//! lost only when no answer waits in the buffer; since it reads before it sends, a starved thread only sends more slowly.

mod receive;
mod send;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Arc, atomic::AtomicU64},
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
    mark::Key,
    pace::Pacer,
    socket::IcmpSocket,
    window::Window,
};

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

/// Answers beyond the first that a session is told of at a time; a flood of them is cut here.
const MOST_EXTRAS: usize = 4096;
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
