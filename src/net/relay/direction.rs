//! One direction of a relay: takes bytes from one end and hands them on at once; keeps only what the peer refuses.
//!
//! Small reads are copied through the thread's scratch; after some large ones the kernel moves the bytes itself (`splice`).
//! The invariant: it reads only while it holds nothing, so at most one scratch or one pipe full is ever held, and a peer
//! that does not read blocks its source. It never awaits; one poll moves about `SHARE` bytes, so that a busy connection
//! cannot starve its neighbours. An idle direction has neither a buffer nor a pipe.

mod splice;

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
};

use super::{Lane, Watch, pace::Pace, pool::Lease};
use crate::{meter::Counter, net::stream::Stream};
use splice::Mode;

/// The largest read.
const SCRATCH: usize = 64 << 10;

/// After so many bytes a poll ends: one pipe full.
const SHARE: usize = 256 << 10;

/// After so many bytes the counters are told.
const PUBLISH: u64 = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Direction {
    /// Which of the relay's ends it reads from.
    pub(super) from: u8,
    to: u8,
    state: State,
    mode: Mode,
    counter: Counter,
    spliced: Counter,
    watch: Option<Box<Watch>>,
    /// What the peer has refused so far, from `start` on.
    kept: Vec<u8>,
    start: usize,
    /// Holds what the peer has refused of spliced bytes; none is kept beside them.
    pipe: Option<Lease>,
    /// Whether the next read is not to wait for news.
    is_stuck: bool,
    /// Waits while the shared rate allows nothing.
    pace: Pace,
    passed: Passed,
    published: Passed,
}

/// Bytes that have reached the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// All.
    pub(super) bytes: u64,
    /// Those of them that were not copied.
    pub(super) spliced: u64,
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
    pub(super) end: u8,
    /// Whether all that it sent has been read: nothing of it can follow.
    pub(super) is_read_empty: bool,
    /// What the system says.
    pub(super) error: io::Error,
}

impl Direction {
    pub(super) fn new(from: u8, to: u8, lane: Lane) -> Self {
        let Lane { counter, spliced, bucket, watch, faults: _ } = lane;
        // A rate counts before it reads, and a watch must see the bytes.
        let is_plain = bucket.is_none() && watch.is_none();
        Self {
            from,
            to,
            state: State::Open,
            mode: if is_plain { Mode::COPY } else { Mode::CopyForGood },
            pace: Pace::new(bucket),
            counter,
            spliced,
            watch,
            kept: vec![],
            start: 0,
            pipe: None,
            is_stuck: false,
            passed: Passed::default(),
            published: Passed::default(),
        }
    }

    /// Whether nothing more will pass.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether the peer has refused bytes that wait here.
    pub(super) fn holds(&self) -> bool {
        !self.kept.is_empty() || self.pipe.is_some()
    }

    /// Whether it waits for its source. If not, no read will tell that the source has broken off.
    pub(super) fn reads(&self) -> bool {
        self.state == State::Open && !self.holds() && !self.pace.is_paused()
    }

    /// Reads once without news: urgent data stopped the last read.
    pub(super) fn unstick(&mut self) {
        self.is_stuck = true;
        if self.mode != Mode::CopyForGood {
            self.mode = Mode::COPY;
        }
    }

    /// What has reached the peer.
    pub(super) fn passed(&self) -> Passed {
        self.passed
    }

    /// Tells the counters what has passed since they were last told.
    pub(super) fn publish(&mut self) {
        self.counter.add(self.passed.bytes - self.published.bytes);
        if self.passed.spliced > self.published.spliced {
            self.spliced.add(self.passed.spliced - self.published.spliced);
        }
        self.published = self.passed;
    }

