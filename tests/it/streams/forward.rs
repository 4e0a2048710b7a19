//! Forwards of streams: reaching the upstream, silence, backpressure, and where a forward may go.

use std::time::Duration;

use netjobs::{
    diagnostic::Report,
    kind::{Kind as _, forward::Forward},
    net::listen::Listen,
    outcome::{Close, Notice},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    BlackHole, PATIENCE, Service, assert_broken_off, assert_reset, next, nobody, noise, open, read_all,
    reset, server, spec, through,
};

/// Case 9.
#[tokio::test]
async fn a_refusal_is_passed_on_with_its_reason() {
    let to = nobody();
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}' }}")).await;
    assert_broken_off(&service).await;
    let recorder = service.recorder.clone();
    let (outcome, closes) = service.end().await;
    assert_eq!(closes, [Close::Refused]);
    assert_eq!(outcome.samples[0].find("failed"), Some(&netjobs::outcome::Sample::Count(1)));
    let notices = recorder.notices.lock().unwrap();
    let told = notices.iter().find_map(|notice| match notice {
        Notice::ConnectionClosed { upstream, .. } => Some(upstream.clone()),
        _ => None,
    });
    assert_eq!(told, Some(to.to_string()));
}

/// Cases 10 and 21: what the client sends meanwhile is not lost.
#[tokio::test]
async fn the_next_upstream_gets_all_that_the_client_sent_while_the_first_was_silent() {
    let hole = BlackHole::new("127.0.0.1:0");
    let (listener, to) = server().await;
    let yaml =
        format!("{{ listen: 0, to: ['{}', '{to}'], balance: first, connect_timeout: 1500ms }}", hole.address);
    let service = Service::forward(&yaml).await;
    let start = Instant::now();
    let mut client = service.connect().await;
    client.write_all(b"early bytes").await.unwrap();
    client.shutdown().await.unwrap();
    let mut far = listener.accept().await.unwrap().0;
    assert!(start.elapsed() >= Duration::from_millis(1500));
    assert_eq!(read_all(&mut far).await.0, b"early bytes");
    drop(far);
    // The silent one is now tried last.
    let start = Instant::now();
    let second = service.connect().await;
    let far = listener.accept().await.unwrap().0;
    assert!(start.elapsed() < Duration::from_millis(1500));
    drop((second, far));
    assert_eq!(service.end().await.1, [Close::Finished, Close::Finished]);
}

/// Case 10, with nobody else to ask.
#[tokio::test]
async fn a_silent_upstream_is_a_connect_timeout() {
    let hole = BlackHole::new("127.0.0.1:0");
    let service =
        Service::forward(&format!("{{ listen: 0, to: '{}', connect_timeout: 200ms }}", hole.address)).await;
    assert_broken_off(&service).await;
    assert_eq!(service.end().await.1, [Close::ConnectTimeout]);
}

