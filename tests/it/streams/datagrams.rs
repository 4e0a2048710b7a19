//! Forwards of datagrams: sizes, sessions, and the way back.

use std::{net::SocketAddr, time::Duration};

use netjobs::{kind::forward::Forward, outcome::Close};
use tokio::{
    net::{UdpSocket, UnixDatagram},
    time::{Instant, timeout},
};

use super::{PATIENCE, Service, noise, process, spec};

pub(super) async fn socket(bind: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(bind).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A forward to a socket of the test's own, and a client connected to it.
pub(super) async fn through(options: &str) -> (Service, UdpSocket, UdpSocket) {
    let (far, to) = socket("127.0.0.1:0").await;
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}'{options} }}");
    let service = Service::forward(&yaml).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.connect(service.at(0)).await.unwrap();
    (service, client, far)
}

pub(super) async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("it comes").unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// Stops a forward whose sessions are still open.
pub(super) async fn end(service: Service) -> Vec<Close> {
    service.stop.kill.cancel();
    service.end().await.1
}

/// Case 46.
#[tokio::test]
async fn sizes_are_exact_both_ways() {
    let (service, client, far) = through("").await;
    for size in [0, 1, 1472, 1501, 9000, 65_507] {
        let (there, back) = (noise(size as u64, size), noise(size as u64 + 1, size));
        client.send(&there).await.unwrap();
        let (got, session) = receive(&far).await;
        assert!(got == there, "{size} bytes there");
        far.send_to(&back, session).await.unwrap();
        assert!(receive(&client).await.0 == back, "{size} bytes back");
    }
    assert_eq!(end(service).await, [Close::Grace]);
}

/// Case 47: also longer than the idle timeout, since traffic renews it.
#[tokio::test]
async fn a_one_way_flow_keeps_its_port() {
    let (service, client, far) = through(", idle_timeout: 2s").await;
    let start = Instant::now();
    let mut ports = std::collections::BTreeSet::new();
    // Pauses far shorter than the timeout, also on a busy machine, and together longer.
    while start.elapsed() < Duration::from_millis(2500) {
        client.send(b"x").await.unwrap();
        ports.insert(receive(&far).await.1.port());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ports.len(), 1);
    assert_eq!(end(service).await, [Close::Grace]);
}

/// Case 48, through a forward on all addresses.
#[tokio::test]
async fn a_reply_leaves_from_the_address_that_was_spoken_to() {
    let (far, to) = socket("127.0.0.1:0").await;
    let yaml = format!("{{ listen: 'udp://[::]:0', to: 'udp://{to}', allow: [127.0.0.0/8, '::1'] }}");
    let service = Service::forward(&yaml).await;
    let port = service.at(0).port();
    let (v4, _) = socket("127.0.0.1:0").await;
    let (v6, _) = socket("[::1]:0").await;
    for (client, host) in [(&v4, "127.0.0.1"), (&v4, "127.0.0.5"), (&v6, "::1")] {
        let spoken_to = SocketAddr::new(host.parse().unwrap(), port);
        client.send_to(b"x", spoken_to).await.unwrap();
        let session = receive(&far).await.1;
        far.send_to(b"y", session).await.unwrap();
        assert_eq!(receive(client).await, (b"y".to_vec(), spoken_to));
    }
    assert_eq!(end(service).await.len(), 3, "a session for each address that was spoken to");
}

/// Case 49.
#[tokio::test]
async fn an_upstream_that_is_down_is_refused_and_recovers() {
    let (far, to) = socket("127.0.0.1:0").await;
    drop(far);
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}' }}");
    let service = Service::forward(&yaml).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.connect(service.at(0)).await.unwrap();
    client.send(b"lost").await.unwrap();
    let seen = timeout(PATIENCE, async {
        while super::closes(&service.recorder).is_empty() {
            tokio::task::yield_now().await;
        }
    });
    seen.await.unwrap();
    let far = UdpSocket::bind(to).await.unwrap();
    client.send(b"x").await.unwrap();
    let (got, session) = receive(&far).await;
    assert_eq!(got, b"x");
    far.send_to(b"y", session).await.unwrap();
    assert_eq!(receive(&client).await.0, b"y");
    assert_eq!(end(service).await, [Close::Refused, Close::Grace]);
}

