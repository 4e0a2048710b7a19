//! What the services have in common: the books of their connections. Not a kind.
//!
//! The invariant: a connection that was opened is closed exactly once, on every path, with a reason; a task that panics
//! closes its connection with `bug` and harms no other.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::{sync::mpsc, time::Instant};

use super::Error;
use crate::{
    context::{Context, Observer},
    meter::{Counter, Gauge, Meters},
    net::{
        self,
        relay::{End, Ending},
        stream::Peer,
    },
    outcome::{Close, Measure, Metric, Notice, Reason, Samples, Unit},
};

/// What a service measures.
pub(super) const MEASURES: &[Measure] = &[
    measure(
        "connections",
        Unit::Count,
        "Connections that were accepted; of a forward also senders of datagrams.",
    ),
    measure("active", Unit::Count, "Those that were open at the end."),
    measure("received_bytes", Unit::Bytes, "Bytes from clients."),
    measure("sent_bytes", Unit::Bytes, "Bytes to clients."),
    measure("failed", Unit::Count, "Connections that the upstream or this machine failed."),
];

const fn measure(name: &'static str, unit: Unit, help: &'static str) -> Measure {
    Measure { name, unit, own: None, help }
}

/// The metric families of a service's connections.
#[derive(Debug)]
pub(super) struct Families {
    /// Accepted connections.
    pub(super) connections: &'static Metric,
    /// Open connections.
    pub(super) active: &'static Metric,
    /// Closes by `reason` and `upstream`.
    pub(super) closes: &'static Metric,
}

/// The books of one run.
pub(super) struct Books {
    observer: Arc<dyn Observer>,
    meters: Meters,
    families: Families,
    total: Counter,
    shown_active: Gauge,
    /// The counters of closes that were needed so far, by upstream.
    closes: Mutex<HashMap<String, Vec<(Close, Counter)>>>,
    active: AtomicI64,
    counts: Counts,
}

/// What the run's samples are made of.
#[derive(Debug, Default)]
struct Counts {
    connections: Counter,
    received_bytes: Counter,
    sent_bytes: Counter,
    failed: Counter,
}

impl Books {
    /// Empty books; the series appear with 0.
    pub(super) fn new(cx: &Context, families: Families) -> Arc<Self> {
        let meters = cx.meters().clone();
        Arc::new(Self {
            observer: cx.observer().clone(),
            total: meters.counter(families.connections, &[]),
            shown_active: meters.gauge(families.active, &[]),
            meters,
            families,
            closes: Mutex::default(),
            active: AtomicI64::new(0),
            counts: Counts::default(),
        })
    }

    /// Enters a connection.
    pub(super) fn open(self: &Arc<Self>, peer: Peer, engine: &'static str) -> Open {
        self.total.inc();
        self.counts.connections.inc();
        self.active.fetch_add(1, Ordering::Relaxed);
        self.shown_active.add(1.0);
        let (books, started) = (self.clone(), Instant::now());
        let end = End::without_bytes(Close::Bug);
        Open { books, peer, upstream: String::new(), started, end, engine, is_told: true }
    }

    /// How often connections without an upstream were closed for a reason.
    pub(super) fn closes(&self, close: Close) -> Counter {
        self.meters.counter(self.families.closes, &[close.as_str(), ""])
    }

    /// Enters a connection that is turned away, of which nothing more is told.
    pub(super) fn turn_away(&self, closes: &Counter) {
        self.total.inc();
        self.counts.connections.inc();
        closes.inc();
    }

    /// Counts bytes of datagrams that belong to no connection.
    pub(super) fn passed(&self, received_bytes: usize, sent_bytes: usize) {
        self.counts.received_bytes.add(received_bytes as u64);
        self.counts.sent_bytes.add(sent_bytes as u64);
    }

    /// Counts a close; only the first of its kind looks its series up.
    fn closed(&self, close: Close, upstream: &str) {
        let mut closes = self.closes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = closes.get(upstream).and_then(|known| known.iter().find(|(known, _)| *known == close));
        if let Some((_, counter)) = known {
            return counter.inc();
        }
        let counter = self.meters.counter(self.families.closes, &[close.as_str(), upstream]);
        counter.inc();
        closes.entry(upstream.to_owned()).or_default().push((close, counter));
    }

    /// Tells the operator.
    pub(super) fn warn(&self, message: String) {
        self.observer.notice(Notice::Warning { message });
    }

