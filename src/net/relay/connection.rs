//! A connection at work: its two directions, the clock that watches over them, and how it closes.
//!
//! Only one timer a connection: it is set when it fires or must fire earlier, never for each byte.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Abort, Ending, Limits, way::Way};
use crate::{net::stream::Stream, outcome::Close};

/// A connection between ends that lie in `ends`, the client first.
pub(super) struct Relay<'a> {
    /// The client, and the upstream if there is one.
    ends: &'a mut [Stream],
    up: Way,
    /// `None` for an echo.
    down: Option<Way>,
    limits: &'a Limits,
    /// When a byte passed last.
    active: Instant,
    /// The side that broke off, once one has.
    broken: Option<Close>,
}

/// How often a connection looks whether a side that it does not read from has broken off.
const LOOK: Duration = Duration::from_millis(500);

impl<'a> Relay<'a> {
    pub(super) fn new(ends: &'a mut [Stream], up: Way, down: Option<Way>, limits: &'a Limits) -> Self {
        Self { ends, up, down, limits, active: Instant::now(), broken: None }
    }

    /// Runs to the end: why it ended, and the bytes there and back.
    pub(super) async fn run(mut self, ending: &Ending) -> (Close, u64, u64) {
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
        if self.up.is_cut() || self.down.as_ref().is_some_and(Way::is_cut) {
            return Poll::Ready(Close::Injected);
        }
        if self.total() > before {
            self.active = Instant::now();
        }
        let all_over = self.up.is_over() && self.down.as_ref().is_none_or(Way::is_over);
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
        self.up.holds() || self.down.as_ref().is_some_and(Way::holds)
    }

    fn total(&self) -> u64 {
        self.up.bytes() + self.down.as_ref().map_or(0, Way::bytes)
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
            Close::Grace | Close::Injected => false,
            _ => self.limits.abort == Abort::Fin,
        };
        for end in self.ends.iter() {
            if in_order {
                end.finish();
            } else {
                end.reset_on_close();
            }
        }
        (close, self.up.bytes(), self.down.as_ref().map_or(0, Way::bytes))
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
