//! ICMP echoes: one prober thread for each address family, shared by all jobs. Knows hosts and probes, no job and no kind.
//!
//! A job opens a `Session`, submits probes and reads what became of them. Each probe comes to exactly one end:
//! answered, lost when its own timeout has passed, or refused by this machine. What comes later is `Extra`.

#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod failure;
#[doc(hidden)]
pub mod mark;
#[doc(hidden)]
pub mod pace;
#[doc(hidden)]
pub mod packet;
mod prober;
#[doc(hidden)]
pub mod socket;
#[doc(hidden)]
pub mod window;

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

pub use failure::Failure;
pub use pace::Pace;
use prober::{Command, Prober};

use super::Error;
use crate::outcome::Reason;

/// A host: its address and, where that is link-local, the index of the interface behind which it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// The interface's index; 0 where the address says enough.
    pub scope: u32,
}

impl Peer {
    /// The address as the kernel takes it.
    pub fn socket_address(self) -> SocketAddr {
        match self.address {
            IpAddr::V4(address) => (address, 0).into(),
            IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, self.scope).into(),
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self { address, scope: 0 }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() => address.scope_id(),
            _ => 0,
        };
        Self { address: address.ip(), scope }
    }
}

/// Where probes are sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address of this machine, with the interface's index where it is link-local.
    Address(IpAddr, u32),
    /// The interface with this index.
    Interface(u32),
}

/// What all probes of a session have in common.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of payload, at least 16.
    pub size: usize,
    /// How long each waits for its answer.
    pub timeout: Duration,
    /// The TTL or hop limit; the system's own where `None`.
    pub ttl: Option<u8>,
    /// The traffic class.
    pub tos: u8,
    /// Whether routers must not split them.
    pub df: bool,
    /// Where they are sent from.
    pub source: Option<Source>,
    /// How fast they are sent.
    pub pace: Pace,
}

impl Options {
    /// Small probes at once, with this timeout.
    pub fn new(timeout: Duration) -> Self {
        Self { size: 56, timeout, ttl: None, tos: 0, df: false, source: None, pace: Pace::default() }
    }
}

/// One echo to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The caller's own number for it, which its events carry.
    pub index: u32,
    /// The host; its family must be the session's.
    pub peer: Peer,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The probe's number.
    pub index: u32,
    /// What became of it.
    pub what: What,
}

/// What became of a probe; all but `Extra` are its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its host answered in time.
    Answered {
        /// The round trip.
        rtt: Duration,
        /// TTL or hop limit of the answer.
        ttl: Option<u8>,
    },
    /// No answer came in time: a timeout, or the error that came instead.
    Lost(Failure),
    /// This machine did not send it.
    Refused(Failure),
    /// One more answer of its host: a duplicate where it was answered, else a late one.
    Extra,
}

/// What a session counts while it goes.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    packets: AtomicU64,
    local_drops: AtomicU64,
}

impl Counts {
    /// Probes that were sent, each once.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Packets that were sent, those included that were sent again after a loss on this machine.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Packets that this machine itself lost while probes of the session were on their way.
    pub fn local_drops(&self) -> u64 {
        self.local_drops.load(Ordering::Relaxed)
    }
}

/// A job's way to a prober; dropping it forgets what is still on its way.
#[derive(Debug)]
pub struct Session {
    id: u32,
    handle: Handle,
    events: Option<mpsc::Receiver<Vec<Event>>>,
    counts: Arc<Counts>,
}

/// What is kept of a running prober thread.
#[derive(Clone, Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    waker: Arc<UnixStream>,
    raw: bool,
    foreign: Arc<AtomicU64>,
}

/// The prober threads of the process, each started at its first use.
#[derive(Debug, Default)]
pub struct Probers {
    v4: Mutex<Option<Handle>>,
    v6: Mutex<Option<Handle>>,
    sessions: AtomicU32,
}

/// Commands and batches of events that may wait.
const QUEUE: usize = 256;

impl Probers {
    /// Opens a session of a family, and starts its prober where none runs.
    ///
    /// Fails where this process may not send ICMP, or the machine does not speak the family.
    pub async fn open(&self, v6: bool, options: Options) -> Result<Session, Error> {
        let handle = self.handle(v6, |_| Ok(()))?;
        let id = self.sessions.fetch_add(1, Ordering::Relaxed);
        let key = mark::Key::new().map_err(|source| Error::Icmp { source })?;
        let (sender, events) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let open = Command::Open { id, key, options, events: sender, counts: counts.clone() };
        let session = Session { id, handle, events: Some(events), counts };
        session.command(open).await.map_err(|source| Error::Icmp { source })?;
        Ok(session)
    }