    /// What the run has come to.
    pub(super) fn samples(&self) -> Samples {
        let mut samples = Samples::default();
        samples.count("connections", self.counts.connections.value());
        samples.count("active", u64::try_from(self.active.load(Ordering::Relaxed)).unwrap_or(0));
        samples.count("received_bytes", self.counts.received_bytes.value());
        samples.count("sent_bytes", self.counts.sent_bytes.value());
        samples.count("failed", self.counts.failed.value());
        samples
    }
}

/// A connection in the books; dropping it closes it.
pub(super) struct Open {
    books: Arc<Books>,
    /// Who it is.
    pub(super) peer: Peer,
    upstream: String,
    started: Instant,
    end: End,
    engine: &'static str,
    /// Whether its end is told, and not only counted.
    is_told: bool,
}

impl Open {
    /// Says where it goes, as the file writes it.
    pub(super) fn goes_to(&mut self, upstream: &str) {
        upstream.clone_into(&mut self.upstream);
    }

    /// What it will have ended with if nothing else is said.
    pub(super) fn expect(&mut self, close: Close) {
        self.end.close = close;
    }

    /// Its end is counted and not told: many others say the same.
    pub(super) fn hush(&mut self) {
        self.is_told = false;
    }

    /// Counts bytes of datagrams.
    pub(super) fn passed(&mut self, received_bytes: usize, sent_bytes: usize) {
        self.end.received_bytes += received_bytes as u64;
        self.end.sent_bytes += sent_bytes as u64;
    }

    /// Closes it without a byte more.
    pub(super) fn close(mut self, close: Close) {
        self.end.close = close;
    }

    /// Closes it with what the relay says.
    pub(super) fn end(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let End { close, received_bytes, sent_bytes, spliced_bytes } = self.end;
        let books = &self.books;
        books.counts.received_bytes.add(received_bytes);
        books.counts.sent_bytes.add(sent_bytes);
        if is_failure(close) {
            books.counts.failed.inc();
        }
        books.closed(close, &self.upstream);
        books.active.fetch_sub(1, Ordering::Relaxed);
        books.shown_active.add(-1.0);
        if !self.is_told {
            return;
        }
        books.observer.notice(Notice::ConnectionClosed {
            peer: self.peer.to_string(),
            upstream: std::mem::take(&mut self.upstream),
            close,
            received_bytes,
            sent_bytes,
            duration: self.started.elapsed(),
            engine: match self.engine {
                "copy" if spliced_bytes > 0 => "splice",
                "copy" if received_bytes + sent_bytes == 0 => "none",
                engine => engine,
            },
        });
    }
}

/// Whether the upstream or this machine failed the client.
fn is_failure(close: Close) -> bool {
    match close {
        Close::UpstreamReset
        | Close::Refused
        | Close::ConnectTimeout
        | Close::Unreachable
        | Close::Dns
        | Close::Vanished
        | Close::Loop
        | Close::NoUpstream
        | Close::Resources
        | Close::Bug => true,
        Close::Finished
        | Close::ClientReset
        | Close::IdleTimeout
        | Close::HalfClosedTimeout
        | Close::Denied
        | Close::Limit
        | Close::ProxyHeader
        | Close::Drained
        | Close::Grace
        | Close::Injected => false,
    }
}

/// Starts the loop of a listener. An error of it, or a panic, is told to `failed`: a service that no longer accepts must
/// not look alive.
pub(super) fn spawn_loop(
    cx: &Context,
    address: &str,
    failed: &mpsc::Sender<Error>,
    task: impl Future<Output = io::Result<()>> + Send + 'static,
) {
    let seat = cx.shared().workers.seat();
    let task = cx.tasks().spawn_on(task, &seat);
    let (operation, failed) = (format!("accept on {address}"), failed.clone());
    cx.spawn(async move {
        let _seat = seat;
        let error = match task.await {
            Ok(Ok(())) => return,
            Ok(Err(source)) => net::Error::System { operation, source }.into(),
            Err(panic) => {
                let (reason, message) = (Reason::Bug, format!("{operation}: {panic}"));
                Error::Cannot { reason, message, hint: None }
            }
        };
        // Only the first is told; the channel has room for it.
        let _ = failed.try_send(error);
    });
}

/// How the connections of a run are told to end.
pub(super) fn ending(cx: &Context) -> Ending {
    let stop = cx.stop();
    Ending { drain: stop.drain.clone(), drain_idle: stop.drain_idle, finish: None, kill: stop.kill.clone() }
}

#[cfg(test)]
mod tests;
