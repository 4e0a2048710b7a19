//! Moves bytes between two stream sockets, or from one back to itself, until both have finished or something breaks.
//!
//! One task a connection; both directions are polled together. An end of file goes on as an end of file and the other
//! direction lives on; a broken side breaks the other (`Abort`). No byte is lost, doubled or reordered while both sides live.
//! Idle connections hold no buffer. The caller has to say what a close means: here are no jobs, no metrics but two counters.

mod direction;
mod watch;

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{rate::Bucket, stream::Stream};
use crate::{meter::Counter, outcome::Close};
use direction::Direction;

pub use watch::Watch;

/// What one side sees when the other breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// RST.
    Reset,
    /// FIN.
    Fin,
}

/// How long a connection may be silent, and how it ends.
#[derive(Clone, Debug)]
pub struct Limits {
    /// With both directions open.
    pub idle: Duration,
    /// With one direction finished.
    pub half_closed: Duration,
    /// What the one side sees of the other's break.
    pub abort: Abort,
}

/// How connections are told to end from outside.
#[derive(Clone, Debug)]
pub struct Ending {
    /// End with FIN once no byte has passed for `drain_idle`.
    pub drain: CancellationToken,
    /// How long a draining connection must be silent.
    pub drain_idle: Duration,
    /// End with FIN as soon as nothing is held for a peer.
    pub finish: CancellationToken,
    /// Reset.
    pub kill: CancellationToken,
}

/// Where one direction's bytes are counted, and how fast they may go.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Grows as bytes reach the peer, every 64 KiB and at the close.
    pub counter: Counter,
    /// The limit that this direction shares with others.
    pub bucket: Option<Arc<Bucket>>,
    /// Looks for a message in what passes.
    pub watch: Option<Watch>,
}

/// What a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why it ended.
    pub close: Close,
    /// Bytes from the client that reached the other side.
    pub received_bytes: u64,
    /// Bytes that reached the client.
    pub sent_bytes: u64,
}

/// Passes bytes both ways between a client and an upstream.
pub async fn relay(
    client: Stream,
    upstream: Stream,
    up: Lane,
    down: Lane,
    limits: &Limits,
    ending: &Ending,
) -> End {
    let mut ends = [client, upstream];
    let up = Direction::new(0, 1, up);
    let relay = Relay::new(&mut ends, up, Some(Direction::new(1, 0, down)), limits);
    let (close, received_bytes, sent_bytes) = relay.run(ending).await;
    End { close, received_bytes, sent_bytes }
}

/// Sends a client's bytes back to it.
pub async fn echo(client: Stream, lane: Lane, limits: &Limits, ending: &Ending) -> End {
    let mut ends = [client];
    let relay = Relay::new(&mut ends, Direction::new(0, 0, lane), None, limits);
    let (close, bytes, _) = relay.run(ending).await;
    End { close, received_bytes: bytes, sent_bytes: bytes }
}

struct Relay<'a> {
    /// The client, and the upstream if there is one.
    ends: &'a mut [Stream],
    up: Direction,
    /// `None` for an echo.
    down: Option<Direction>,
    limits: &'a Limits,
    /// When a byte passed last.
    active: Instant,
    /// The side that broke off, once one has.
    broken: Option<Close>,
}

/// How often a connection looks whether a side that it does not read from has broken off.
const LOOK: Duration = Duration::from_millis(500);

impl<'a> Relay<'a> {
    fn new(ends: &'a mut [Stream], up: Direction, down: Option<Direction>, limits: &'a Limits) -> Self {
        Self { ends, up, down, limits, active: Instant::now(), broken: None }
    }

