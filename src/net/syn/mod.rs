//! Asking hosts by TCP SYN over a raw socket: who is alive, without a connection. Knows hosts and answers, no job and no kind.
//!
//! The turn of an `Asker` has a strict order: receive, errors, expiry, send, sleep. Since it reads before it judges, a host
//! is lost only when no answer waits in the buffer; since it reads before it sends, a starved process only asks more slowly.

#[doc(hidden)]
pub mod cookie;
#[doc(hidden)]
pub mod packet;
mod socket;
mod turn;

use std::{
    collections::{HashMap, VecDeque},
    io,
    time::Duration,
};

use cookie::Key;
use socket::SynSocket;

use super::{
    Error,
    icmp::{Failure, Pace, Peer, clock::Clocks, drops::Resends, pace::Pacer, random_key, window::Window},
};

/// Asks hosts of one family at one port.
pub struct Asker {
    socket: SynSocket,
    key: Key,
    port: u16,
    timeout: Duration,
    queue: VecDeque<Waiting>,
    flights: HashMap<Peer, Flight>,
    /// In the order in which they were sent; an entry whose flight is gone says nothing.
    deadlines: VecDeque<(u64, Peer)>,
    window: Window,
    pacer: Pacer,
    clocks: Clocks,
    /// The kernel could not take a packet: nothing is sent before this time.
    blocked: u64,
    events: Vec<Event>,
    counts: Counts,
    resends: Resends,
}

/// What became of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The host.
    pub peer: Peer,
    /// What became of it.
    pub what: What,
}

/// What became of a host that was asked; all but `Extra` end the asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It answered in time.
    Answered {
        /// Whether it accepts connections; else it refuses them.
        is_open: bool,
        /// The round trip.
        rtt: Duration,
    },
    /// No answer came in time: a timeout, or the error that came instead.
    Lost(Failure),
    /// This machine did not send it.
    Refused(Failure),
    /// An answer to an earlier asking, or one more.
    Extra {
        /// Whether it accepts connections.
        is_open: bool,
    },
}

/// What an asker counts while it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// SYNs that were sent, those included that were sent again after a loss on this machine.
    pub packets: u64,
    /// Packets that this machine itself lost while hosts were being asked.
    pub local_drops: u64,
    /// Packets to our ports that answer nothing that was asked.
    pub foreign: u64,
}

/// A host that waits to be asked.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    peer: Peer,
    /// How often it was asked before; it chooses the port.
    attempt: u32,
    /// How often this machine lost the answer before.
    resends: u16,
}

/// A SYN on its way.
struct Flight {
    waiting: Waiting,
    port: u16,
    sent: u64,
    deadline: u64,
    /// This machine lost packets while it was on its way: its answer may be among them.
    tainted: bool,
    failure: Option<Failure>,
}

/// Losses on this machine after which a host ends with that reason.
const MOST_RESENDS: u16 = 30;

/// Whether this process may ask that way.
pub fn is_allowed() -> bool {
    use socket2::{Domain, Protocol, Socket, Type};

    use crate::sys::rights::{Right, with};
    with(Right::NetRaw, || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))).is_ok()
}

impl Asker {
    /// Opens an asker of a family; must be called in a runtime.
    ///
    /// Fails where this process may not open raw sockets, or the machine does not speak the family.
    pub fn open(v6: bool, port: u16, timeout: Duration, pace: Pace) -> Result<Self, Error> {
        let socket = SynSocket::open(v6, port)?;
        let mut clocks = Clocks::default();
        let now = clocks.look();
        Ok(Self {
            key: Key(random_key()?),
            window: Window::new(socket.window(), now),
            pacer: Pacer::new(pace, now),
            socket,
            port,
            timeout,
            queue: VecDeque::new(),
            flights: HashMap::new(),
            deadlines: VecDeque::new(),
            clocks,
            blocked: 0,
            events: vec![],
            counts: Counts::default(),
            resends: Resends::new(MOST_RESENDS.into()),
        })
    }

    /// Queues a host to be asked for the `attempt`th time, from 0; it must not be on its way already.
    pub fn submit(&mut self, peer: Peer, attempt: u32) {
        self.queue.push_back(Waiting { peer, attempt, resends: 0 });
    }

    /// How many hosts wait to be asked.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What it has counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Asks for another receive buffer, for tests of what a small one loses.
    #[doc(hidden)]
    pub fn set_buffer(&mut self, bytes: usize) -> io::Result<()> {
        self.socket.set_buffer(bytes)
    }
}
