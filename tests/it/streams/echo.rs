//! Echoes: whole, in order, never a weapon.

use std::{net::SocketAddr, time::Duration};

use netjobs::{
    kind::echo::Echo,
    net::listen::{Listen, Socket},
    outcome::{Close, Sample, Verdict},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, UnixDatagram},
    time::timeout,
};

use super::{PATIENCE, Service, assert_broken_off, noise, process, read_all, spec};

/// Case 55: all is echoed, then the end.
#[tokio::test]
async fn a_finished_client_gets_the_rest_and_then_the_end() {
    let service = Service::echo("{ listen: '[::]:0' }").await;
    for host in ["127.0.0.1", "::1"] {
        let mut client = TcpStream::connect((host, service.at(0).port())).await.unwrap();
        let bytes = noise(55, 100_000);
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let (got, end) = read_all(&mut client).await;
        assert!(got == bytes && end.is_ok());
    }
    let (outcome, closes) = service.end().await;
    assert_eq!(closes, [Close::Finished, Close::Finished]);
    assert_eq!(outcome.samples[0].find("received_bytes"), Some(&Sample::Count(200_000)));
    assert_eq!(outcome.samples[0].find("sent_bytes"), Some(&Sample::Count(200_000)));
    assert_eq!(outcome.samples[0].find("active"), Some(&Sample::Count(0)));
}

/// Case 55: more than all buffers hold, written and read at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_passes_without_deadlock() {
    // 1024 by hand.
    let mebibytes = std::env::var("NETJOBS_ECHO_MIB").map_or(64, |text| text.parse().unwrap());
    let size = mebibytes << 20;
    let service = Service::echo("{ listen: 0 }").await;
    let (mut reader, mut writer) = service.connect().await.into_split();
    let chunk = noise(1, 1 << 20);
    let ((), (total, is_same)) = tokio::join!(
        async {
            for _ in 0..size / chunk.len() {
                writer.write_all(&chunk).await.unwrap();
            }
            writer.shutdown().await.unwrap();
        },
        async {
            let (mut total, mut is_same, mut buffer) = (0, true, vec![0; 1 << 20]);
            loop {
                let length = timeout(PATIENCE, reader.read(&mut buffer)).await.unwrap().unwrap();
                if length == 0 {
                    return (total, is_same);
                }
                let start = total % chunk.len();
                let first = length.min(chunk.len() - start);
                is_same &= buffer[..first] == chunk[start..start + first];
                is_same &= buffer[first..length] == chunk[..length - first];
                total += length;
            }
        }
    );
    assert!(total == size && is_same);
    assert_eq!(service.end().await.1, [Close::Finished]);
}

/// A client that never reads holds itself up, and nobody else.
#[tokio::test]
async fn a_client_that_does_not_read_blocks_only_itself() {
    let service = Service::echo("{ listen: 0 }").await;
    let mut deaf = service.connect().await;
    let chunk = vec![0; 1 << 20];
    while timeout(Duration::from_millis(200), deaf.write(&chunk)).await.is_ok() {}
    let mut other = service.connect().await;
    other.write_all(b"x").await.unwrap();
    assert_eq!(other.read_u8().await.unwrap(), b'x');
    drop(other);
    service.stop.kill.cancel();
    let (_, mut closes) = service.end().await;
    closes.sort_by_key(|close| close.as_str());
    assert_eq!(closes.last(), Some(&Close::Grace));
}

async fn client(bind: &str, to: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind(bind).await.unwrap();
    client.connect(to).await.unwrap();
    client
}

/// Case 55: an answer is as large as the question; and case 46 for echoes.
#[tokio::test]
async fn datagrams_come_back_as_they_were() {
    let service = Service::echo("{ listen: 'udp://[::]:0' }").await;
    for (host, from) in [("127.0.0.1", "127.0.0.1:0"), ("::1", "[::1]:0")] {
        let client = client(from, SocketAddr::new(host.parse().unwrap(), service.at(0).port())).await;
        for size in [0, 1, 1472, 1501, 9000, 65_507] {
            let bytes = noise(7, size);
            client.send(&bytes).await.unwrap();
            let mut buffer = vec![0; 65_536];
            let length = timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
            assert!(buffer[..length] == bytes, "{size}");
        }
    }
    service.end().await;
}

/// Case 55: much at once comes back as it was, to whom it belongs, and never more than came.
#[tokio::test]
async fn a_burst_of_datagrams_is_answered_one_by_one() {
    let service = Service::echo("{ listen: 'udp://127.0.0.1:0' }").await;
    let (first, second) =
        (client("127.0.0.1:0", service.at(0)).await, client("127.0.0.2:0", service.at(0)).await);
    let text = |name: &str, number: usize| format!("{name}{}", "x".repeat(number)).into_bytes();
    for number in 0..100 {
        first.send(&text("first", number)).await.unwrap();
        second.send(&text("second", number)).await.unwrap();
    }
    let mut bytes = 0;
    for (name, client) in [("first", &first), ("second", &second)] {
        let mut buffer = [0; 256];
        for number in 0..100 {
            let length = timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(buffer[..length], text(name, number));
            bytes += length as u64;
        }
    }
    let (outcome, _) = service.end().await;
    let samples = &outcome.samples[0];
    assert_eq!(samples.find("received_bytes"), Some(&Sample::Count(bytes)));
    assert_eq!(samples.find("sent_bytes"), Some(&Sample::Count(bytes)));
}

