//! A session as its listener sees it: its upstream once that is reached, and what waits until then.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    loss::{Loss, Losses},
    upstream::Target,
};
use crate::{
    net::{
        datagram::{Connected, Local, MOST},
        stream::Peer,
    },
    outcome::Close,
};

/// The listener, who sends, and to which of our addresses.
pub(super) type Key = (usize, Peer, Option<Local>);

/// Datagrams that wait for one session's upstream.
const QUEUE: usize = 64;

/// What the listener's loop and the session's task share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) key: Key,
    /// Where the table has it.
    pub(super) place: u32,
    reached: OnceLock<Reached>,
    waiting: Mutex<VecDeque<Vec<u8>>>,
    over: OnceLock<Close>,
    /// Wakes the task: it is over, or something waits.
    pub(super) told: Notify,
    received: AtomicU64,
}

/// An upstream that datagrams can be sent to.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) far: Connected,
    pub(super) target: Arc<Target>,
}

impl Link {
    pub(super) fn new(key: Key, place: u32) -> Self {
        Self {
            key,
            place,
            reached: OnceLock::new(),
            waiting: Mutex::default(),
            over: OnceLock::new(),
            told: Notify::new(),
            received: AtomicU64::new(0),
        }
    }

    /// Ends the session; the first reason counts.
    pub(super) fn end(&self, close: Close) {
        let _ = self.over.set(close);
        self.told.notify_one();
    }

    /// Why it is over.
    pub(super) fn over(&self) -> Option<Close> {
        self.over.get().copied()
    }

    /// Whether its upstream is reached.
    pub(super) fn is_reached(&self) -> bool {
        self.reached().is_some()
    }

    /// Its upstream.
    pub(super) fn reached(&self) -> Option<&Reached> {
        self.reached.get()
    }

    /// From now on datagrams go to the upstream.
    pub(super) fn reach(&self, reached: Reached) {
        // It is reached once.
        let _ = self.reached.set(reached);
    }

    /// Bytes that went to the upstream.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Sends datagrams on, behind those that wait; what the upstream does not take now waits too, if there is `room`.
    pub(super) fn hand(
        &self,
        datagrams: &[&[u8]],
        losses: &Losses,
        mut room: impl FnMut(usize) -> bool,
    ) -> Result<(), Close> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over.get().is_some() {
            losses.count(Loss::Unsent, datagrams.len() as u64);
            return Ok(());
        }
        let reached = self.reached.get();
        let gone = match reached {
            Some(reached) if waiting.is_empty() => self.send(reached, datagrams, losses)?,
            _ => 0,
        };
        for bytes in &datagrams[gone..] {
            if waiting.len() < QUEUE && room(bytes.len()) {
                waiting.push_back(bytes.to_vec());
            } else {
                losses.count(Loss::Queue, 1);
            }
        }
        if reached.is_some() && gone < datagrams.len() {
            self.told.notify_one();
        }
        Ok(())
    }

    /// Sends what waits; `WouldBlock` where some of it still does. Tells `taken` of bytes that no longer wait.
    pub(super) fn flush(
        &self,
        reached: &Reached,
        losses: &Losses,
        taken: impl Fn(usize),
    ) -> io::Result<Result<(), Close>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while !waiting.is_empty() {
            let mut first: [&[u8]; MOST] = [&[]; MOST];
            let mut count = 0;
            for (place, bytes) in first.iter_mut().zip(&*waiting) {
                *place = bytes;
                count += 1;
            }
            let gone = match self.send(reached, &first[..count], losses) {
                Ok(gone) => gone,
                Err(close) => return Ok(Err(close)),
            };
            taken(waiting.drain(..gone).map(|bytes| bytes.len()).sum());
            if gone < count {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        *waiting = VecDeque::new();
        Ok(Ok(()))
    }

    /// Nothing waits any more: what did is lost.
    pub(super) fn clear(&self, losses: &Losses, taken: impl Fn(usize)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        losses.count(Loss::Queue, waiting.len() as u64);
        taken(waiting.drain(..).map(|bytes| bytes.len()).sum());
    }

    /// Sends datagrams until the upstream takes no more: how many were dealt with.
    fn send(&self, reached: &Reached, datagrams: &[&[u8]], losses: &Losses) -> Result<usize, Close> {
        let (mut gone, mut bytes) = (0, 0);
        let mut result = Ok(());
        while gone < datagrams.len() {
            match reached.far.send(&datagrams[gone..]) {
                Ok(sent) => {
                    bytes += datagrams[gone..gone + sent].iter().map(|bytes| bytes.len() as u64).sum::<u64>();
                    gone += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Too large for UDP or for the way: this one is lost, the others are not.
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    losses.count(Loss::TooBig, 1);
                    gone += 1;
                }
                Err(error) => {
                    losses.count(Loss::Unsent, (datagrams.len() - gone) as u64);
                    result = Err(broken(&error, &reached.target));
                    break;
                }
            }
        }
        self.received.fetch_add(bytes, Ordering::Relaxed);
        reached.target.received.add(bytes);
        result.map(|()| gone)
    }
}

/// The upstream says no: it is tried last for a while, and the sender's next datagram begins anew.
pub(super) fn broken(error: &io::Error, target: &Target) -> Close {
    let close = match error.raw_os_error() {
        // That this machine is short says nothing of the upstream.
        Some(libc::ENOBUFS | libc::ENOMEM) => return Close::Resources,
        Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::ENOTCONN | libc::EPIPE) => Close::Refused,
        _ => Close::Unreachable,
    };
    target.failed();
    close
}
