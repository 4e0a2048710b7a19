//! Forwards of streams: how soon one side's break is seen on the other, whatever the connection does meanwhile; the orders
//! of half-closing; and an upstream that stalls.

use std::time::Duration;

use netjobs::outcome::Close;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{PATIENCE, Service, assert_reset, noise, read_all, reset, server, through};

/// What a connection does when one side breaks it off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scene {
    /// Nothing passes.
    Silent,
    /// The one that breaks off had finished before.
    HalfClosed,
    /// What the one sent waits for the other to read.
    Blocked,
    /// The same after so much that the kernel moves the bytes.
    BlockedInBulk,
}

/// Who breaks off: how soon the other sees it, and what the books say.
async fn break_off(scene: Scene, by_client: bool, options: &str) -> (Duration, Close) {
    let (service, client, far) = through(options).await;
    let (mut from, mut to) = if by_client { (client, far) } else { (far, client) };
    if scene == Scene::BlockedInBulk {
        let (mut got, bytes) = (vec![0; 4_000_000], noise(1, 4_000_000));
        let (written, read) = tokio::join!(from.write_all(&bytes), to.read_exact(&mut got));
        assert!(written.is_ok() && read.is_ok() && got == bytes);
    }
    match scene {
        Scene::Silent => {
            from.write_all(b"x").await.unwrap();
            assert_eq!(to.read_u8().await.unwrap(), b'x');
        }
        Scene::HalfClosed => {
            from.shutdown().await.unwrap();
            assert_eq!(to.read(&mut [0]).await.unwrap(), 0);
        }
        Scene::Blocked | Scene::BlockedInBulk => {
            let chunk = noise(1, 100_000);
            while timeout(Duration::from_millis(50), from.write(&chunk)).await.is_ok() {}
        }
    }
    let start = Instant::now();
    reset(from);
    // Not by a read: it would find the bytes that came before.
    timeout(PATIENCE, to.ready(Interest::ERROR)).await.expect("it is seen").unwrap();
    let took = start.elapsed();
    assert!(to.take_error().unwrap().is_some());
    drop(to);
    (took, service.end().await.1[0])
}

async fn check(scene: Scene, options: &str) {
    for (by_client, wanted) in [(true, Close::ClientReset), (false, Close::UpstreamReset)] {
        let mut times = vec![];
        for _ in 0..3 {
            let (took, close) = break_off(scene, by_client, options).await;
            assert_eq!(close, wanted, "{scene:?} {options}");
            times.push(took);
        }
        times.sort_unstable();
        assert!(times[1] < Duration::from_millis(50), "{scene:?} {options}: {times:?}");
    }
}

/// Cases 6, 7 and 8: within 50 ms.
#[tokio::test]
async fn a_break_is_seen_at_once_while_all_is_silent() {
    check(Scene::Silent, "").await;
}

/// Case 8: nobody reads from the side that breaks off.
#[tokio::test]
async fn a_break_is_seen_at_once_after_a_half_close() {
    check(Scene::HalfClosed, "").await;
}

/// Cases 6 and 7: the side that breaks off is not read from, since the other does not take what it sent.
#[tokio::test]
async fn a_break_is_seen_at_once_behind_bytes_that_nobody_takes() {
    check(Scene::Blocked, "").await;
    check(Scene::BlockedInBulk, "").await;
}

/// Cases 6 and 7: the side that breaks off is not read from, since it has used its rate up.
#[tokio::test]
async fn a_break_is_seen_at_once_behind_a_rate() {
    check(Scene::Blocked, ", rate: { bytes: 100KiB/s }").await;
}

/// Fault case 58: who finishes first, whether that side has spoken before, and whether the other speaks after it.
#[tokio::test]
async fn half_closes_in_eight_orders_lose_nothing() {
    for order in 0..8 {
        let (service, client, far) = through("").await;
        let (mut first, mut second) = if order & 1 == 0 { (client, far) } else { (far, client) };
        let before = if order & 2 == 0 { vec![] } else { noise(order, 300_000) };
        let after = if order & 4 == 0 { vec![] } else { noise(order + 8, 300_000) };
        let speak = async {
            first.write_all(&before).await.unwrap();
            first.shutdown().await.unwrap();
        };
        let ((), (got, end)) = tokio::join!(speak, read_all(&mut second));
        assert!(got == before && end.is_ok(), "order {order}");
        // The end of the one is not the end of the other.
        assert!(timeout(Duration::from_millis(20), first.read(&mut [0])).await.is_err(), "order {order}");
        let answer = async {
            second.write_all(&after).await.unwrap();
            second.shutdown().await.unwrap();
        };
        let ((), (got, end)) = tokio::join!(answer, read_all(&mut first));
        assert!(got == after && end.is_ok(), "order {order}");
        assert_eq!(service.end().await.1, [Close::Finished], "order {order}");
    }
}

/// Fault case 59: an upstream that takes a connection and then does nothing ends by the clock, and delays nobody.
#[tokio::test]
async fn a_stalled_upstream_ends_by_the_clock_and_delays_nobody() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', idle_timeout: 500ms }}")).await;
    let mut stuck = service.connect().await;
    let stalled = listener.accept().await.unwrap().0;
    let chunk = noise(59, 100_000);
    let start = Instant::now();
    let (mut broken, mut times) = (None, vec![]);
    while broken.is_none() {
        assert!(start.elapsed() < PATIENCE);
        match timeout(Duration::from_millis(50), stuck.write(&chunk)).await {
            Ok(written) => broken = written.err(),
            Err(_) => times.push(exchange(&service, &listener).await),
        }
    }
    assert_reset(&broken.map_or(Ok(()), Err));
    times.sort_unstable();
    // Some may be late on a busy machine.
    assert!(times[times.len() / 2] < Duration::from_millis(300), "{times:?}");
    drop(stalled);
    let (_, closes) = service.end().await;
    assert_eq!(closes.iter().filter(|close| **close == Close::IdleTimeout).count(), 1);
    assert!(closes.len() > 2 && closes.iter().filter(|close| **close == Close::Finished).count() > 1);
}

/// How long a byte of a new client takes to the upstream.
async fn exchange(service: &Service, listener: &tokio::net::TcpListener) -> Duration {
    let start = Instant::now();
    let mut client: TcpStream = service.connect().await;
    let mut far = listener.accept().await.unwrap().0;
    client.write_all(b"x").await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'x');
    start.elapsed()
}