/// Case 55: a datagram that another echo on the same port might have sent, by forgery, is not answered.
#[tokio::test]
async fn two_echoes_do_not_talk_for_ever() {
    let service = Service::echo("{ listen: 'udp://127.0.0.1:0' }").await;
    let port = service.at(0).port();
    let twin = client(&format!("127.0.0.2:{port}"), service.at(0)).await;
    twin.send(b"forged").await.unwrap();
    let honest = client("127.0.0.1:0", service.at(0)).await;
    honest.send(b"x").await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(timeout(PATIENCE, honest.recv(&mut buffer)).await.unwrap().unwrap(), 1);
    // Its answer would have come before this one's.
    assert!(twin.try_recv(&mut buffer).is_err());
    let (outcome, _) = service.end().await;
    assert_eq!(outcome.samples[0].find("sent_bytes"), Some(&Sample::Count(1)));
}

/// Case 55: one forged datagram does not set two jobs of this process talking.
#[tokio::test]
async fn an_echo_does_not_answer_another_listener_of_its_process() {
    let process = process();
    let echo = Service::start_in(spec::<Echo>("{ listen: 'udp://127.0.0.1:0' }"), &process).await;
    // Whoever listens there: here the test answers for it.
    let listen = Listen { path: "listen".into(), bind: "udp://127.0.0.2:0".parse().unwrap() };
    let other = process.listeners.open(&listen, &process.resolver).await.unwrap().remove(0);
    let Socket::Udp(twin) = other.socket() else { panic!("it is UDP") };
    twin.send_to(b"forged", echo.at(0)).unwrap();
    let honest = client("127.0.0.1:0", echo.at(0)).await;
    honest.send(b"x").await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(timeout(PATIENCE, honest.recv(&mut buffer)).await.unwrap().unwrap(), 1);
    // Its answer would have come before this one's.
    let (outcome, _) = echo.end().await;
    assert_eq!(outcome.samples[0].find("sent_bytes"), Some(&Sample::Count(1)));
}

/// Case 55: a source gets no more than its rate.
#[tokio::test]
async fn a_source_is_answered_at_its_rate() {
    let service = Service::echo("{ listen: 'udp://127.0.0.1:0', rate: 1/h }").await;
    let first = client("127.0.0.1:0", service.at(0)).await;
    let other = client("127.0.0.2:0", service.at(0)).await;
    for client in [&first, &first, &first, &other] {
        client.send(b"x").await.unwrap();
    }
    let mut buffer = [0; 16];
    assert_eq!(timeout(PATIENCE, other.recv(&mut buffer)).await.unwrap().unwrap(), 1);
    assert_eq!(timeout(PATIENCE, first.recv(&mut buffer)).await.unwrap().unwrap(), 1);
    assert!(first.try_recv(&mut buffer).is_err());
    service.end().await;
}

#[tokio::test]
async fn unix_datagrams_are_echoed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e");
    let service = Service::echo(&format!("{{ listen: 'unixgram://{}' }}", path.display())).await;
    let client = UnixDatagram::bind(folder.path().join("c")).unwrap();
    client.connect(&path).unwrap();
    client.send(b"hello").await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap(), 5);
    // Who has no name cannot be answered, and harms nobody.
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.send_to(b"x", &path).await.unwrap();
    client.send(b"again").await.unwrap();
    assert_eq!(timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap(), 5);
    service.end().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_message_ends_the_service_and_it_has_passed() {
    for is_stream in [true, false] {
        let service = Service::echo("{ listen: ['0', 'udp://127.0.0.1:0'], stop_on: DONE }").await;
        let mut idle = service.connect().await;
        idle.write_all(b"not DONE\n").await.unwrap();
        idle.read_exact(&mut [0; 9]).await.unwrap();
        let mut answer = [0; 4];
        if is_stream {
            let mut client = service.connect().await;
            client.write_all(b"DONE").await.unwrap();
            client.read_exact(&mut answer).await.unwrap();
            assert!(read_all(&mut client).await.1.is_ok());
        } else {
            let client = client("127.0.0.1:0", service.at(1)).await;
            client.send(b"DONE").await.unwrap();
            timeout(PATIENCE, client.recv(&mut answer)).await.unwrap().unwrap();
        }
        assert_eq!(&answer, b"DONE");
        let (_, end) = read_all(&mut idle).await;
        assert!(end.is_ok());
        let (outcome, closes) = service.ended().await;
        assert_eq!(outcome.verdict, Verdict::Passed);
        assert!(closes.iter().all(|close| *close == Close::Drained), "{closes:?}");
    }
}

#[tokio::test]
async fn a_silent_client_is_ended() {
    let service = Service::echo("{ listen: 0, idle_timeout: 100ms }").await;
    assert_broken_off(&service).await;
    assert_eq!(service.end().await.1, [Close::IdleTimeout]);
}

#[tokio::test]
async fn more_than_the_most_wait_their_turn() {
    let service = Service::echo("{ listen: 0, max_connections: 1 }").await;
    let mut first = service.connect().await;
    first.write_all(b"a").await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = service.connect().await;
    second.write_all(b"b").await.unwrap();
    assert!(timeout(Duration::from_millis(100), second.read_u8()).await.is_err());
    drop(first);
    assert_eq!(timeout(PATIENCE, second.read_u8()).await.unwrap().unwrap(), b'b');
    drop(second);
    service.end().await;
}
