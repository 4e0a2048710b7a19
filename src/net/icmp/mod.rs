//! ICMP echoes: one prober thread for each address family, shared by all jobs. Knows hosts and probes, no job and no kind.
//!
//! A job opens a `Session`, submits probes and reads what became of them. Each probe comes to exactly one end:
//! answered, lost when its own timeout has passed, or refused by this machine. What comes later is `Extra`.

mod ancillary;
mod bell;
#[doc(hidden)]
pub mod clock;
pub(super) mod drops;
#[doc(hidden)]
pub mod failure;
mod flights;
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
mod words;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc::{self, error::TrySendError};

use bell::Bell;
pub use failure::Failure;
pub use pace::Pace;
use prober::{Command, Prober};
pub use words::{Counts, Event, Options, Peer, Probe, Source, What};

use super::Error;
use crate::outcome::Reason;

/// A job's way to a prober; dropping it forgets what is still on its way.
#[derive(Debug)]
pub struct Session {
    id: u64,
    handle: Handle,
    events: mpsc::Receiver<Vec<Event>>,
    counts: Arc<Counts>,
    /// Probes that have not come to their end.
    open: AtomicUsize,
}

/// What is kept of a running prober thread.
#[derive(Clone, Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    bell: Arc<Bell>,
    raw: bool,
    foreign: Arc<AtomicU64>,
}

/// The prober threads of the process, each started at its first use.
#[derive(Debug, Default)]
pub struct Probers {
    v4: Mutex<Option<Handle>>,
    v6: Mutex<Option<Handle>>,
    sessions: AtomicU64,
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
        let (sender, events) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let open = Command::Open { id, options, events: sender, counts: counts.clone() };
        let session = Session { id, handle, events, counts, open: AtomicUsize::new(0) };
        // The prober need not wake for it: it takes commands in order, and the first probes ring.
        session.command(open, false).await.map_err(|source| Error::Icmp { source })?;
        Ok(session)
    }

    /// Sends one echo. `Err`: this process could not look; inside, why no answer came.
    pub async fn probe_once(
        &self,
        peer: Peer,
        timeout: Duration,
    ) -> Result<Result<Duration, Failure>, Error> {
        // A second echo would end after the timeout: who asks once is told of a loss here instead.
        let options = Options { resends: 0, ..Options::new(timeout) };
        let mut session = self.open(peer.address.is_ipv6(), options).await?;
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

    /// Starts a family's prober as on a kernel before 6.13, whose transmit stamps carry no number of ours.
    #[doc(hidden)]
    pub fn start_counting(&self, v6: bool) -> Result<(), Error> {
        let count = |socket: &mut socket::IcmpSocket| {
            socket.count_stamps();
            Ok(())
        };
        self.handle(v6, count).map(|_| ())
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
        let key = mark::Key::new().map_err(|source| Error::Icmp { source })?;
        let tag = key.tag();
        let mut socket = socket::IcmpSocket::open(v6, tag)?;
        let handle = prepare(&mut socket).and_then(|()| start(v6, socket, (key, tag)));
        let handle = handle.map_err(|source| Error::Icmp { source })?;
        Ok(slot.insert(handle).clone())
    }
}

/// A key that nobody else knows, such as for the order of a sweep.
pub fn random_key() -> Result<[u64; 2], Error> {
    crate::sys::icmp::random_key()
        .map_err(|source| Error::System { operation: "read random bytes".into(), source })
}

fn start(v6: bool, socket: socket::IcmpSocket, secrets: (mark::Key, u16)) -> io::Result<Handle> {
    let (bell, ear) = bell::pair()?;
    let (commands, received) = mpsc::channel(QUEUE);
    let foreign = Arc::new(AtomicU64::new(0));
    let raw = socket.is_raw();
    let prober = Prober::new(v6, socket, secrets, received, ear, foreign.clone());
    let name = if v6 { "icmp6" } else { "icmp4" };
    std::thread::Builder::new().name(name.into()).spawn(move || prober.run())?;
    Ok(Handle { commands, bell: Arc::new(bell), raw, foreign })
}

impl Session {
    /// Queues probes; they are sent in order as far as the pace allows.
    ///
    /// The caller bounds how many are on their way: each probe waits in memory until its end.
    pub async fn submit(&self, probes: Vec<Probe>) -> Result<(), Error> {
        let count = probes.len();
        let sent = self.command(Command::Probes { id: self.id, probes }, true).await;
        self.open.fetch_add(count, Ordering::Relaxed);
        sent.map_err(|source| Error::Icmp { source })
    }

    /// Waits for what becomes of probes. Safe to abandon and call again.
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        let events = self.events.recv().await.ok_or_else(|| Error::Icmp { source: stopped() })?;
        *self.open.get_mut() -= events.iter().filter(|event| event.what != What::Extra).count();
        Ok(events)
    }

    /// What it has counted so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Queues a command; the prober is woken where the command is urgent or the queue full of others.
    async fn command(&self, command: Command, is_urgent: bool) -> io::Result<()> {
        let (commands, bell) = (&self.handle.commands, &self.handle.bell);
        if let Err(TrySendError::Full(command) | TrySendError::Closed(command)) = commands.try_send(command) {
            bell.ring();
            commands.send(command).await.map_err(|_| stopped())?;
            bell.ring();
        } else if is_urgent {
            bell.ring();
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What is still on its way keeps others from sending; without it the end can wait for the next waking.
        self.handle.bell.close(self.id, *self.open.get_mut() > 0);
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