/// An upstream is up when it has answered: to send proves nothing.
#[tokio::test]
async fn a_datagram_upstream_is_up_once_it_answers() {
    let (far, to) = socket("127.0.0.1:0").await;
    let process = process();
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}' }}");
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.connect(service.at(0)).await.unwrap();
    let text = || {
        let mut text = String::new();
        process.registry.render(&mut text);
        text
    };
    client.send(b"x").await.unwrap();
    let session = receive(&far).await.1;
    assert!(!text().contains("netjobs_forward_upstream_up{"), "nothing was found yet");
    far.send_to(b"y", session).await.unwrap();
    receive(&client).await;
    let up =
        text().lines().any(|line| line.starts_with("netjobs_forward_upstream_up{") && line.ends_with(" 1"));
    assert!(up, "{}", text());
    end(service).await;
}

/// Case 43, in a circle of two jobs: a datagram does not go round for ever.
#[tokio::test]
async fn a_circle_of_forwards_comes_to_an_end() {
    let process = process();
    let (_far, to) = socket("127.0.0.1:0").await;
    let first = spec::<Forward>(&format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}' }}"));
    let first = Service::start_in(first, &process).await;
    let a = first.at(0);
    let back = spec::<Forward>(&format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{a}' }}"));
    let back = Service::start_in(back, &process).await;
    let b = back.at(0);
    // The first job anew, now with the other as its upstream.
    first.stop.cancel.cancel();
    first.ended().await;
    let first = spec::<Forward>(&format!("{{ listen: 'udp://{a}', to: 'udp://{b}' }}"));
    let first = Service::start_in(first, &process).await;
    let (client, _) = socket("127.0.0.1:0").await;
    client.send_to(b"round", a).await.unwrap();
    let seen = timeout(PATIENCE, async {
        let is_loop = |service: &Service| super::closes(&service.recorder).contains(&Close::Loop);
        while !is_loop(&first) && !is_loop(&back) {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("a datagram that goes round is stopped");
    let rounds = first.recorder.notices.lock().unwrap().len();
    assert!(rounds <= 1, "{rounds}");
    end(first).await;
    end(back).await;
}

/// Case 28, for datagrams: a source has so many sessions and no more.
#[tokio::test]
async fn a_source_has_its_share_of_the_sessions() {
    let (service, client, far) = through(", max_per_source: 1").await;
    client.send(b"x").await.unwrap();
    receive(&far).await;
    let (more, _) = socket("127.0.0.1:0").await;
    more.send_to(b"more", service.at(0)).await.unwrap();
    let (other, _) = socket("127.0.0.2:0").await;
    other.send_to(b"other", service.at(0)).await.unwrap();
    assert_eq!(receive(&far).await.0, b"other");
    assert_eq!(end(service).await, [Close::Limit, Close::Grace, Close::Grace]);
}

/// Case 50.
#[tokio::test]
async fn a_foreign_sender_does_not_reach_the_client() {
    let (service, client, far) = through("").await;
    client.send(b"x").await.unwrap();
    let session = receive(&far).await.1;
    let (foreign, _) = socket("127.0.0.1:0").await;
    foreign.send_to(b"forged", session).await.unwrap();
    far.send_to(b"true", session).await.unwrap();
    assert_eq!(receive(&client).await.0, b"true");
    assert_eq!(end(service).await, [Close::Grace]);
}

/// Case 52: an upstream that takes nothing, beside one that does.
#[tokio::test]
async fn a_slow_upstream_delays_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let slow = folder.path().join("slow");
    let _never_read = UnixDatagram::bind(&slow).unwrap();
    let (far, fast) = socket("127.0.0.1:0").await;
    let yaml = format!(
        "{{ listen: 'udp://127.0.0.1:0', to: ['unixgram://{}', 'udp://{fast}'], balance: round_robin }}",
        slow.display()
    );
    let service = Service::forward(&yaml).await;
    let (first, _) = socket("127.0.0.1:0").await;
    first.connect(service.at(0)).await.unwrap();
    for _ in 0..2000 {
        first.send(&[0; 1000]).await.unwrap();
    }
    let (second, _) = socket("127.0.0.1:0").await;
    second.connect(service.at(0)).await.unwrap();
    let start = Instant::now();
    while timeout(Duration::from_millis(50), async {
        second.send(b"x").await.unwrap();
        far.readable().await.unwrap();
    })
    .await
    .is_err()
    {
        // The first ones may have been dropped from the listener's full buffer.
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(receive(&far).await.0, b"x");
    assert_eq!(end(service).await, [Close::Grace, Close::Grace]);
}

/// Case 53.
#[tokio::test]
async fn a_silent_session_is_forgotten() {
    let (service, client, far) = through(", idle_timeout: 100ms").await;
    client.send(b"x").await.unwrap();
    let first = receive(&far).await.1;
    let gone = timeout(PATIENCE, async {
        while super::closes(&service.recorder).is_empty() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.unwrap();
    // Its socket is closed: nothing can be sent to it any more.
    far.connect(first).await.unwrap();
    far.send(b"late").await.unwrap();
    assert!(timeout(PATIENCE, far.recv(&mut [0; 8])).await.expect("an answer of the kernel").is_err());
    assert_eq!(service.end().await.1, [Close::IdleTimeout]);
}

/// The one that was silent longest goes, not the one that spoke.
#[tokio::test]
async fn beyond_the_cap_the_most_silent_is_forgotten() {
    let (far, to) = socket("127.0.0.1:0").await;
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}', sessions: 2 }}");
    let service = Service::forward(&yaml).await;
    let mut clients = vec![];
    for _ in 0..3 {
        let (client, _) = socket("127.0.0.1:0").await;
        client.connect(service.at(0)).await.unwrap();
        clients.push(client);
    }
    let mut ports = vec![];
    for speaker in [0, 1, 0, 2, 0] {
        clients[speaker].send(b"x").await.unwrap();
        ports.push(receive(&far).await.1.port());
    }
    assert!(ports[0] == ports[2] && ports[0] == ports[4], "the first one spoke and stays: {ports:?}");
    assert_eq!(end(service).await, [Close::Limit, Close::Grace, Close::Grace]);
}

/// Case 54.
#[tokio::test]
async fn unix_datagrams_find_their_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far_path) = (folder.path().join("near"), folder.path().join("far"));
    let far = UnixDatagram::bind(&far_path).unwrap();
    let yaml =
        format!("{{ listen: 'unixgram://{}', to: 'unixgram://{}' }}", near.display(), far_path.display());
    let service = Service::forward(&yaml).await;
    let client = UnixDatagram::bind(folder.path().join("client")).unwrap();
    client.connect(&near).unwrap();
    for size in [0, 1, 1000, 65_507, 150_000] {
        let bytes = noise(size as u64, size);
        client.send(&bytes).await.unwrap();
        let mut buffer = vec![0; 200_000];
        let (length, session) = timeout(PATIENCE, far.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert!(buffer[..length] == bytes, "{size}");
        let name = session.as_abstract_name().expect("an upstream sees an abstract name").to_vec();
        let back =
            socket2::SockAddr::unix(std::str::from_utf8(&[b"\0", &name[..]].concat()).unwrap()).unwrap();
        socket2::SockRef::from(&far).send_to(&bytes, &back).unwrap();
        let length = timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
        assert!(buffer[..length] == bytes, "{size}");
    }
    assert_eq!(end(service).await, [Close::Grace]);
}
