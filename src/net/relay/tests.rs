//! The relay between socket pairs of the test's own, on a clock that stands still where time matters.

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
