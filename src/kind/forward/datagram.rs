//! Datagrams: a session for each sender, with a connected socket of its own towards the upstream.
//!
//! The listener's loop never waits for an upstream: it hands each datagram to its session's queue, and what does not fit is
//! dropped and counted. Boundaries and sizes are kept; a datagram that is larger than the largest is dropped, never cut.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Forward, gate::SourceSlot, serve::Service, session::Session, upstream::Route};
use crate::{
    meter::Counter,
    net::{
        datagram::{Arrived, LARGEST, Local, Port},
        listen::Listener,
        stream::Peer,
    },
    outcome::Close,
    value::Timespan,
};

/// A sender that was silent for so long, and to whom nothing came back, is forgotten.
const IDLE: Timespan = Timespan::secs(60);

/// Datagrams that wait for one session's upstream.
const QUEUE: usize = 64;

/// Bytes that wait for all upstreams of the job.
const WAITING_BYTES: usize = 32 << 20;

/// Who sends to which of our addresses.
pub(super) type Key = (usize, Peer, Option<Local>);

/// All datagram sessions of a run.
pub(super) struct Datagrams {
    pub(super) service: Arc<Service>,
    pub(super) idle: Duration,
    most: usize,
    table: Mutex<Table>,
    waiting: AtomicUsize,
    dropped: Counter,
    cut: Counter,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    /// Every entry once, and some that are gone; the next to be forgotten in front.
    order: VecDeque<(Key, u64)>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    queue: mpsc::Sender<Vec<u8>>,
    /// Whether it spoke since it was last looked at.
    is_used: bool,
}

impl Datagrams {
    pub(super) fn new(spec: &Forward, service: Arc<Service>) -> Arc<Self> {
        Arc::new(Self {
            idle: spec.idle_timeout.unwrap_or(IDLE).0,
            most: service.gate.sessions,
            table: Mutex::default(),
            waiting: AtomicUsize::new(0),
            dropped: Counter::default(),
            cut: Counter::default(),
            service,
        })
    }

    /// Datagrams that did not pass.
    pub(super) fn detail(&self) -> serde_json::Value {
        serde_json::json!({ "dropped_datagrams": self.dropped.value(), "cut_datagrams": self.cut.value() })
    }

    /// Takes the datagrams of one listener until it is told to stop.
    pub(super) async fn listen(
        self: &Arc<Self>,
        index: usize,
        listener: &Arc<Listener>,
        route: &Arc<Route>,
        stop: &CancellationToken,
    ) {
        let Some(port) = Port::of(listener.socket()) else { return };
        let told = |error| self.service.books.warn(format!("receive on {}: {error}", listener.address));
        port.serve(stop, |arrived, bytes| self.take(index, listener, route, arrived, bytes), told).await;
    }

    fn take(
        self: &Arc<Self>,
        index: usize,
        listener: &Arc<Listener>,
        route: &Arc<Route>,
        arrived: Arrived,
        bytes: &[u8],
    ) {
        if arrived.is_cut {
            if self.cut.value() == 0 {
                let message =
                    format!("{}: a datagram of more than {LARGEST} bytes was dropped", listener.address);
                self.service.books.warn(message);
            }
            self.cut.inc();
            return;
        }
        // A Unix socket without a name cannot be answered; all such senders share a session.
        let peer = arrived.from.unwrap_or(Peer::Unix(nix::sys::socket::UnixAddr::new_unnamed()));
        let key = (index, peer, arrived.to);
        let mut table = self.lock();
        // A session that is gone and still stands there was a panic's.
        let is_new = table.entries.get(&key).is_none_or(|entry| entry.queue.is_closed());
        if is_new {
            let gate = &self.service.gate;
            let entered = if gate.admits(&peer) { gate.enter_source(&peer) } else { Err(Close::Denied) };
            match entered {
                Ok(source) => self.start(&mut table, key, listener, route, source),
                Err(close) => {
                    drop(table);
                    return self.service.books.open(peer, "datagram").close(close);
                }
            }
        }
        let Some(entry) = table.entries.get_mut(&key) else { return };
        entry.is_used |= !is_new;
        self.hand(entry, bytes);
    }

    /// Puts a datagram into its session's queue, if there is room.
    fn hand(&self, entry: &mut Entry, bytes: &[u8]) {
        let waiting = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        if waiting > WAITING_BYTES || entry.queue.try_send(bytes.to_vec()).is_err() {
            self.taken(bytes.len());
            self.dropped.inc();
        }
    }

    /// Bytes that no longer wait.
    pub(super) fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts a datagram that could not be passed on.
    pub(super) fn drop_one(&self) {
        self.dropped.inc();
    }

    fn start(
        self: &Arc<Self>,
        table: &mut Table,
        key: Key,
        listener: &Arc<Listener>,
        route: &Arc<Route>,
        source: Option<SourceSlot>,
    ) {
        if table.entries.len() >= self.most {
            table.forget_one();
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        table.last += 1;
        let number = table.last;
        table.entries.insert(key, Entry { number, queue: sender, is_used: false });
        table.order.push_back((key, number));
        table.tidy();
        let open = self.service.books.open(key.1, "datagram");
        let session = Session {
            datagrams: self.clone(),
            listener: listener.clone(),
            route: route.clone(),
            key,
            number,
            queue,
            open,
            _source: source,
            is_answered: false,
        };
        self.service.spawn(session.run());
    }

    /// Ends a session unless a datagram has come for it in this moment.
    pub(super) fn end(
        &self,
        key: &Key,
        number: u64,
        queue: &mpsc::Receiver<Vec<u8>>,
        is_forced: bool,
    ) -> bool {
        let mut table = self.lock();
        if !is_forced && !queue.is_empty() {
            return false;
        }
        if table.entries.get(key).is_some_and(|entry| entry.number == number) {
            table.entries.remove(key);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets the session that was silent longest: the first in order that has not spoken since it was last looked at.
    fn forget_one(&mut self) {
        while let Some((key, number)) = self.order.pop_front() {
            match self.entries.get_mut(&key) {
                Some(entry) if entry.number != number => {}
                Some(entry) if entry.is_used => {
                    entry.is_used = false;
                    self.order.push_back((key, number));
                }
                Some(_) => {
                    self.entries.remove(&key);
                    return;
                }
                None => {}
            }
        }
    }

    /// Throws the sessions that are gone out of the order, once they are the larger part.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.entries.len() + QUEUE {
            let entries = &self.entries;
            self.order.retain(|(key, number)| entries.get(key).is_some_and(|entry| entry.number == *number));
        }
    }
}
