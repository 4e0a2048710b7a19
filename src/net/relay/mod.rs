//! Moves bytes between two stream sockets, or from one back to itself, until both have finished or something breaks.
//!
//! One task a connection; both directions are polled together. An end of file goes on as an end of file and the other
//! direction lives on; a broken side breaks the other (`Abort`). No byte is lost, doubled or reordered while both sides live.
//! Idle connections hold no buffer and no pipe. The caller has to say what a close means: here are no jobs, no metrics but
//! counters.

mod bell;
mod closing;
mod connection;
mod direction;
mod inject;
mod line;
mod pace;
mod pool;
mod presence;
#[cfg(test)]
mod tests;
mod watch;
mod way;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{rate::Bucket, stream::Stream};
use crate::{meter::Counter, outcome::Close};
use connection::Relay;
use direction::Passed;
use way::Way;

pub use inject::Faults;
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
    /// How long a TCP peer may leave bytes unacknowledged before it counts as gone: `VANISHED`. One that owes nothing is
    /// asked after that time and counts as gone when that is over twice.
    pub vanished: Duration,
    /// What the one side sees of the other's break.
    pub abort: Abort,
}

/// Less than the quarter of an hour after which the kernel gives up, more than a route takes to heal.
pub const VANISHED: Duration = Duration::from_mins(1);

/// How connections are told to end from outside.
#[derive(Clone, Debug)]
pub struct Ending {
    /// End with FIN once no byte has passed for `drain_idle`.
    pub drain: CancellationToken,
    /// How long a draining connection must be silent.
    pub drain_idle: Duration,
    /// End with FIN as soon as nothing is held for a peer; `None`: nobody will ask for that.
    pub finish: Option<CancellationToken>,
    /// Reset.
    pub kill: CancellationToken,
}

/// Where one direction's bytes are counted, and how fast they may go.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Grows as bytes reach the peer, every 64 KiB and at the close.
    pub counter: Counter,
    /// Likewise, for those that the kernel moved without a copy.
    pub spliced: Counter,
    /// The limit that this direction shares with others.
    pub bucket: Option<Arc<Bucket>>,
    /// Looks for a message in what passes.
    pub watch: Option<Box<Watch>>,
    /// What is done to the bytes on purpose.
    pub faults: Option<Arc<Faults>>,
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
    /// Those of both that the kernel moved without a copy.
    pub spliced_bytes: u64,
}

impl End {
    /// Ended before a byte passed.
    pub fn without_bytes(close: Close) -> Self {
        Self { close, received_bytes: 0, sent_bytes: 0, spliced_bytes: 0 }
    }
}

/// Passes bytes both ways between a client and an upstream.
pub fn relay(
    client: Stream,
    upstream: Stream,
    up: Lane,
    down: Lane,
    limits: &Limits,
    ending: &Ending,
) -> impl Future<Output = End> + Send {
    let ends = [client, upstream];
    let mut directions = [Way::new(0, 1, up), Way::new(1, 0, down)];
    // Not an `async fn`: its arguments would lie in the future twice.
    async move {
        let close = Relay::new(&ends, &mut directions, limits).run(ending).await;
        let [up, down] = directions.map(|way| way.passed());
        let spliced_bytes = up.spliced + down.spliced;
        End { close, received_bytes: up.bytes, sent_bytes: down.bytes, spliced_bytes }
    }
}

/// Sends a client's bytes back to it.
pub fn echo(
    client: Stream,
    lane: Lane,
    limits: &Limits,
    ending: &Ending,
) -> impl Future<Output = End> + Send {
    let (ends, mut directions) = ([client], [Way::new(0, 0, lane)]);
    async move {
        let close = Relay::new(&ends, &mut directions, limits).run(ending).await;
        let Passed { bytes, spliced } = directions[0].passed();
        End { close, received_bytes: bytes, sent_bytes: bytes, spliced_bytes: spliced }
    }
}
