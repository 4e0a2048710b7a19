//! Forwards with faults made on purpose: how late, how slow, and where the break comes.

use std::time::Duration;

use netjobs::outcome::Close;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{
    PATIENCE, Service, assert_broken_off, assert_reset,
    forward::{read_randomly, write_randomly},
    noise, read_all, reset, server, through,
};

/// The time of one byte there and back.
async fn round_trip(client: &mut TcpStream, far: &mut TcpStream) -> Duration {
    let start = Instant::now();
    client.write_all(b"x").await.unwrap();
    far.read_u8().await.unwrap();
    far.write_all(b"y").await.unwrap();
    client.read_u8().await.unwrap();
    start.elapsed()
}

#[tokio::test]
async fn latency_delays_each_direction() {
    let (service, mut client, mut far) = through(", inject: { latency: 40ms }").await;
    let mut times = vec![];
    for _ in 0..9 {
        times.push(round_trip(&mut client, &mut far).await);
    }
    times.sort();
    assert!(times[0] >= Duration::from_millis(80) && times[4] < Duration::from_millis(150), "{times:?}");
    // Bytes on their way do not wait for each other's arrival, and the end comes as late as they.
    let start = Instant::now();
    let bytes = noise(1, 500_000);
    let ((), (got, end)) = tokio::join!(
        async {
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
        },
        read_all(&mut far)
    );
    let took = start.elapsed();
    assert!(got == bytes && end.is_ok());
    assert!(took >= Duration::from_millis(40) && took < Duration::from_secs(1), "{took:?}");
    far.shutdown().await.unwrap();
    assert!(read_all(&mut client).await.1.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

#[tokio::test]
async fn an_end_is_as_late_as_bytes() {
    let (service, mut client, mut far) = through(", inject: { latency: 60ms }").await;
    let start = Instant::now();
    client.shutdown().await.unwrap();
    assert!(read_all(&mut far).await.0.is_empty());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(60) && took < Duration::from_millis(500), "{took:?}");
    drop((client, far));
    service.end().await;
}

#[tokio::test]
async fn jitter_stays_within_its_bounds_and_keeps_the_order() {
    let (service, mut client, mut far) = through(", inject: { latency: 10ms, jitter: 20ms }").await;
    let mut times = vec![];
    for _ in 0..20 {
        times.push(round_trip(&mut client, &mut far).await);
    }
    times.sort();
    let (least, middle, most) = (times[0], times[10], times[19]);
    assert!(least >= Duration::from_millis(20) && middle < Duration::from_millis(90), "{times:?}");
    assert!(most > least + Duration::from_millis(5), "it varies: {times:?}");
    let bytes = noise(2, 300_000);
    let ((), (got, _)) = tokio::join!(
        async {
            for chunk in bytes.chunks(7_000) {
                client.write_all(chunk).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        },
        read_all(&mut far)
    );
    assert!(got == bytes);
    drop((client, far));
    service.end().await;
}

/// Late, slow and uneven: nothing is lost, doubled or moved.
#[tokio::test]
async fn random_reads_and_writes_lose_nothing_on_a_bad_line() {
    for seed in 0..3 {
        let (service, client, far) = through(", inject: { latency: 3ms, jitter: 4ms, rate: 4MB/s }").await;
        let (up, down) = (noise(seed, 700_000), noise(seed + 1000, 900_000));
        let (client, far) = (client.into_split(), far.into_split());
        let (got_down, got_up, (), ()) = tokio::join!(
            read_randomly(client.0, seed),
            read_randomly(far.0, seed + 1),
            write_randomly(client.1, &up, seed + 2),
            write_randomly(far.1, &down, seed + 3),
        );
        assert!(got_up == up && got_down == down, "seed {seed}");
        assert_eq!(service.end().await.1, [Close::Finished]);
    }
}

/// How long an answer takes through a forward to this server, in seconds.
async fn download(service: &Service, server: &TcpListener, bytes: &[u8]) -> f64 {
    let mut client = service.connect().await;
    let mut far = timeout(PATIENCE, server.accept()).await.unwrap().unwrap().0;
    let start = Instant::now();
    let ((), (got, _)) = tokio::join!(
        async {
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
        },
        read_all(&mut client)
    );
    assert!(got == bytes);
    start.elapsed().as_secs_f64()
}

#[tokio::test]
async fn the_rate_is_each_connections_own_and_the_jobs_is_shared() {
    let bytes = noise(3, 400_000);
    for (options, seconds) in
        [("inject: { rate: 400kB/s }", 1.0), ("rate: { bytes: 400kB/s }, inject: { latency: 1ms }", 2.0)]
    {
        let (listener, to) = server().await;
        let service = Service::forward(&format!("{{ listen: 0, to: '{to}', {options} }}")).await;
        let (one, other) =
            tokio::join!(download(&service, &listener, &bytes), download(&service, &listener, &bytes));
        let took = one.max(other);
        assert!((took - seconds).abs() < seconds / 10.0, "{options}: {took} s");
        service.end().await;
    }
}

#[tokio::test]
async fn a_break_comes_after_exactly_so_many_bytes() {
    for options in ["reset_after: 100kB", "reset_after: 100kB, latency: 20ms, rate: 2MB/s"] {
        let (service, mut client, mut far) =
            through(&format!(", on_abort: fin, inject: {{ {options} }}")).await;
        let bytes = noise(4, 300_000);
        client.write_all(b"ask").await.unwrap();
        let (_, (got, end)) = tokio::join!(far.write_all(&bytes), read_all(&mut client));
        assert_eq!(got.len(), 100_000);
        assert!(got == bytes[..100_000]);
        assert_reset(&end);
        let mut rest = vec![];
        assert_reset(&far.read_to_end(&mut rest).await.map(|_| ()));
        let (outcome, closes) = service.end().await;
        assert_eq!(closes, [Close::Injected]);
        assert_eq!(outcome.samples[0].find("sent_bytes"), Some(&netjobs::outcome::Sample::Count(100_000)));
        assert_eq!(outcome.samples[0].find("failed"), Some(&netjobs::outcome::Sample::Count(0)));
    }
    let (service, mut client, mut far) = through(", inject: { reset_after: 5B }").await;
    client.write_all(b"four").await.unwrap();
    far.read_exact(&mut [0; 4]).await.unwrap();
    client.shutdown().await.unwrap();
    far.shutdown().await.unwrap();
    assert!(read_all(&mut client).await.1.is_ok() && read_all(&mut far).await.1.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

#[tokio::test]
async fn none_at_all_may_pass() {
    let (_listener, to) = server().await;
    let service =
        Service::forward(&format!("{{ listen: 0, to: '{to}', inject: {{ reset_after: 0B }} }}")).await;
    assert_broken_off(&service).await;
    assert_eq!(service.end().await.1, [Close::Injected]);
}

/// A break passes at once, ahead of the bytes that wait.
#[tokio::test]
async fn a_break_is_not_late() {
    let (service, mut client, mut far) = through(", inject: { latency: 10s }").await;
    client.write_all(b"never seen").await.unwrap();
    far.write_all(b"never seen").await.unwrap();
    let start = Instant::now();
    reset(far);
    let (bytes, end) = read_all(&mut client).await;
    assert_reset(&end);
    assert!(bytes.is_empty() && start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// What waits is bounded: a source whose bytes are late is held back.
#[tokio::test]
async fn what_waits_is_bounded() {
    let (service, mut client, far) = through(", inject: { latency: 1h }").await;
    let (chunk, mut sent) = (vec![0; 64 << 10], 0);
    while let Ok(written) = timeout(Duration::from_millis(300), client.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 24 << 20, "nothing holds the source back");
    }
    reset(client);
    drop(far);
    assert_eq!(service.end().await.1, [Close::ClientReset]);
}

/// A header before the bytes is as early as ever; the bytes are late.
#[tokio::test]
async fn a_header_is_not_late() {
    let (listener, to) = server().await;
    let yaml =
        format!("{{ listen: 0, to: '{to}', proxy_protocol: {{ send: v1 }}, inject: {{ latency: 1s }} }}");
    let service = Service::forward(&yaml).await;
    let start = Instant::now();
    let mut client = service.connect().await;
    client.write_all(b"x").await.unwrap();
    let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    let mut bytes = [0; 200];
    let length = timeout(PATIENCE, far.read(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes[..length].ends_with(b"\r\n") && start.elapsed() < Duration::from_millis(800));
    assert_eq!(timeout(PATIENCE, far.read_u8()).await.unwrap().unwrap(), b'x');
    assert!(start.elapsed() >= Duration::from_secs(1));
    drop((client, far));
    service.end().await;
}
