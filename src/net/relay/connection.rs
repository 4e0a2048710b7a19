//! A connection at work: its directions, the clock that watches over them, and how it closes.
//!
//! Bytes are the common event and cost nothing but their own system calls: one timer a connection, set when it fires or
//! must fire earlier, never for each byte; and the rare futures are asked only when their bell has rung.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Ending, Limits,
    bell::Bell,
    closing::{self, broken},
    presence::Presence,
    way::Way,
};
use crate::{net::stream::Stream, outcome::Close};

/// A connection between ends, the client first, and its directions, that from the client first. An echo has one of each.
pub(super) struct Relay<'a> {
    ends: &'a [Stream],
    directions: &'a mut [Way],
    limits: &'a Limits,
    bell: Bell,
    /// Wait for an error of an end that nobody reads from.
    watches: [Option<Watch<'a>>; 2],
    presence: Presence,
    /// When a byte or an end of file passed last.
    active: Instant,
    second_look: Look,
    /// How long it must be silent to be ended, once the run drains.
    draining: Option<Duration>,
    /// The side that broke off, once one has.
    broken: Option<Close>,
    shape: Shape,
}

type Watch<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A connection that was silent for so long is looked at once: a read stops at urgent data of TCP, and nothing tells that
/// there is more behind it.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Whether that look has been had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Not since bytes have passed.
    Due,
    Done,
    /// Due again; the clock does not know yet.
    Renewed,
}

/// What the clock and the watches depend on, of each direction.
type Shape = [(bool, bool); 2];

impl<'a> Relay<'a> {
    pub(super) fn new(ends: &'a [Stream], directions: &'a mut [Way], limits: &'a Limits) -> Self {
        let active = Instant::now();
        Self {
            ends,
            directions,
            limits,
            bell: Bell::default(),
            watches: [None, None],
            presence: Presence::new(ends, limits.vanished, active),
            active,
            second_look: Look::Due,
            draining: None,
            broken: None,
            shape: Shape::default(),
        }
    }

    /// Runs to the end.
    pub(super) async fn run(&mut self, ending: &Ending) -> Close {
        let mut timer = pin!(sleep_until(self.next()));
        let mut drain = pin!(ending.drain.cancelled());
        let mut finish = ending.finish.as_ref().map(|token| Box::pin(token.cancelled()));
        let mut kill = pin!(ending.kill.cancelled());
        let close = poll_fn(|cx| {
            let heard = self.bell.heard(cx);
            if let Some(waker) = &heard {
                let rare = &mut Context::from_waker(waker);
                if kill.as_mut().poll(rare).is_ready() {
                    return Poll::Ready(Close::Grace);
                }
                if self.draining != Some(Duration::ZERO)
                    && finish.as_mut().is_some_and(|finish| finish.as_mut().poll(rare).is_ready())
                {
                    self.draining = Some(Duration::ZERO);
                } else if self.draining.is_none() && drain.as_mut().poll(rare).is_ready() {
                    self.draining = Some(ending.drain_idle);
                }
            }
            if let Poll::Ready(close) = self.poll_bytes(cx) {
                return Poll::Ready(close);
            }
            self.poll_rare(heard.is_some(), timer.as_mut())
        })
        .await;
        self.directions.iter_mut().for_each(Way::publish);
        closing::end(self.ends, close, self.limits.abort, self.is_blocked());
        close
    }

