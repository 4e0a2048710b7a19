//! What faults made on purpose do to bytes and to time.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    net::relay::{Abort, End, Ending, Limits, relay},
    outcome::Close,
};

const NONE: Faults =
    Faults { latency: Duration::ZERO, jitter: Duration::ZERO, rate: None, reset_after: None };

/// A relay with faults both ways, while a client and a server talk through it.
async fn through<T>(faults: Faults, talk: impl AsyncFnOnce(UnixStream, UnixStream) -> T) -> (End, T) {
    let (client, near) = UnixStream::pair().unwrap();
    let (far, server) = UnixStream::pair().unwrap();
    let token = CancellationToken::new;
    let ending = Ending { drain: token(), drain_idle: Duration::ZERO, finish: None, kill: token() };
    let hour = Duration::from_hours(1);
    let limits = Limits { idle: hour, half_closed: hour, vanished: hour, abort: Abort::Reset };
    let lane = || Lane { faults: Some(Arc::new(faults)), ..Lane::default() };
    let relay = relay(Stream::Unix(near), Stream::Unix(far), lane(), lane(), &limits, &ending);
    tokio::join!(relay, talk(client, server))
}

#[tokio::test(start_paused = true)]
async fn each_byte_is_late_within_the_bounds() {
    let (latency, jitter) = (Duration::from_millis(50), Duration::from_millis(20));
    let (end, times) = through(Faults { latency, jitter, ..NONE }, async |mut client, mut server| {
        let mut times = vec![];
        for _ in 0..200 {
            let start = Instant::now();
            client.write_all(b"x").await.unwrap();
            server.read_u8().await.unwrap();
            times.push(start.elapsed());
        }
        times
    })
    .await;
    let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
    // Timers are exact to a millisecond.
    assert!(least >= latency && most <= latency + jitter + Duration::from_millis(2), "{least:?} {most:?}");
    assert!(least < latency + jitter / 5 && most > latency + jitter * 4 / 5, "{least:?} {most:?}");
    assert_eq!((end.close, end.received_bytes), (Close::Finished, 200));
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_from_the_first_byte() {
    for rate in [50, 1000, 300_000] {
        let (_, took) = through(Faults { rate: Some(rate), ..NONE }, async |mut client, mut server| {
            let bytes = vec![0; usize::try_from(rate).unwrap() * 2];
            let start = Instant::now();
            let mut got = vec![];
            let (sent, read) = tokio::join!(
                async {
                    client.write_all(&bytes).await.unwrap();
                    client.shutdown().await
                },
                server.read_to_end(&mut got)
            );
            assert!(sent.is_ok() && read.is_ok() && got.len() == bytes.len());
            start.elapsed().as_secs_f64()
        })
        .await;
        assert!((took - 2.0).abs() < 0.1, "{rate} B/s: {took} s for two seconds' bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_waits_for_its_turn() {
    let latency = Duration::from_secs(2);
    let (end, ()) = through(Faults { latency, ..NONE }, async |mut client, mut server| {
        let start = Instant::now();
        client.write_all(b"last").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = vec![];
        server.read_to_end(&mut got).await.unwrap();
        assert!(got == b"last" && start.elapsed() >= latency);
        assert!(start.elapsed() <= latency + Duration::from_millis(2));
    })
    .await;
    assert_eq!(end.close, Close::Finished);
}