    /// Moves what can be moved. Without `passes_end` an end of file is not passed on: what comes next tells the peer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, ends: &[Stream], passes_end: bool) -> Option<Break> {
        if self.state == State::Over {
            return None;
        }
        let moved = self.poll_move(cx, ends, passes_end);
        self.release();
        if self.passed.bytes - self.published.bytes >= PUBLISH {
            self.publish();
        }
        match moved {
            Poll::Pending => None,
            Poll::Ready(result) => {
                self.state = State::Over;
                (self.kept, self.pipe, self.pace) = (vec![], None, Pace::default());
                result.err()
            }
        }
    }

    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        ends: &[Stream],
        passes_end: bool,
    ) -> Poll<Result<(), Break>> {
        let mut share = SHARE;
        loop {
            ready!(self.poll_held(cx, ends))?;
            if self.state == State::Ended {
                if passes_end {
                    // It fails only where the peer has broken off, which its own direction tells.
                    ends[usize::from(self.to)].finish();
                }
                return Poll::Ready(Ok(()));
            }
            if share == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = match self.mode {
                Mode::Splice { .. } => ready!(self.poll_splice(cx, ends))?,
                Mode::Copy { .. } | Mode::CopyForGood => Some(ready!(self.poll_copy(cx, ends))?),
            };
            match taken {
                Some(0) => self.state = State::Ended,
                Some(count) => share = share.saturating_sub(count),
                None => {}
            }
        }
    }

    /// Reads once and writes on; keeps what the peer refuses. Zero: the source has finished.
    fn poll_copy(&mut self, cx: &mut Context<'_>, ends: &[Stream]) -> Poll<Result<usize, Break>> {
        // A good chunk: a rate neither wakes for each byte nor reads as few bytes as were earned since the last read.
        let most = ready!(self.pace.poll(cx, SCRATCH, SCRATCH as f64 / 4.0));
        BUFFER.with_borrow_mut(|scratch| {
            let (source, is_stuck) = (&ends[usize::from(self.from)], std::mem::take(&mut self.is_stuck));
            let read = match is_stuck.then(|| source.recv_now(&mut scratch[..most])).flatten() {
                Some(read) => Poll::Ready(read),
                None => source.poll_recv(cx, &mut scratch[..most]),
            };
            let count = if let Poll::Ready(Ok(count)) = read { count } else { 0 };
            self.pace.give_back(most - count);
            if let Err(error) = ready!(read) {
                return Poll::Ready(Err(self.source_broke(error)));
            }
            let bytes = &scratch[..count];
            if let Some(watch) = &mut self.watch {
                watch.see(bytes);
            }
            self.mode.copied(count);
            let mut written = 0;
            while written < count {
                match self.poll_write(cx, ends, &bytes[written..]) {
                    Poll::Ready(more) => written += more?,
                    Poll::Pending => {
                        self.kept.extend_from_slice(&bytes[written..]);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(count))
        })
    }

    /// Writes what is held; ready once nothing is.
    fn poll_held(&mut self, cx: &mut Context<'_>, ends: &[Stream]) -> Poll<Result<(), Break>> {
        ready!(self.poll_pipe(cx, ends))?;
        if self.kept.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.start < self.kept.len() {
            let kept = std::mem::take(&mut self.kept);
            let written = self.poll_write(cx, ends, &kept[self.start..]);
            self.kept = kept;
            self.start += ready!(written)?;
        }
        (self.kept, self.start) = (vec![], 0);
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        ends: &[Stream],
        bytes: &[u8],
    ) -> Poll<Result<usize, Break>> {
        Poll::Ready(match ready!(ends[usize::from(self.to)].poll_send(cx, bytes)) {
            Ok(0) => Err(self.peer_broke(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                self.passed.bytes += count as u64;
                Ok(count)
            }
            Err(error) => Err(self.peer_broke(error)),
        })
    }

    fn source_broke(&self, error: io::Error) -> Break {
        Break { end: self.from, is_read_empty: true, error }
    }

    fn peer_broke(&self, error: io::Error) -> Break {
        Break { end: self.to, is_read_empty: false, error }
    }
}
