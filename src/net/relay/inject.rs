//! One direction of a relay with faults made on purpose: late, slow, broken off after so many bytes.
//!
//! Bytes wait in a line until they are due; the line never reorders and holds at most `MOST`. The end of file waits in it
//! too; a break does not. Speed does not matter here, what is promised does.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Lane,
    direction::Break,
    line::{Line, MOST},
    pace::Pace,
};
use crate::net::{rate::Bucket, stream::Stream};

/// What is done to one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Each byte is so late.
    pub latency: Duration,
    /// And up to so much later, by chance.
    pub jitter: Duration,
    /// So many bytes a second at most.
    pub rate: Option<u64>,
    /// After so many bytes the connection is broken off.
    pub reset_after: Option<u64>,
}

/// The largest read.
const CHUNK: usize = 16 << 10;

/// So much of a second's bytes may pass at once, so that a late wake-up costs nothing.
const BURST: f64 = 0.1;

/// How often it is looked whether the last bytes before a break have arrived, and for how long.
const LOOK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(1);

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Injected {
    pub(super) from: u8,
    to: u8,
    lane: Lane,
    faults: Arc<Faults>,
    line: Line,
    own: Pace,
    shared: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the next read is not to wait for news.
    pub(super) is_stuck: bool,
    state: State,
    /// Bytes that may still be read.
    left: u64,
    random: u64,
    /// Bytes that have reached the peer.
    pub(super) bytes: u64,
    published: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The source has finished; the peer is to be told then.
    Ended(Instant),
    /// All that may pass was written; the break waits until it has arrived, at most until then.
    Cutting(Instant),
    Cut,
    Over,
}

impl Injected {
    pub(super) fn new(from: u8, to: u8, lane: Lane, faults: Arc<Faults>) -> Self {
        let bucket = faults.rate.map(|rate| Arc::new(Bucket::new(rate as f64, rate as f64 * BURST)));
        Self {
            from,
            to,
            own: Pace::new(bucket),
            shared: Pace::new(lane.bucket.clone()),
            lane,
            line: Line::default(),
            timer: None,
            is_stuck: false,
            state: State::Open,
            left: faults.reset_after.unwrap_or(u64::MAX),
            random: RandomState::new().hash_one(0),
            faults,
            bytes: 0,
            published: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state == State::Cut
    }

    pub(super) fn holds(&self) -> bool {
        !self.line.is_empty()
    }

    pub(super) fn reads(&self) -> bool {
        let is_paused = self.own.is_paused() || self.shared.is_paused();
        self.state == State::Open && self.left > 0 && self.line.room() > 0 && !is_paused
    }

    pub(super) fn publish(&mut self) {
        self.lane.counter.add(self.bytes - self.published);
        self.published = self.bytes;
    }

    /// Moves what can be moved. A break passes at once, ahead of all that waits.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, ends: &[Stream], passes_end: bool) -> Option<Break> {
        let moved = self.poll_move(cx, ends, passes_end);
        self.publish();
        match moved {
            Poll::Pending => None,
            Poll::Ready(Ok(state)) => {
                self.state = state;
                None
            }
            Poll::Ready(Err((end, error))) => {
                (self.state, self.line) = (State::Over, Line::default());
                Some(Break { end, is_read_empty: true, error })
            }
        }
    }

    /// Ready with the state in which nothing more will pass.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        ends: &[Stream],
        passes_end: bool,
    ) -> Poll<Result<State, (u8, io::Error)>> {
        // Enough to fill the line once; then the neighbours have their turn.
        for _ in 0..MOST / CHUNK {
            let now = Instant::now();
            let written = self.write_due(cx, ends, now).map_err(|error| (self.to, error))?;
            match self.state {
                State::Over | State::Cut => return Poll::Ready(Ok(self.state)),
                State::Open if self.left == 0 && !self.holds() => {
                    self.state = State::Cutting(now + PATIENCE);
                }
                State::Ended(at) if !self.holds() && at <= now => {
                    if passes_end {
                        // It fails only where the peer has broken off, which its own direction tells.
                        ends[usize::from(self.to)].finish();
                    }
                    return Poll::Ready(Ok(State::Over));
                }
                // A reset takes away what the peer has not got yet.
                State::Cutting(until) if now >= until || ends[usize::from(self.to)].unacknowledged() == 0 => {
                    return Poll::Ready(Ok(State::Cut));
                }
                State::Open | State::Ended(_) | State::Cutting(_) => {
                    let read = self.read(cx, ends).map_err(|error| (self.from, error))?;
                    // Both stand still and will wake: the source or the bucket, and the peer or the timer.
                    if !read && !written && self.poll_timer(cx, now).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is due; whether something went.
    fn write_due(&mut self, cx: &mut Context<'_>, ends: &[Stream], now: Instant) -> io::Result<bool> {
        let mut has_written = false;
        loop {
            let bytes = self.line.ready(now);
            if bytes.is_empty() {
                return Ok(has_written);
            }
            match ends[usize::from(self.to)].poll_send(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.line.taken(count);
                    self.bytes += count as u64;
                    has_written = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(has_written),
            }
        }
    }

    /// Reads once into the line; whether something came.
    fn read(&mut self, cx: &mut Context<'_>, ends: &[Stream]) -> io::Result<bool> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = self.line.room().min(CHUNK).min(left);
        if self.state != State::Open || room == 0 {
            return Ok(false);
        }
        let Poll::Ready(most) = self.shared.poll(cx, room, room as f64 / 4.0) else { return Ok(false) };
        // A quarter of the burst: a low rate neither wakes for each byte nor lets whole seconds pass at once.
        let least = self.faults.rate.map_or(1.0, |rate| rate as f64 * BURST / 4.0);
        let Poll::Ready(allowed) = self.own.poll(cx, most, least) else {
            self.shared.give_back(most);
            return Ok(false);
        };
        let mut bytes = [0; CHUNK];
        let (source, is_stuck) = (&ends[usize::from(self.from)], std::mem::take(&mut self.is_stuck));
        let read = match is_stuck.then(|| source.recv_now(&mut bytes[..allowed])).flatten() {
            Some(read) => Poll::Ready(read),
            None => source.poll_recv(cx, &mut bytes[..allowed]),
        };
        let length = if let Poll::Ready(Ok(length)) = read { length } else { 0 };
        self.own.give_back(allowed - length);
        self.shared.give_back(most - length);
        match read {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => read?,
        };
        let bytes = &bytes[..length];
        let due = self.due();
        if bytes.is_empty() {
            self.state = State::Ended(due);
        } else {
            self.left -= bytes.len() as u64;
            self.line.push(due, bytes);
        }
        Ok(true)
    }

    /// When what was read now is due: never before what was read earlier.
    fn due(&mut self) -> Instant {
        let due = Instant::now() + self.faults.latency + self.faults.jitter.mul_f64(self.chance());
        self.line.last().map_or(due, |last| last.max(due))
    }

    /// A number from 0 to 1 (`SplitMix64`).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }

    /// Pending until the next thing is due after `now`; also where nothing is.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let next = match (self.state, self.line.next()) {
            (State::Cutting(_), _) => now + LOOK,
            (_, Some(at)) | (State::Ended(at), None) => at,
            _ => return Poll::Pending,
        };
        // What is due already waits for the peer, not for the time.
        if next <= now {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