    /// Sends one echo. `Err`: this process could not look; inside, why no answer came.
    pub async fn probe_once(
        &self,
        peer: Peer,
        timeout: Duration,
    ) -> Result<Result<Duration, Failure>, Error> {
        let mut session = self.open(peer.address.is_ipv6(), Options::new(timeout)).await?;
        session.submit(vec![Probe { index: 0, peer }]).await?;
        loop {
            for event in session.next().await? {
                match event.what {
                    What::Answered { rtt, .. } => return Ok(Ok(rtt)),
                    What::Lost(failure) | What::Refused(failure) => return Ok(Err(failure)),
                    What::Extra => {}
                }
            }
        }
    }

    /// Whether the family is probed through a raw socket rather than the kernel's ping socket.
    pub fn is_raw(&self, v6: bool) -> Result<bool, Error> {
        self.handle(v6, |_| Ok(())).map(|handle| handle.raw)
    }

    /// Packets that were no reply to any probe of ours.
    pub fn foreign(&self, v6: bool) -> u64 {
        let slot = if v6 { &self.v6 } else { &self.v4 };
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().map_or(0, |handle| handle.foreign.load(Ordering::Relaxed))
    }

    /// Starts a family's prober with a receive buffer of this many bytes, for tests of what a small one loses.
    #[doc(hidden)]
    pub fn start_with_buffer(&self, v6: bool, bytes: usize) -> Result<(), Error> {
        let shrink = |socket: &mut socket::IcmpSocket| socket.set_buffer(bytes);
        self.handle(v6, shrink).map(|_| ())
    }

    fn handle(
        &self,
        v6: bool,
        prepare: impl FnOnce(&mut socket::IcmpSocket) -> io::Result<()>,
    ) -> Result<Handle, Error> {
        let slot = if v6 { &self.v6 } else { &self.v4 };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = slot.as_ref().filter(|handle| !handle.commands.is_closed()) {
            return Ok(handle.clone());
        }
        let mut socket = socket::IcmpSocket::open(v6)?;
        let handle = prepare(&mut socket).and_then(|()| start(v6, socket));
        let handle = handle.map_err(|source| Error::Icmp { source })?;
        Ok(slot.insert(handle).clone())
    }
}

/// A key that nobody else knows, such as for the order of a sweep.
pub fn random_key() -> Result<[u64; 2], Error> {
    crate::sys::icmp::random_key()
        .map_err(|source| Error::System { operation: "read random bytes".into(), source })
}

fn start(v6: bool, socket: socket::IcmpSocket) -> io::Result<Handle> {
    let (waker, wakes) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    wakes.set_nonblocking(true)?;
    let (commands, received) = mpsc::channel(QUEUE);
    let foreign = Arc::new(AtomicU64::new(0));
    let raw = socket.is_raw();
    let prober = Prober::new(v6, socket, received, wakes, foreign.clone());
    let name = if v6 { "icmp6" } else { "icmp4" };
    std::thread::Builder::new().name(name.into()).spawn(move || prober.run())?;
    Ok(Handle { commands, waker: Arc::new(waker), raw, foreign })
}

impl Session {
    /// Queues probes; they are sent in order as far as the pace allows.
    ///
    /// The caller bounds how many are on their way: each probe waits in memory until its end.
    pub async fn submit(&self, probes: Vec<Probe>) -> Result<(), Error> {
        let sent = self.command(Command::Probes { id: self.id, probes }).await;
        sent.map_err(|source| Error::Icmp { source })
    }

    /// Waits for what becomes of probes. Safe to abandon and call again.
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        let events = match self.events.as_mut() {
            Some(events) => events.recv().await,
            None => None,
        };
        events.ok_or_else(|| Error::Icmp { source: stopped() })
    }

    /// What it has counted so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    async fn command(&self, command: Command) -> io::Result<()> {
        self.handle.commands.send(command).await.map_err(|_| stopped())?;
        self.handle.wake();
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The prober sees that nobody listens any more, once it is awake.
        self.events = None;
        self.handle.wake();
    }
}

impl Handle {
    fn wake(&self) {
        // A full pipe is a prober that will wake anyway.
        let _ = self.waker.as_ref().write(&[1]);
    }
}

fn stopped() -> io::Error {
    io::Error::other("the prober has stopped")
}

/// How to get the right to send ICMP.
pub(super) const CURE: &str = "allow it to the program, `setcap cap_net_raw+p netjobs`, or to its group, \
    `sysctl net.ipv4.ping_group_range=\"0 2147483647\"`, or in Kubernetes with \
    `securityContext: {capabilities: {add: [NET_RAW]}}`";

/// The failure of a probe that nothing answered.
const fn silence() -> Failure {
    Failure { reason: Reason::Timeout, offender: None, local: false }
}