    /// Moves what can be moved; ready when the connection is over.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        let before = self.passed();
        let mut open = self.directions.iter().filter(|direction| !direction.is_over()).count();
        for direction in self.directions.iter_mut().filter(|direction| !direction.is_over()) {
            // Where a side has broken off, its peer must not see a clean end; that of the last direction is the close itself.
            let passes_end = self.broken.is_none() && open > 1;
            let cause = direction.poll(cx, self.ends, passes_end);
            open -= usize::from(direction.is_over());
            if let Some(cause) = cause {
                let close = *self.broken.get_or_insert(broken(cause.end, &cause.error));
                if cause.is_read_empty {
                    return Poll::Ready(close);
                }
            }
        }
        if self.directions.iter().any(Way::is_cut) {
            return Poll::Ready(Close::Injected);
        }
        if self.passed() != before {
            self.active = Instant::now();
            if self.second_look == Look::Done {
                self.second_look = Look::Renewed;
            }
        }
        match self.broken {
            _ if !self.directions.iter().all(Way::is_over) => Poll::Pending,
            // What the broken side sent before it broke has reached the other.
            Some(close) => Poll::Ready(close),
            None => Poll::Ready(Close::Finished),
        }
    }

    /// Sees to the watches and the clock if anything has changed for them.
    fn poll_rare(&mut self, has_rung: bool, timer: Pin<&mut Sleep>) -> Poll<Close> {
        let mut shape = Shape::default();
        for (shape, direction) in shape.iter_mut().zip(&*self.directions) {
            *shape = (direction.is_over(), direction.reads());
        }
        let is_renewed = self.second_look == Look::Renewed;
        if is_renewed {
            self.second_look = Look::Due;
        }
        let has_woken = self.presence.passed(self.active) || is_renewed;
        if !has_rung && !has_woken && self.shape == shape {
            return Poll::Pending;
        }
        self.shape = shape;
        let Some(waker) = self.bell.waker() else { return Poll::Pending };
        let rare = &mut Context::from_waker(&waker);
        if let Poll::Ready(close) = self.poll_watches(rare, has_rung) {
            return Poll::Ready(close);
        }
        self.poll_clock(rare, has_rung, timer)
    }

    /// Looks whether an end has broken off that nobody reads from now, so that no read will tell.
    fn poll_watches(&mut self, rare: &mut Context<'_>, has_rung: bool) -> Poll<Close> {
        for direction in &*self.directions {
            let (end, reads) = (direction.from(), direction.reads());
            let (stream, watch) = (&self.ends[usize::from(end)], &mut self.watches[usize::from(end)]);
            let is_new = watch.is_none() && !reads;
            if is_new {
                *watch = Some(Box::pin(stream.broken()));
            }
            let Some(waiting) = watch.as_mut().filter(|_| is_new || has_rung) else { continue };
            if waiting.as_mut().poll(rare).is_ready() {
                *watch = None;
                if !reads {
                    let error = stream.take_error().unwrap_or(std::io::ErrorKind::ConnectionReset.into());
                    return Poll::Ready(*self.broken.get_or_insert(broken(end, &error)));
                }
            }
        }
        Poll::Pending
    }

    /// Looks at the clock: idle, half-closed, draining, vanished.
    fn poll_clock(
        &mut self,
        rare: &mut Context<'_>,
        has_rung: bool,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Close> {
        let mut must_ask = has_rung;
        loop {
            let now = Instant::now();
            let (limit, close) = self.patience();
            if now >= self.active + limit {
                return Poll::Ready(close);
            }
            if self.second_look == Look::Due && now >= self.active + SECOND_LOOK && self.is_stuck() {
                rare.waker().wake_by_ref();
            }
            if self.presence.next().is_some_and(|look| look <= now) {
                self.tidy();
                let is_blocked = self.is_blocked();
                if self.presence.look(self.ends, self.active, now, is_blocked).is_gone() {
                    return Poll::Ready(Close::Vanished);
                }
            }
            let next = self.next();
            // Later is fine: the timer is not set anew for each byte, only when it fires or must fire earlier.
            if timer.deadline() > next || timer.is_elapsed() {
                timer.as_mut().reset(next);
                must_ask = true;
            }
            if !must_ask || timer.as_mut().poll(rare).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Has what urgent data holds up read, if there is any.
    fn is_stuck(&mut self) -> bool {
        self.second_look = Look::Done;
        let mut is_stuck = false;
        for direction in self.directions.iter_mut().filter(|direction| direction.reads()) {
            if self.ends[usize::from(direction.from())].is_at_mark() {
                direction.unstick();
                is_stuck = true;
            }
        }
        is_stuck
    }

    /// Now and then: the counters are told, and watches that are not needed any more are given up.
    fn tidy(&mut self) {
        for direction in self.directions.iter_mut() {
            direction.publish();
            if direction.reads() {
                self.watches[usize::from(direction.from())] = None;
            }
        }
    }

    /// When the clock has to be looked at next if nothing happens.
    fn next(&self) -> Instant {
        let silent_until = self.active + self.patience().0;
        let second_look = (self.second_look == Look::Due).then(|| self.active + SECOND_LOOK);
        [second_look, self.presence.next()].into_iter().flatten().fold(silent_until, Instant::min)
    }

    /// How long the connection may be silent now, and what it would end as.
    fn patience(&self) -> (Duration, Close) {
        let (limit, close) = if self.is_half_closed() {
            (self.limits.half_closed, self.broken.unwrap_or(Close::HalfClosedTimeout))
        } else {
            (self.limits.idle, Close::IdleTimeout)
        };
        match self.draining {
            // To be ended as soon as nothing is held: until then the usual patience holds.
            Some(Duration::ZERO) if self.is_blocked() => (limit, close),
            Some(drain_idle) if drain_idle <= limit => (drain_idle, Close::Drained),
            _ => (limit, close),
        }
    }

    fn is_half_closed(&self) -> bool {
        self.directions.len() > 1 && self.directions.iter().any(Way::is_over)
    }

    /// Whether a peer does not take what is held for it.
    fn is_blocked(&self) -> bool {
        self.directions.iter().any(Way::holds)
    }

    /// All that the clock counts as a sign of life: bytes, and ends of file, from which on the other side has its time.
    fn passed(&self) -> (u64, usize) {
        let bytes = self.directions.iter().map(|direction| direction.passed().bytes).sum();
        (bytes, self.directions.iter().filter(|direction| direction.is_over()).count())
    }
}
