//! The prober thread: it owns a socket and every probe on its way, and nobody shares its state.
//!
//! The order of its loop is strict: receive, errors, expiry, send, sleep. Since it reads before it judges, a probe is
//! lost only when no answer waits in the buffer; since it reads before it sends, a starved thread only sends more slowly.

mod receive;
mod send;
mod sessions;
mod stamps;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    os::fd::AsFd,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use tokio::sync::mpsc::{self, error::TryRecvError};

pub(super) use self::sessions::Command;
use self::{
    send::{Blocked, Outbox},
    sessions::{Sessions, Waiting},
    stamps::Stamps,
};
use super::{
    bell::Ear,
    clock::{self, Clocks},
    flights::Flights,
    mark::Key,
    socket::IcmpSocket,
    window::Window,
};
use crate::sys::{self, datagram::Batch};

pub(super) struct Prober {
    v6: bool,
    socket: IcmpSocket,
    commands: mpsc::Receiver<Command>,
    ear: Ear,
    foreign: Arc<AtomicU64>,
    key: Key,
    tag: u16,
    sessions: Sessions,
    /// Those that have something to send.
    turns: VecDeque<u16>,
    flights: Flights,
    /// When the first probe of a session may be overdue, one for each that has any on its way.
    alarms: BinaryHeap<Reverse<(u64, u16)>>,
    window: Window,
    clocks: Clocks,
    stamps: Stamps,
    /// Whether the kernel leaves the stamp of a packet out that says so.
    waives_stamps: bool,
    /// When this machine last lost packets: the answer to what was on its way then may be among them.
    dropped: Option<u64>,
    blocked: Blocked,
    outbox: Outbox,
    /// Room for what comes; `None` while it is read.
    batch: Option<Batch>,
    errors: Option<Batch>,
    /// Room for the largest reply.
    slot: usize,
    /// Whether something may have come.
    heard: bool,
    /// Errors in a row that nothing explains.
    strange: u32,
    /// Until then the socket is not read: it reports an error that nothing explains, and would keep us awake for ever.
    deaf_until: u64,
}

/// Errors in a row that nothing explains, after which each further one costs a pause.
const STRANGE: u32 = 3;
const LONG_PAUSE: u64 = 200_000_000;
/// Room for replies; a page that none has reached takes no memory.
const ROOM: usize = 128 << 10;
const ERROR_SLOT: usize = 256;
/// What stands before a payload at most: an IPv4 header with options, and that of the echo.
const HEADERS: usize = 68;

impl Prober {
    pub(super) fn new(
        v6: bool,
        socket: IcmpSocket,
        (key, tag): (Key, u16),
        commands: mpsc::Receiver<Command>,
        ear: Ear,
        foreign: Arc<AtomicU64>,
    ) -> Self {
        Self {
            v6,
            commands,
            ear,
            foreign,
            key,
            tag,
            sessions: Sessions::default(),
            turns: VecDeque::new(),
            flights: Flights::new(v6, socket.id_seq_mask()),
            alarms: BinaryHeap::new(),
            window: Window::new(socket.window(), clock::monotonic()),
            clocks: Clocks::default(),
            stamps: Stamps::new(socket.is_numbered()),
            waives_stamps: sys::icmp::takes(libc::SO_TIMESTAMPING),
            dropped: None,
            blocked: Blocked::default(),
            outbox: Outbox::default(),
            batch: Some(Batch::new(ROOM)),
            errors: Some(Batch::new(ERROR_SLOT * sys::datagram::MOST)),
            slot: ERROR_SLOT,
            heard: true,
            strange: 0,
            deaf_until: 0,
            socket,
        }
    }

    /// Runs until nobody can ask for anything any more.
    pub(super) fn run(mut self) {
        while self.take_commands() {
            // Taken before the buffer is read: an answer that comes later than this is not yet overdue.
            let now = clock::monotonic();
            let mut emptied = true;
            if self.heard || self.flights.count() > 0 {
                emptied = now < self.deaf_until || self.receive();
                if emptied {
                    self.look_for_drops(now);
                    self.expire(now);
                }
            }
            let wake = self.send();
            let due = self.sessions.deliver(clock::monotonic());
            // What was just sent may be stamped and answered already.
            self.heard = wake.sent || !emptied;
            if !self.heard {
                self.sleep([wake.at, due]);
            }
        }
    }

    fn take_commands(&mut self) -> bool {
        // Read before the commands: those of a session come before its end.
        let closed = self.ear.closed();
        loop {
            match self.commands.try_recv() {
                Ok(open @ Command::Open { .. }) => self.open(open),
                Ok(Command::Probes { id, probes }) => {
                    let Some((place, state)) = self.sessions.named(id) else { continue };
                    state.queue.extend(probes.into_iter().map(|probe| Waiting { probe, resends: 0 }));
                    if !std::mem::replace(&mut state.is_listed, true) {
                        self.turns.push_back(place);
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        for id in closed {
            self.close(id);
        }
        true
    }

    fn open(&mut self, mut command: Command) {
        if let Command::Open { options, .. } = &mut command {
            options.is_stamped |= !self.waives_stamps;
            self.slot = self.slot.max((options.size + HEADERS).next_multiple_of(64));
        }
        self.sessions.open(self.v6, &self.key, command, clock::monotonic());
    }

    fn close(&mut self, id: u64) {
        let Some((place, mut state)) = self.sessions.close(id) else { return };
        while let Some((number, _)) = self.flights.first(state.list) {
            self.flights.end(number, &mut state.list);
        }
        if state.is_listed {
            self.turns.retain(|turn| *turn != place);
        }
    }

    /// When the next probe is overdue. Alarms of probes that have ended are put off or forgotten.
    fn next_alarm(&mut self) -> Option<u64> {
        while let Some(Reverse((at, place))) = self.alarms.peek().copied() {
            let state = self.sessions.get(place).filter(|state| state.alarm == Some(at));
            let Some(state) = state else {
                self.alarms.pop();
                continue;
            };
            let deadline = self.flights.first(state.list).map(|(_, known)| state.deadline(known.sent));
            if deadline == Some(at) {
                return deadline;
            }
            self.alarms.pop();
            state.alarm = deadline;
            self.alarms.extend(deadline.map(|deadline| Reverse((deadline, place))));
        }
        None
    }

    /// Sleeps until something comes, a probe is overdue, or one of these times.
    fn sleep(&mut self, wakes: [Option<u64>; 2]) {
        let overdue = self.next_alarm();
        let now = clock::monotonic();
        let muted = now < self.deaf_until;
        let until = wakes.into_iter().chain([overdue, muted.then_some(self.deaf_until)]).flatten().min();
        let timeout = until.map(|at| TimeSpec::from(Duration::from_nanos(at.saturating_sub(now))));
        let mut polled = vec![PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
        if !muted {
            polled.push(PollFd::new(self.socket.as_fd(), PollFlags::POLLIN));
        }
        if self.ear.fall_asleep() && self.commands.is_empty() {
            // An interrupted sleep is a short one.
            let _ = ppoll(&mut polled, timeout, None);
        }
        self.ear.wake();
        self.heard = muted || polled.get(1).is_some_and(|socket| socket.any().unwrap_or(false));
    }
}
