//! The relay between socket pairs of the test's own, on a clock that stands still where time matters.

use std::{
    io::{IoSlice, Write as _},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::Instant,
};

use super::*;

fn ending(drain_idle: Duration) -> Ending {
    let token = CancellationToken::new;
    Ending { drain: token(), drain_idle, finish: None, kill: token() }
}

const LIMITS: Limits = Limits {
    idle: Duration::from_hours(1),
    half_closed: Duration::from_mins(5),
    vanished: VANISHED,
    abort: Abort::Reset,
};

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
    assert_eq!(end, End { received_bytes: 10, ..End::without_bytes(Close::Drained) });
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
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::future::pending().await,
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

/// Cases 4 and 24 of the forward's list: the time of the side that is left begins with the end of the other, however long
/// both were silent before.
#[tokio::test(start_paused = true)]
async fn an_end_after_a_long_silence_leaves_the_other_side_its_time() {
    for is_late in [false, true] {
        let (mut client, near) = UnixStream::pair().unwrap();
        let (far, mut server) = UnixStream::pair().unwrap();
        let ending = ending(Duration::ZERO);
        let (up, down) = (Lane::default(), Lane::default());
        let relay = relay(Stream::Unix(near), Stream::Unix(far), up, down, &LIMITS, &ending);
        let talk = async {
            tokio::time::sleep(LIMITS.half_closed * 2).await;
            client.shutdown().await.unwrap();
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
            let thought = if is_late { LIMITS.half_closed * 2 } else { LIMITS.half_closed / 2 };
            tokio::time::sleep(thought).await;
            let is_taken = server.write_all(b"answer").await.is_ok();
            drop(server);
            let mut answer = vec![];
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!((is_taken, answer.len()), (!is_late, if is_late { 0 } else { 6 }));
        };
        let (end, ()) = tokio::join!(relay, talk);
        assert_eq!(end.close, if is_late { Close::HalfClosedTimeout } else { Close::Finished });
    }
}

/// A read from a Unix socket stops behind bytes that came with a descriptor, though more follow.
#[tokio::test]
async fn bytes_behind_a_descriptor_do_not_wait_for_more() {
    let (mut client, near) = std::os::unix::net::UnixStream::pair().unwrap();
    let (far, mut server) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let near = UnixStream::from_std(near).unwrap();
    let rights = [ControlMessage::ScmRights(&[client.as_raw_fd()])];
    let with_rights = [IoSlice::new(b"first ")];
    sendmsg::<()>(client.as_raw_fd(), &with_rights, &rights, MsgFlags::empty(), None).unwrap();
    client.write_all(b"second").unwrap();
    let ending = ending(Duration::ZERO);
    let (up, down) = (Lane::default(), Lane::default());
    let relay = relay(Stream::Unix(near), Stream::Unix(far), up, down, &LIMITS, &ending);
    let read = async {
        let mut got = [0; 12];
        let all = tokio::time::timeout(Duration::from_secs(5), server.read_exact(&mut got)).await;
        ending.kill.cancel();
        all.expect("both arrive").unwrap();
        got
    };
    let (end, got) = tokio::join!(relay, read);
    assert_eq!((end.close, &got), (Close::Grace, b"first second"));
}

/// What an idle connection costs is this, its task's head, and what the runtime keeps of two sockets; in all at most 2 KiB.
#[tokio::test]
async fn an_idle_connection_is_small() {
    let (client, near) = UnixStream::pair().unwrap();
    let (far, server) = UnixStream::pair().unwrap();
    let ending = ending(Duration::ZERO);
    let relay =
        relay(Stream::Unix(near), Stream::Unix(far), Lane::default(), Lane::default(), &LIMITS, &ending);
    assert!(size_of_val(&relay) <= 1024, "{}", size_of_val(&relay));
    drop((client, server));
    assert_eq!(relay.await.close, Close::Finished);
}
