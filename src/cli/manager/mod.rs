//! What the service manager is told, by the protocol of `sd_notify(3)`: when the services are bound, when the files are read
//! anew, when the runner stops, how the jobs stand, and that it is not wedged.
//!
//! Nothing here waits for the manager: what finds no room is sent later, and where nobody listens the program goes on.

mod talk;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::out;
use crate::{
    event::Event,
    run::Control,
    sink::{Sink, history::History},
    sys::inherit,
};
use talk::Talk;

/// The pause before a manager that had no room is asked again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long the last words may wait for room.
const FAREWELL: Duration = Duration::from_millis(100);

/// Where the manager listens.
#[derive(Debug)]
struct Address {
    socket: UnixDatagram,
    to: SocketAddr,
}

/// The service manager.
#[derive(Debug)]
pub struct Manager {
    address: Address,
    watchdog: Option<Duration>,
    news: Arc<News>,
}

/// What the events say.
#[derive(Debug, Default)]
struct News {
    heard: Mutex<Heard>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    /// Services that have neither become ready nor ended since the start; `None`: not started yet.
    starting: Option<BTreeSet<Arc<str>>>,
    words: Vec<Word>,
    rejected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Reading,
    Read,
    Stopping,
}

impl Manager {
    /// The manager that started this process, if it wants to hear; to be called before there is a second thread.
    pub fn take() -> Option<Self> {
        let [socket, limit, pid] =
            inherit::take_variables(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]);
        let socket = socket.filter(|socket| !socket.is_empty())?;
        match Address::new(&socket) {
            Ok(address) => Some(Self {
                address,
                watchdog: period(limit, pid.as_deref(), process::id()),
                news: Arc::default(),
            }),
            Err(error) => {
                let socket = socket.to_string_lossy();
                out::say(format_args!(
                    "warning: NOTIFY_SOCKET is `{}`: {error}; the service manager is told nothing",
                    socket.escape_debug()
                ));
                None
            }
        }
    }

    /// The sink that hears what the manager is to be told; it stands behind the history's.
    pub fn sink(&self, history: &History) -> Ear {
        Ear { news: self.news.clone(), history: history.clone(), settled: false }
    }

    /// Tells the manager, until `over` and then what there is left to tell.
    pub async fn talk(self, history: History, control: Control, over: CancellationToken) {
        let mut talk = Talk::new(self, history, control);
        loop {
            let next = talk.turn();
            tokio::select! {
                () = talk.manager.news.bell.notified() => {}
                () = sleep_until(next) => {}
                () = over.cancelled() => break,
            }
        }
        let end = Instant::now() + FAREWELL;
        while !talk.said_all() && Instant::now() < end {
            sleep_until(Instant::now() + AGAIN).await;
        }
    }
}

impl Address {
    fn new(name: &OsStr) -> io::Result<Self> {
        let to = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }
}

/// How often the manager wants to hear that the runner lives; `None`: it does not, or another process is meant.
fn period(limit: Option<OsString>, pid: Option<&OsStr>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) == Some(own));
    let limit: u64 = limit?.to_str()?.parse().ok()?;
    (is_ours && limit > 0).then(|| Duration::from_micros(limit) / 2)
}

/// The manager's view of the events.
#[derive(Debug)]
pub struct Ear {
    news: Arc<News>,
    history: History,
    /// Whether no service is waited for any more.
    settled: bool,
}

impl Sink for Ear {
    fn event(&mut self, event: &Event) {
        let mut heard = self.news.lock();
        match event {
            Event::Started { jobs } => {
                let services = jobs.iter().filter(|job| job.service);
                heard.starting = Some(services.map(|job| job.name.clone()).collect());
            }
            Event::RunFinished(run) => {
                heard.starting.as_mut().map(|starting| starting.remove(&run.job.name));
            }
            Event::ConfigReading => heard.words.push(Word::Reading),
            Event::ConfigReloaded { .. } | Event::ConfigRejected { .. } => {
                heard.rejected = matches!(event, Event::ConfigRejected { .. });
                heard.words.push(Word::Read);
            }
            Event::Stopping => heard.words.push(Word::Stopping),
            _ => {}
        }
    }

    fn told(&mut self) {
        let mut heard = self.news.lock();
        let mut is_news = !heard.words.is_empty();
        if let Some(starting) = heard.starting.as_mut().filter(|_| !self.settled) {
            let missing: BTreeSet<Arc<str>> = self.history.not_ready().into_iter().collect();
            starting.retain(|name| missing.contains(name));
            self.settled = starting.is_empty();
            is_news = true;
        }
        if is_news {
            self.news.bell.notify_one();
        }
    }
}

impl News {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