/// Case 22.
#[tokio::test]
async fn a_client_that_breaks_off_is_not_connected_for() {
    let hole = BlackHole::new("127.0.0.1:0");
    let service =
        Service::forward(&format!("{{ listen: 0, to: '{}', connect_timeout: 10m }}", hole.address)).await;
    let client = service.connect().await;
    reset(client);
    let seen = timeout(PATIENCE, async {
        while super::closes(&service.recorder).is_empty() {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("long before the connection attempt is over");
    assert_eq!(service.end().await.1, [Close::ClientReset]);
}

/// Case 23.
#[tokio::test]
async fn the_server_may_speak_first() {
    let (service, mut client, mut far) = through("").await;
    far.write_all(b"220 ready\r\n").await.unwrap();
    let mut banner = [0; 11];
    client.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 ready\r\n");
    drop((client, far));
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 24: exact, and not while connecting.
#[tokio::test]
async fn a_silent_connection_ends_when_its_time_is_over() {
    let hole = BlackHole::new("127.0.0.1:0");
    let (listener, to) = server().await;
    let yaml = format!(
        "{{ listen: 0, to: ['{}', '{to}'], balance: first, connect_timeout: 500ms, idle_timeout: 300ms }}",
        hole.address
    );
    // On a busy machine it may take three tries: what others add to the time is not ours.
    let mut times = vec![];
    while times.iter().all(|time| *time >= Duration::from_millis(580)) {
        assert!(times.len() < 3, "{times:?}");
        let service = Service::forward(&yaml).await;
        let connecting = Instant::now();
        let mut client = service.connect().await;
        let _far = listener.accept().await.unwrap().0;
        let start = Instant::now();
        assert_reset(&read_all(&mut client).await.1);
        times.push(start.elapsed());
        // From before the clock of the forward begins.
        assert!(connecting.elapsed() >= Duration::from_millis(800), "{:?}", connecting.elapsed());
        assert_eq!(service.end().await.1, [Close::IdleTimeout]);
    }
}

/// Case 24: traffic one way keeps both.
#[tokio::test]
async fn traffic_in_one_direction_keeps_both() {
    // Longer than a busy machine makes a tenth of a second last.
    let (service, mut client, mut far) = through(", idle_timeout: 2s").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        far.write_all(b"x").await.unwrap();
        client.read_u8().await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    client.write_all(b"y").await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'y');
    drop((client, far));
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 16.
#[tokio::test]
async fn a_slow_reader_blocks_its_source() {
    let (service, mut client, mut far) = through("").await;
    let chunk = noise(16, 64 << 10);
    let mut sent = 0usize;
    while let Ok(written) =
        timeout(Duration::from_millis(300), client.write(&chunk[sent % chunk.len()..])).await
    {
        sent += written.unwrap();
        assert!(sent < 256 << 20, "nothing holds the source back");
    }
    client.shutdown().await.unwrap();
    let (bytes, end) = read_all(&mut far).await;
    assert!(end.is_ok());
    assert_eq!(bytes.len(), sent);
    assert!(bytes.iter().zip(chunk.iter().cycle()).all(|(a, b)| a == b));
    drop((client, far));
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 17, with a few seeds.
#[tokio::test]
async fn random_reads_and_writes_lose_nothing_in_either_direction() {
    for seed in 0..8 {
        let (service, client, far) = through("").await;
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

pub(super) async fn read_randomly(mut from: tokio::net::tcp::OwnedReadHalf, mut seed: u64) -> Vec<u8> {
    let mut all = vec![];
    loop {
        let mut buffer = vec![0; usize::try_from(next(&mut seed) % 20_000 + 1).unwrap()];
        match from.read(&mut buffer).await.unwrap() {
            0 => return all,
            length => all.extend_from_slice(&buffer[..length]),
        }
        if next(&mut seed).is_multiple_of(4) {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) async fn write_randomly(mut to: tokio::net::tcp::OwnedWriteHalf, bytes: &[u8], mut seed: u64) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = usize::try_from(next(&mut seed) % 30_000 + 1).unwrap().min(rest.len());
        to.write_all(&rest[..length]).await.unwrap();
        rest = &rest[length..];
        tokio::task::yield_now().await;
    }
    to.shutdown().await.unwrap();
}

/// Case 43, by spelling and by address.
#[tokio::test]
async fn a_forward_to_itself_is_refused() {
    for (listen, to) in [
        ("127.0.0.1:8800", "127.0.0.1:8800"),
        ("127.0.0.1:8800", "localhost:8800"),
        ("0.0.0.0:8800", "127.0.0.1:8800"),
        ("[::]:8800", "[::1]:8800"),
        ("127.0.0.1:8800", "[::ffff:127.0.0.1]:8800"),
        ("[::ffff:127.0.0.1]:8800", "127.0.0.1:8800"),
        ("[::]:8800", "[::ffff:127.0.0.1]:8800"),
        ("127.0.0.1:8800", "localhost.:8800"),
        ("127.0.0.1:8800", "db.localhost:8800"),
        ("localhost:8800", "LOCALHOST.:8800"),
        ("127.0.0.1:8800-8801", "127.0.0.1:8801-8802"),
        ("127.0.0.1:8800-8801", "127.0.0.1:8799-8800"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
    ] {
        let yaml = format!("{{ listen: '{listen}', to: '{to}' }}");
        let mut report = Report::default();
        serde_yaml::from_str::<Forward>(&yaml).unwrap().check(&mut report);
        assert!(
            report.diagnostics.iter().any(|found| found.message.contains("to itself")),
            "{yaml}: {report:?}"
        );
    }
    let listeners = open(vec![Listen { path: "listen".into(), bind: "0.0.0.0:0".parse().unwrap() }]).await;
    let port = listeners[0].local().unwrap().port();
    let service = Service::start_on(
        spec::<Forward>(&format!("{{ listen: '0.0.0.0:0', to: 'localhost:{port}', allow: 127.0.0.0/8 }}")),
        listeners,
    );
    assert_broken_off(&service).await;
    assert_eq!(service.end().await.1, [Close::Loop]);
}

/// Case 41: dual stack, and a source by device.
#[tokio::test]
async fn a_dual_stack_listener_serves_both_families() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!(
        "{{ listen: '[::]:0', to: '{to}', source: lo, allow: [127.0.0.1, '::1'] }}"
    ))
    .await;
    let port = service.at(0).port();
    for host in ["127.0.0.1", "::1"] {
        let mut client = TcpStream::connect((host, port)).await.unwrap();
        let mut far = listener.accept().await.unwrap().0;
        client.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
    }
    let (_, closes) = service.end().await;
    assert_eq!(closes, [Close::Finished, Close::Finished]);
}

/// A source address is kept to.
#[tokio::test]
async fn a_connection_starts_at_the_source() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', source: 127.0.0.7 }}")).await;
    let client = service.connect().await;
    let (far, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.7");
    drop((client, far));
    service.end().await;
}

/// Ranges go port by port.
#[tokio::test]
async fn a_range_goes_port_by_port() {
    let (range, first) = consecutive().await;
    let yaml =
        format!("{{ listen: ['127.0.0.9:{first}-{}'], to: '127.0.0.1:{first}-{}' }}", first + 1, first + 1);
    let service = Service::forward(&yaml).await;
    for (index, listener) in range.iter().enumerate() {
        let client = TcpStream::connect(service.at(index)).await.unwrap();
        let far = listener.accept().await.unwrap().0;
        drop((client, far));
    }
    assert_eq!(service.end().await.1, [Close::Finished, Close::Finished]);
}

/// Two listeners on ports that follow each other, free on all loopback addresses.
async fn consecutive() -> (Vec<tokio::net::TcpListener>, u16) {
    loop {
        let (first, address) = server().await;
        let port = address.port();
        let Some(after) = port.checked_add(1) else { continue };
        if let Ok(second) = tokio::net::TcpListener::bind(("127.0.0.1", after)).await {
            return (vec![first, second], port);
        }
    }
}

/// What does nothing yet is refused and never ignored; and what cannot be.
#[test]
fn what_cannot_be_is_refused_by_the_check() {
    for (yaml, words) in [
        ("{ listen: 1, to: 'a:1', health: { 'a:2': b } }", "`a:2` is no entry of `to`"),
        ("{ listen: 1, to: 'a:1', health: {} }", "`health` names no check"),
        ("{ listen: 1, to: 'a:1', proxy_protocol: {} }", "`proxy_protocol` does nothing"),
        ("{ listen: 1, to: 'a:1', inject: {} }", "`inject` injects nothing"),
        ("{ listen: 1, to: 'udp://a:1' }", "takes datagrams, and `listen` has only streams"),
        ("{ listen: 1, to: 'https://a' }", "does not go to `https`"),
        ("{ listen: 8000-8003, to: 'a:1-2' }", "has 4 ports and `to` has 2"),
        ("{ listen: [1, 'udp://1'], to: 'a:1' }", "`to` has nothing that takes datagrams"),
        ("{ listen: 1, to: 'a:1', idle_timeout: 0s }", "`idle_timeout` is zero"),
        ("{ listen: 'unix:@x', to: 'a:1', allow: 10.0.0.0/8 }", "have no address"),
        ("{ listen: 1, to: 'a:1', source: 'fe80::1%lo' }", "has no zone"),
        ("{ listen: '0.0.0.0:1', to: 'a:1' }", "forwards for everybody"),
        ("{ listen: '[fe80::1%eth0]:1', to: 'a:1' }", "forwards for everybody"),
        ("{ listen: 1, to: 'a:1', rate: {} }", "`rate` limits nothing"),
        ("{ listen: 1, to: 'a:1', sessions: 9 }", "`sessions` is for datagrams"),
        ("{ listen: 'udp://1', to: 'udp://a:1', rate: { bytes: 1KiB/s } }", "`rate` is for streams"),
        ("{ listen: 'udp://1', to: 'udp://a:1', max_connections: 9 }", "`max_connections` is for streams"),
        ("{ listen: 'udp://1', to: 'udp://a:1', on_full: reset }", "`on_full` is for streams"),
    ] {
        let mut report = Report::default();
        serde_yaml::from_str::<Forward>(yaml).unwrap().check(&mut report);
        assert!(report.diagnostics.iter().any(|found| found.message.contains(words)), "{yaml}: {report:?}");
    }
    spec::<Forward>("{ listen: 'localhost:8800', to: '[::2]:8800' }");
    spec::<Forward>("{ listen: '127.0.0.1:8000-8001', to: '127.0.0.1:8002-8003' }");
    spec::<Forward>("{ listen: ['udp://1', 2], to: ['udp://a:1', 'a:1', 'job:b'] }");
}