    async fn run(mut self, ending: &Ending) -> (Close, u64, u64) {
        let mut timer = pin!(sleep_until(self.active + self.limits.idle));
        let mut drain = pin!(ending.drain.cancelled());
        let mut finish = pin!(ending.finish.cancelled());
        let mut kill = pin!(ending.kill.cancelled());
        let mut draining = None;
        let close = poll_fn(|cx| {
            if kill.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Close::Grace);
            }
            if let Poll::Ready(close) = self.poll_bytes(cx) {
                return Poll::Ready(close);
            }
            if draining != Some(Duration::ZERO) && finish.as_mut().poll(cx).is_ready() {
                draining = Some(Duration::ZERO);
            } else if draining.is_none() && drain.as_mut().poll(cx).is_ready() {
                draining = Some(ending.drain_idle);
            }
            self.poll_silence(cx, timer.as_mut(), draining)
        })
        .await;
        self.end(close)
    }

    /// Moves what can be moved; ready when the connection is over.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        let before = self.total();
        for direction in std::iter::once(&mut self.up).chain(&mut self.down) {
            if let Some(cause) = direction.poll(cx, self.ends, self.broken.is_some()) {
                let close = *self.broken.get_or_insert(broken(cause.end, &cause.error));
                if cause.is_read_empty {
                    return Poll::Ready(close);
                }
            }
        }
        if self.total() > before {
            self.active = Instant::now();
        }
        let all_over = self.up.is_over() && self.down.as_ref().is_none_or(Direction::is_over);
        match self.broken {
            _ if !all_over => Poll::Pending,
            // What the broken side sent before it broke has reached the other.
            Some(close) => Poll::Ready(close),
            None => Poll::Ready(Close::Finished),
        }
    }

    /// Looks at the clock: idle, half-closed, draining.
    fn poll_silence(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        draining: Option<Duration>,
    ) -> Poll<Close> {
        loop {
            let (limit, close) = self.patience(draining);
            let (is_blocked, is_half_closed) = (self.is_blocked(), self.is_half_closed());
            let silent_until = self.active + limit;
            let now = Instant::now();
            if now >= silent_until && !(draining == Some(Duration::ZERO) && is_blocked) {
                return Poll::Ready(close);
            }
            // A side that nobody reads from now cannot tell by a read that it broke off.
            let must_look = is_blocked || is_half_closed;
            if must_look && let Some(end) = self.ends.iter().position(Stream::has_error) {
                let error = self.ends[end].take_error().unwrap_or(io::ErrorKind::ConnectionReset.into());
                return Poll::Ready(broken(end, &error));
            }
            let next = if must_look { silent_until.min(now + LOOK) } else { silent_until };
            // Later is fine: the timer is not set anew for each byte, only when it fires or must fire earlier.
            if timer.deadline() > next || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.publish();
        }
    }

    /// How long the connection may be silent now, and what it would end as.
    fn patience(&self, draining: Option<Duration>) -> (Duration, Close) {
        let (limit, close) = if self.is_half_closed() {
            (self.limits.half_closed, self.broken.unwrap_or(Close::HalfClosedTimeout))
        } else {
            (self.limits.idle, Close::IdleTimeout)
        };
        match draining {
            Some(drain_idle) if drain_idle <= limit => (drain_idle, Close::Drained),
            _ => (limit, close),
        }
    }

    fn is_half_closed(&self) -> bool {
        self.down.as_ref().is_some_and(|down| down.is_over() || self.up.is_over())
    }

    /// Whether a peer does not take what is held for it.
    fn is_blocked(&self) -> bool {
        self.up.holds() || self.down.as_ref().is_some_and(Direction::holds)
    }

    fn total(&self) -> u64 {
        self.up.bytes + self.down.as_ref().map_or(0, |down| down.bytes)
    }

    fn publish(&mut self) {
        self.up.publish();
        if let Some(down) = &mut self.down {
            down.publish();
        }
    }

    /// Closes both sides as the reason asks for.
    fn end(mut self, close: Close) -> (Close, u64, u64) {
        self.publish();
        let in_order = match close {
            Close::Finished => true,
            Close::Drained => !self.is_blocked(),
            Close::Grace => false,
            _ => self.limits.abort == Abort::Fin,
        };
        for end in self.ends.iter() {
            if in_order {
                end.finish();
            } else {
                end.reset_on_close();
            }
        }
        (close, self.up.bytes, self.down.as_ref().map_or(0, |down| down.bytes))
    }
}

/// The reason of a break at this end.
fn broken(end: usize, error: &io::Error) -> Close {
    match error.raw_os_error() {
        Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH) => Close::Vanished,
        _ if end == 0 => Close::ClientReset,
        _ => Close::UpstreamReset,
    }
}
