//! Datagrams that did not pass: each is counted with its reason, and a flood of them does not flood the log.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::metrics;
use crate::{
    kind::service::Books,
    meter::{Counter, Meters},
    net::stream::Peer,
    outcome::Close,
};

/// Why a datagram did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// There was no room where it had to wait.
    Queue,
    /// It was larger than the largest that is taken.
    Cut,
    /// `allow` or `deny` says no.
    Denied,
    /// Its source has as many sessions as it may have.
    Limit,
    /// It is too large for the way, or for the kind of socket.
    TooBig,
    /// The kernel dropped it before it was taken: the listener's buffer was full.
    Kernel,
    /// The other side is not there, or the system refused to send it.
    Unsent,
}

const REASONS: [(Loss, &str); 7] = [
    (Loss::Queue, "queue"),
    (Loss::Cut, "cut"),
    (Loss::Denied, "denied"),
    (Loss::Limit, "limit"),
    (Loss::TooBig, "too_big"),
    (Loss::Kernel, "kernel"),
    (Loss::Unsent, "unsent"),
];

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Losses {
    counters: [Counter; REASONS.len()],
    turned_away: Mutex<Period>,
    failed: Mutex<Period>,
    denied: OnceLock<Counter>,
    limited: OnceLock<Counter>,
}

/// Of which sources it was told in this period that they were turned away, or failed. All Unix sockets are one source.
#[derive(Debug, Default)]
struct Period {
    since: Option<Instant>,
    told: HashSet<(Option<IpAddr>, Close)>,
    silent: u64,
}

/// In so much time a source is told once for each reason.
const PERIOD: Duration = Duration::from_mins(1);

/// And so many sources at most.
const MOST_TOLD: usize = 64;

const TURNED_AWAY: &str = "were denied or went by a limit";
const FAILED: &str = "failed";

impl Losses {
    /// The counts of a job; its series appear with 0.
    pub(super) fn new(meters: &Meters, is_shown: bool) -> Self {
        let counter = |(_, word): (Loss, &str)| {
            if is_shown { meters.counter(&metrics::DROPPED_DATAGRAMS, &[word]) } else { Counter::default() }
        };
        Self {
            counters: REASONS.map(counter),
            turned_away: Mutex::default(),
            failed: Mutex::default(),
            denied: OnceLock::new(),
            limited: OnceLock::new(),
        }
    }

    /// Counts.
    pub(super) fn count(&self, loss: Loss, count: u64) {
        if count > 0 {
            self.counters[loss as usize].add(count);
        }
    }

    /// How many so far.
    pub(super) fn value(&self, loss: Loss) -> u64 {
        self.counters[loss as usize].value()
    }

    /// Datagrams by reason, for the run's outcome.
    pub(super) fn detail(&self) -> serde_json::Value {
        let counts = REASONS.map(|(loss, word)| (word.to_owned(), self.value(loss).into()));
        serde_json::json!({ "dropped_datagrams": serde_json::Map::from_iter(counts) })
    }

    /// Turns a datagram away that has no session. Each counts as a sender that was closed.
    pub(super) fn refuse(&self, books: &Arc<Books>, peer: Peer, close: Close) {
        let (loss, closes) =
            if close == Close::Denied { (Loss::Denied, &self.denied) } else { (Loss::Limit, &self.limited) };
        self.count(loss, 1);
        if self.is_told(books, &peer, close) {
            books.open(peer, "datagram").close(close);
        } else {
            books.turn_away(closes.get_or_init(|| books.closes(close)));
        }
    }

    /// Whether a close that a sender can bring about with each datagram gets a line: a source gets one a period and reason,
    /// and of many sources the first. The others are counted and told together.
    pub(super) fn is_told(&self, books: &Books, peer: &Peer, close: Close) -> bool {
        let (period, what) = match close {
            Close::Denied | Close::Limit => (&self.turned_away, TURNED_AWAY),
            // A flood of unwanted sources does not hide that the upstream is down.
            _ => (&self.failed, FAILED),
        };
        let mut period = period.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if period.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            period.tell_rest(books, what);
            *period = Period { since: Some(now), ..Period::default() };
        }
        period.is_told((peer.address(), close))
    }

    /// Tells of those that had no line since it was last told.
    pub(super) fn tell_rest(&self, books: &Books) {
        for (period, what) in [(&self.turned_away, TURNED_AWAY), (&self.failed, FAILED)] {
            period.lock().unwrap_or_else(PoisonError::into_inner).tell_rest(books, what);
        }
    }
}

impl Period {
    /// Whether a close of a source gets a line now.
    fn is_told(&mut self, which: (Option<IpAddr>, Close)) -> bool {
        let is_told = self.told.len() < MOST_TOLD && self.told.insert(which);
        self.silent += u64::from(!is_told);
        is_told
    }

    fn tell_rest(&mut self, books: &Books, what: &str) {
        let (count, name) = (std::mem::take(&mut self.silent), metrics::CLOSES.name);
        if count > 0 {
            books.warn(format!("{count} more {what} than have a line here; {name} counts them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::testing::context, kind::service::Families, outcome::Notice};

    #[tokio::test(start_paused = true)]
    async fn a_source_is_told_once_a_period_and_the_rest_in_one_sentence() {
        let (cx, recorder) = context(vec![], None);
        let families = Families {
            connections: &metrics::CONNECTIONS,
            active: &metrics::ACTIVE,
            closes: &metrics::CLOSES,
        };
        let books = Books::new(&cx, families);
        let losses = Losses::new(cx.meters(), true);
        let peer = Peer::Ip("192.0.2.1:5".parse().unwrap());
        for _ in 0..5 {
            losses.refuse(&books, peer, Close::Denied);
        }
        tokio::time::advance(PERIOD).await;
        losses.refuse(&books, peer, Close::Limit);
        let told = recorder.notices.lock().unwrap();
        let closed = |at: usize, wanted| matches!(&told[at], Notice::ConnectionClosed { close, .. } if *close == wanted);
        assert!(closed(0, Close::Denied) && closed(2, Close::Limit) && told.len() == 3);
        assert!(matches!(&told[1], Notice::Warning { message } if message.starts_with("4 more were denied")));
        assert_eq!((losses.value(Loss::Denied), losses.value(Loss::Limit)), (5, 1));
        assert_eq!(books.closes(Close::Denied).value(), 5);
    }
}
