//! Forwards of streams: ends, breaks, silence, and what comes before the upstream is there.

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
    BlackHole, PATIENCE, Service, assert_reset, next, nobody, noise, open, read_all, reset, server, spec,
    through,
};

const MB: usize = 1_000_000;

/// Case 1.
#[tokio::test]
async fn an_answer_arrives_whole_after_the_client_has_finished() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(b"ask").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut far).await.0, b"ask");
    sleep(Duration::from_millis(300)).await;
    let answer = noise(1, MB);
    let (sent, got) = tokio::join!(
        async {
            far.write_all(&answer).await.unwrap();
            far.shutdown().await.unwrap();
        },
        read_all(&mut client)
    );
    let ((), (bytes, end)) = (sent, got);
    assert!(bytes == answer && end.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 2.
#[tokio::test]
async fn an_upload_arrives_whole_after_the_server_has_finished() {
    let (service, mut client, mut far) = through("").await;
    far.shutdown().await.unwrap();
    assert!(read_all(&mut client).await.0.is_empty());
    let upload = noise(2, MB);
    let (_, (bytes, end)) = tokio::join!(
        async {
            client.write_all(&upload).await.unwrap();
            client.shutdown().await.unwrap();
        },
        read_all(&mut far)
    );
    assert!(bytes == upload && end.is_ok());
    let (outcome, closes) = service.end().await;
    assert_eq!(closes, [Close::Finished]);
    assert_eq!(outcome.samples[0].find("received_bytes"), Some(&netjobs::outcome::Sample::Count(MB as u64)));
}

/// Case 3.
#[tokio::test]
async fn both_sides_may_finish_at_once() {
    let (service, mut client, mut far) = through("").await;
    let (a, b) = tokio::join!(client.shutdown(), far.shutdown());
    assert!(a.is_ok() && b.is_ok());
    let (at_client, at_far) = tokio::join!(read_all(&mut client), read_all(&mut far));
    assert!(at_client.1.is_ok() && at_far.1.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Case 4.
#[tokio::test]
async fn a_half_closed_connection_that_is_silent_ends() {
    let (service, mut client, mut far) = through(", half_closed_timeout: 200ms").await;
    client.shutdown().await.unwrap();
    assert_reset(&read_all(&mut client).await.1);
    let mut rest = vec![];
    let _ = far.read_to_end(&mut rest).await;
    assert_eq!(service.end().await.1, [Close::HalfClosedTimeout]);
}

/// Case 5.
#[tokio::test]
async fn a_half_closed_connection_that_trickles_lives() {
    let (service, mut client, mut far) = through(", half_closed_timeout: 300ms").await;
    client.shutdown().await.unwrap();
    let trickle = async {
        for _ in 0..10 {
            far.write_all(b"x").await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        far.shutdown().await.unwrap();
    };
    let ((), (bytes, end)) = tokio::join!(trickle, read_all(&mut client));
    assert!(bytes.len() == 10 && end.is_ok());
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// Cases 6 and 8: the server is silent meanwhile.
#[tokio::test]
async fn a_client_that_breaks_off_breaks_the_server_off() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'x');
    let start = Instant::now();
    reset(client);
    assert_reset(&read_all(&mut far).await.1);
    assert!(start.elapsed() < Duration::from_millis(250), "{:?}", start.elapsed());
    assert_eq!(service.end().await.1, [Close::ClientReset]);
}

/// Case 8, where the client had finished before and nobody reads from it.
#[tokio::test]
async fn a_break_is_seen_also_where_nobody_reads() {
    let (service, mut client, mut far) = through("").await;
    client.shutdown().await.unwrap();
    assert!(read_all(&mut far).await.0.is_empty());
    reset(client);
    assert!(timeout(PATIENCE, far.read(&mut [0])).await.is_ok());
    let deadline = timeout(PATIENCE, async {
        while super::closes(&service.recorder).is_empty() {
            tokio::task::yield_now().await;
        }
    });
    deadline.await.unwrap();
    assert_eq!(service.end().await.1, [Close::ClientReset]);
}

/// Case 7.
#[tokio::test]
async fn a_server_that_breaks_off_never_looks_like_a_clean_end() {
    let (service, mut client, mut far) = through("").await;
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").await.unwrap();
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    reset(far);
    assert_reset(&read_all(&mut client).await.1);
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// Case 7 with `on_abort: fin`.
#[tokio::test]
async fn a_break_can_be_shown_as_an_end() {
    let (service, mut client, mut far) = through(", on_abort: fin").await;
    far.write_all(b"x").await.unwrap();
    client.read_u8().await.unwrap();
    reset(far);
    assert!(read_all(&mut client).await.1.is_ok());
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// What a server sent before it broke off a client that still sends must arrive: the answer of a server that refuses an
/// upload.
#[tokio::test]
async fn an_answer_before_a_break_arrives() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(&noise(1, 100)).await.unwrap();
    assert!(far.readable().await.is_ok());
    far.write_all(b"413 too large").await.unwrap();
    let mut answer = vec![0; 13];
    client.read_exact(&mut answer).await.unwrap();
    // Closed with bytes unread: the kernel sends RST.
    drop(far);
    let (_, end) = read_all(&mut client).await;
    assert_reset(&end);
    assert_eq!(answer, b"413 too large");
    assert_eq!(service.end().await.1, [Close::UpstreamReset]);
}

/// Case 9.
#[tokio::test]
async fn a_refusal_is_passed_on_with_its_reason() {
    let to = nobody();
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}' }}")).await;
    let mut client = service.connect().await;
    assert_reset(&read_all(&mut client).await.1);
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
        format!("{{ listen: 0, to: ['{}', '{to}'], balance: first, connect_timeout: 300ms }}", hole.address);
    let service = Service::forward(&yaml).await;
    let start = Instant::now();
    let mut client = service.connect().await;
    client.write_all(b"early bytes").await.unwrap();
    client.shutdown().await.unwrap();
    let mut far = listener.accept().await.unwrap().0;
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(read_all(&mut far).await.0, b"early bytes");
    drop(far);
    // The silent one is now tried last.
    let start = Instant::now();
    let second = service.connect().await;
    let far = listener.accept().await.unwrap().0;
    assert!(start.elapsed() < Duration::from_millis(200));
    drop((second, far));
    assert_eq!(service.end().await.1, [Close::Finished, Close::Finished]);
}

/// Case 10, with nobody else to ask.
#[tokio::test]
async fn a_silent_upstream_is_a_connect_timeout() {
    let hole = BlackHole::new("127.0.0.1:0");
    let service =
        Service::forward(&format!("{{ listen: 0, to: '{}', connect_timeout: 200ms }}", hole.address)).await;
    let mut client = service.connect().await;
    assert_reset(&read_all(&mut client).await.1);
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
    let service = Service::forward(&yaml).await;
    let mut client = service.connect().await;
    let _far = listener.accept().await.unwrap().0;
    let start = Instant::now();
    assert_reset(&read_all(&mut client).await.1);
    let silent = start.elapsed();
    assert!(silent > Duration::from_millis(280) && silent < Duration::from_millis(450), "{silent:?}");
    assert_eq!(service.end().await.1, [Close::IdleTimeout]);
}

/// Case 24: traffic one way keeps both.
#[tokio::test]
async fn traffic_in_one_direction_keeps_both() {
    let (service, mut client, mut far) = through(", idle_timeout: 300ms").await;
    for _ in 0..8 {
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

async fn read_randomly(mut from: tokio::net::tcp::OwnedReadHalf, mut seed: u64) -> Vec<u8> {
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

async fn write_randomly(mut to: tokio::net::tcp::OwnedWriteHalf, bytes: &[u8], mut seed: u64) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = usize::try_from(next(&mut seed) % 30_000 + 1).unwrap().min(rest.len());
        to.write_all(&rest[..length]).await.unwrap();
        rest = &rest[length..];
        tokio::task::yield_now().await;
    }
    to.shutdown().await.unwrap();
}

/// Case 56.
#[tokio::test]
async fn writing_to_a_client_that_is_gone_harms_nobody() {
    let (service, client, mut far) = through("").await;
    drop(client);
    while far.write_all(&[0; 1000]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.end().await.1.len(), 1);
}

/// Case 43, by spelling and by address.
#[tokio::test]
async fn a_forward_to_itself_is_refused() {
    for (listen, to) in [
        ("127.0.0.1:8800", "127.0.0.1:8800"),
        ("127.0.0.1:8800", "localhost:8800"),
        ("0.0.0.0:8800", "127.0.0.1:8800"),
        ("[::]:8800", "[::1]:8800"),
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
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_reset(&read_all(&mut client).await.1);
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

/// Case 39, in part: a silent connection ends with FIN, a busy one is reset when the grace is over.
#[tokio::test]
async fn a_drain_ends_silent_connections_in_order_and_the_grace_the_rest() {
    let (service, mut client, mut far) = through("").await;
    client.write_all(b"x").await.unwrap();
    far.read_u8().await.unwrap();
    let stop = service.stop.clone();
    stop.cancel.cancel();
    assert!(!service.run.is_finished());
    stop.kill.cancel();
    assert_reset(&read_all(&mut client).await.1);
    assert_eq!(service.end().await.1, [Close::Grace]);
}
