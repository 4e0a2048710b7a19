//! One direction of a relay, in copy mode: read into the thread's scratch, write straight on, keep only what the peer refuses.
//!
//! Not both: `Relay` holds two of these, or one for an echo. The invariant: it reads only while it holds nothing, so at
//! most one scratch full is ever held, and a peer that does not read blocks its source. It never awaits; one poll moves at
//! most `SHARE` bytes, so that a busy connection cannot starve its neighbours.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::Lane;
use crate::net::stream::Stream;

/// The largest read.
const SCRATCH: usize = 64 << 10;

/// The most bytes that one poll moves.
const SHARE: usize = 1 << 20;

/// After so many bytes the counter is told.
const PUBLISH: u64 = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Direction {
    from: usize,
    to: usize,
    lane: Lane,
    /// What the peer has refused so far, from `start` on.
    kept: Vec<u8>,
    start: usize,
    state: State,
    /// Until when the shared rate allows nothing.
    pause: Option<Pin<Box<Sleep>>>,
    /// Bytes that have reached the peer.
    pub(super) bytes: u64,
    published: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes may come.
    Open,
    /// The source has finished; the peer is to be told.
    Ended,
    /// Nothing more will pass.
    Over,
}

/// A side that broke off.
#[derive(Debug)]
pub(super) struct Break {
    /// Which of the relay's ends.
    pub(super) end: usize,
    /// Whether all that it sent has been read: nothing of it can follow.
    pub(super) is_read_empty: bool,
    /// What the system says.
    pub(super) error: io::Error,
}

impl Direction {
    pub(super) fn new(from: usize, to: usize, lane: Lane) -> Self {
        let (kept, start, state) = (vec![], 0, State::Open);
        Self { from, to, lane, kept, start, state, pause: None, bytes: 0, published: 0 }
    }

    /// Whether nothing more will pass.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether the peer has refused bytes that wait here.
    pub(super) fn holds(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Tells the counter what has passed since it was last told.
    pub(super) fn publish(&mut self) {
        self.lane.counter.add(self.bytes - self.published);
        self.published = self.bytes;
    }

    /// Moves what can be moved. With `is_broken` an end of file is no longer passed on: the peer must not take it for a
    /// clean end.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut [Stream],
        is_broken: bool,
    ) -> Option<Break> {
        if self.state == State::Over {
            return None;
        }
        match self.poll_move(cx, ends, is_broken) {
            Poll::Ready(Ok(())) => self.state = State::Over,
            Poll::Ready(Err(cause)) => {
                self.state = State::Over;
                self.kept = vec![];
                return Some(cause);
            }
            Poll::Pending => {}
        }
        if self.bytes - self.published >= PUBLISH {
            self.publish();
        }
        None
    }

    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut [Stream],
        is_broken: bool,
    ) -> Poll<Result<(), Break>> {
        let mut share = SHARE;
        loop {
            if let Err(cause) = ready!(self.poll_kept(cx, ends)) {
                return Poll::Ready(Err(cause));
            }
            if self.state == State::Ended {
                if !is_broken {
                    // It fails only where the peer has broken off, which its own direction tells.
                    let _ = ready!(Pin::new(&mut ends[self.to]).poll_shutdown(cx));
                }
                return Poll::Ready(Ok(()));
            }
            if share == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match ready!(self.poll_chunk(cx, ends, share)) {
                Ok(0) => self.state = State::Ended,
                Ok(read) => share = share.saturating_sub(read),
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
    }

    /// Reads once and writes on; keeps what the peer refuses. Zero: the source has finished.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut [Stream],
        share: usize,
    ) -> Poll<Result<usize, Break>> {
        let most = ready!(self.poll_rate(cx, share.min(SCRATCH)));
        BUFFER.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..most]);
            let read = Pin::new(&mut ends[self.from]).poll_read(cx, &mut buffer);
            let length = buffer.filled().len();
            if let Some(bucket) = &self.lane.bucket {
                bucket.give_back((most - length) as f64);
            }
            if let Err(error) = ready!(read) {
                return Poll::Ready(Err(Break { end: self.from, is_read_empty: true, error }));
            }
            let bytes = &scratch[..length];
            if let Some(watch) = &mut self.lane.watch {
                watch.see(bytes);
            }
            let mut written = 0;
            while written < length {
                match self.poll_write(cx, ends, &bytes[written..]) {
                    Poll::Ready(Ok(count)) => written += count,
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                    Poll::Pending => {
                        self.kept.extend_from_slice(&bytes[written..]);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(length))
        })
    }

    /// Writes what is held; ready once nothing is.
    fn poll_kept(&mut self, cx: &mut Context<'_>, ends: &mut [Stream]) -> Poll<Result<(), Break>> {
        while self.start < self.kept.len() {
            let kept = std::mem::take(&mut self.kept);
            let written = self.poll_write(cx, ends, &kept[self.start..]);
            self.kept = kept;
            match ready!(written) {
                Ok(count) => self.start += count,
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
        (self.kept, self.start) = (vec![], 0);
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut [Stream],
        bytes: &[u8],
    ) -> Poll<Result<usize, Break>> {
        let written = match ready!(Pin::new(&mut ends[self.to]).poll_write(cx, bytes)) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        };
        Poll::Ready(match written {
            Ok(count) => {
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) => Err(Break { end: self.to, is_read_empty: false, error }),
        })
    }

    /// How many bytes may be read now; pending while the rate allows none.
    fn poll_rate(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<usize> {
        let Some(bucket) = &self.lane.bucket else { return Poll::Ready(most) };
        // A good chunk: a rate neither wakes for each byte nor reads as few bytes as were earned since the last read.
        let least = (most as f64 / 4.0).max(1.0);
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(tokens) = bucket.take(least, most as f64) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "from 1 to `most`"
                )]
                let whole = tokens as usize;
                bucket.give_back(tokens - whole as f64);
                return Poll::Ready(whole);
            }
            self.pause = Some(Box::pin(sleep_until(Instant::now() + bucket.wait(least))));
        }
    }
}
