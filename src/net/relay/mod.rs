//! Moves bytes between two stream sockets, or from one back to itself, until both have finished or something breaks.
//!
//! One task a connection; both directions are polled together. An end of file goes on as an end of file and the other
//! direction lives on; a broken side breaks the other (`Abort`). No byte is lost, doubled or reordered while both sides live.
//! Idle connections hold no buffer. The caller has to say what a close means: here are no jobs, no metrics but two counters.

mod connection;
mod direction;
mod inject;
mod line;
mod watch;
mod way;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{rate::Bucket, stream::Stream};
use crate::{meter::Counter, outcome::Close};
use connection::Relay;
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
}

impl End {
    /// Ended before a byte passed.
    pub fn without_bytes(close: Close) -> Self {
        Self { close, received_bytes: 0, sent_bytes: 0 }
    }
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
    let up = Way::new(0, 1, up);
    let relay = Relay::new(&mut ends, up, Some(Way::new(1, 0, down)), limits);
    let (close, received_bytes, sent_bytes) = relay.run(ending).await;
    End { close, received_bytes, sent_bytes }
}

/// Sends a client's bytes back to it.
pub async fn echo(client: Stream, lane: Lane, limits: &Limits, ending: &Ending) -> End {
    let mut ends = [client];
    let relay = Relay::new(&mut ends, Way::new(0, 0, lane), None, limits);
    let (close, bytes, _) = relay.run(ending).await;
    End { close, received_bytes: bytes, sent_bytes: bytes }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
        time::Instant,
    };

    use super::*;

    fn ending(drain_idle: Duration) -> Ending {
        let token = CancellationToken::new;
        Ending { drain: token(), drain_idle, finish: token(), kill: token() }
    }

    const LIMITS: Limits =
        Limits { idle: Duration::from_hours(1), half_closed: Duration::from_mins(5), abort: Abort::Reset };

    /// Case 39 of the forward's list: FIN, and only once no byte has passed for `drain_idle`.
    #[tokio::test(start_paused = true)]
    async fn a_draining_connection_ends_when_it_is_silent() {
        let (mut client, near) = UnixStream::pair().unwrap();
        let (far, mut server) = UnixStream::pair().unwrap();
        let ending = ending(Duration::from_secs(5));
        let counter = Counter::default();
        let up = Lane { counter: counter.clone(), ..Lane::default() };
        let relay = relay(Stream::Unix(near), Stream::Unix(far), up, Lane::default(), &LIMITS, &ending);
        let talk = async {
            let start = Instant::now();
            for second in 0..10 {
                client.write_all(b"x").await.unwrap();
                assert_eq!(server.read_u8().await.unwrap(), b'x');
                tokio::time::sleep(Duration::from_secs(1)).await;
                if second == 2 {
                    ending.drain.cancel();
                }
            }
            assert!(client.read_u8().await.is_err() && server.read_u8().await.is_err());
            start.elapsed()
        };
        let (end, took) = tokio::join!(relay, talk);
        assert_eq!(end, End { close: Close::Drained, received_bytes: 10, sent_bytes: 0 });
        assert_eq!(took.as_secs(), 14, "five seconds after the last byte");
        assert_eq!(counter.value(), 10);
    }

    #[tokio::test]
    async fn what_is_held_for_a_slow_reader_is_bounded_and_arrives() {
        let (client, near) = UnixStream::pair().unwrap();
        let (far, mut server) = UnixStream::pair().unwrap();
        let ending = ending(Duration::ZERO);
        let relay =
            relay(Stream::Unix(near), Stream::Unix(far), Lane::default(), Lane::default(), &LIMITS, &ending);
        let mut sent = 0u64;
        let write = async {
            let patience = Duration::from_millis(100);
            while let Ok(Ok(count)) = tokio::time::timeout(patience, async {
                client.writable().await?;
                match client.try_write(&[1; 4096]) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        std::future::pending().await
                    }
                    written => written,
                }
            })
            .await
            {
                sent += count as u64;
            }
            drop(client);
            let mut all = vec![];
            server.read_to_end(&mut all).await.unwrap();
            drop(server);
            all.len() as u64
        };
        let (end, got) = tokio::join!(relay, write);
        assert!(sent < 8 << 20, "{sent} bytes were taken from the source");
        assert_eq!((got, end.received_bytes, end.close), (sent, sent, Close::Finished));
    }
}
