//! Who is let in and how fast; and how an upstream of many addresses is reached.

use std::{
    fs, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use netjobs::{
    kind::forward::Forward,
    net::dial::{self, Options},
    outcome::{Close, Reason},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use super::{BlackHole, Service, assert_broken_off, assert_reset, nobody, read_all, server, spec, through};

/// Case 27: waits for a slot, and no more than the limit are served at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racing_clients_share_the_slots() {
    const MOST: usize = 7;
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', max_connections: {MOST} }}")).await;
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks = TaskTracker::new();
    let far = tasks.spawn({
        let (open, most, tasks) = (open.clone(), most.clone(), tasks.clone());
        async move {
            for _ in 0..1000 {
                let mut far = listener.accept().await.unwrap().0;
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let open = open.clone();
                tasks.spawn(async move {
                    let byte = far.read_u8().await.unwrap();
                    // The slot is free only after this is gone.
                    open.fetch_sub(1, Ordering::SeqCst);
                    far.write_all(&[byte]).await.unwrap();
                });
            }
        }
    });
    let address = service.at(0);
    let clients: Vec<_> = (0..1000)
        .map(|_| {
            tasks.spawn(async move {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all(b"x").await.unwrap();
                client.read_u8().await.unwrap()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), b'x');
    }
    far.await.unwrap();
    assert!(most.load(Ordering::SeqCst) <= MOST, "{most:?}");
    let (_, closes) = service.end().await;
    assert_eq!(closes.len(), 1000);
}

/// Case 27 with `on_full: reset`; the slot comes back after a refusal, a break and an end.
#[tokio::test]
async fn beyond_the_limit_clients_are_broken_off() {
    let (listener, to) = server().await;
    let yaml = format!("{{ listen: 0, to: '{to}', max_connections: 1, on_full: reset }}");
    let service = Service::forward(&yaml).await;
    for round in 1..=3 {
        let mut first = service.connect().await;
        let mut far = listener.accept().await.unwrap().0;
        far.write_all(b"x").await.unwrap();
        first.read_u8().await.unwrap();
        assert_broken_off(&service).await;
        drop(far);
        assert!(read_all(&mut first).await.1.is_ok());
        drop(first);
        // The slot is free once the books say that the connection is closed.
        let before = Instant::now();
        while service.recorder.notices.lock().unwrap().len() < 2 * round {
            assert!(before.elapsed() < super::PATIENCE);
            tokio::task::yield_now().await;
        }
    }
    let (_, closes) = service.end().await;
    let count = |wanted: Close| closes.iter().filter(|close| **close == wanted).count();
    assert_eq!((count(Close::Limit), count(Close::Finished)), (3, 3));
}

/// Who still waits when the forward stops is broken off: nothing may look like an empty answer.
#[tokio::test]
async fn who_waits_for_a_turn_that_never_comes_sees_no_clean_end() {
    let (listener, to) = server().await;
    let yaml = format!("{{ listen: 0, to: '{to}', max_connections: 1 }}");
    let service = Service::start(spec::<Forward>(&yaml)).await;
    let first = service.connect().await;
    let far = listener.accept().await.unwrap().0;
    let mut waiting = service.connect().await;
    // A client that waits is on no book yet; the system says whether it was accepted.
    let nobody_queues = || {
        let ours = format!(":{:04X} 00000000:0000 0A ", service.at(0).port());
        let sockets = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        sockets.lines().any(|line| line.contains(&ours) && line.contains(":00000000 "))
    };
    let before = Instant::now();
    while !nobody_queues() {
        assert!(before.elapsed() < super::PATIENCE);
        tokio::task::yield_now().await;
    }
    service.stop.cancel.cancel();
    assert_reset(&read_all(&mut waiting).await.1);
    drop((first, far));
    assert_eq!(service.ended().await.1, [Close::Drained, Close::Finished]);
}

/// Connects from an address of the test's choice.
pub(super) async fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    try_from(source, to).await.unwrap()
}

/// The same where that client is not wanted: the break may come as early as the connection itself.
pub(super) async fn assert_broken_from(source: &str, to: SocketAddr) {
    let broken = match try_from(source, to).await {
        Ok(mut client) => read_all(&mut client).await.1,
        Err(error) => Err(error),
    };
    assert_reset(&broken);
}

async fn try_from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let source: SocketAddr = source.parse().unwrap();
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind(source).unwrap();
    socket.connect(to).await
}

/// Case 28: one source may not take more than its share, and its slots come back.
#[tokio::test]
async fn each_source_has_its_own_limit() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', max_per_source: 1 }}")).await;
    let at = service.at(0);
    let first = connect_from("127.0.0.2:0", at).await;
    let far = listener.accept().await.unwrap().0;
    assert_broken_from("127.0.0.2:0", at).await;
    let other = connect_from("127.0.0.3:0", at).await;
    let other_far = listener.accept().await.unwrap().0;
    drop((first, far, other, other_far));
    let (_, closes) = service.end().await;
    assert_eq!(closes, [Close::Limit, Close::Finished, Close::Finished]);
}

/// Case 28: IPv4, IPv6 and IPv4 through a dual-stack socket are judged alike, before anything is dialled.
#[tokio::test]
async fn networks_are_let_in_or_not() {
    let (listener, to) = server().await;
    let yaml = format!("{{ listen: '[::]:0', to: '{to}', allow: [127.0.0.0/8, '::1'], deny: 127.0.0.4 }}");
    let service = Service::forward(&yaml).await;
    let v4: SocketAddr = ([127, 0, 0, 1], service.at(0).port()).into();
    let v6: SocketAddr = (std::net::Ipv6Addr::LOCALHOST, service.at(0).port()).into();
    for (source, to, is_served) in
        [("127.0.0.2:0", v4, true), ("127.0.0.4:0", v4, false), ("[::1]:0", v6, true)]
    {
        if is_served {
            drop((connect_from(source, to).await, listener.accept().await.unwrap()));
        } else {
            assert_broken_from(source, to).await;
        }
    }
    let (_, mut closes) = service.end().await;
    closes.sort_by_key(|close| close.as_str());
    assert_eq!(closes, [Close::Denied, Close::Finished, Close::Finished]);
}

/// Case 30.
#[tokio::test]
async fn bytes_pass_at_the_rate() {
    const RATE: usize = 2 << 20;
    let mut rates = vec![];
    // A machine that is busy with other tests wakes late now and then.
    while rates.iter().all(|rate: &f64| (rate / RATE as f64 - 1.0).abs() >= 0.05) {
        assert!(rates.len() < 5, "{rates:?}");
        let (service, mut client, mut far) = through(", rate: { bytes: 2MiB/s }").await;
        let start = Instant::now();
        let bytes = vec![7; RATE * 3 / 2];
        let ((), (got, _)) = tokio::join!(
            async {
                client.write_all(&bytes).await.unwrap();
                client.shutdown().await.unwrap();
            },
            read_all(&mut far)
        );
        assert_eq!(got.len(), bytes.len());
        rates.push(got.len() as f64 / start.elapsed().as_secs_f64());
        drop((client, far));
        service.end().await;
    }
    assert!(rates.iter().all(|rate| rate / RATE as f64 - 1.0 < 0.05), "never faster: {rates:?}");
}

/// Case 29.
#[tokio::test]
async fn connections_are_accepted_at_the_rate() {
    let (listener, to) = server().await;
    let service =
        Service::forward(&format!("{{ listen: 0, to: '{to}', rate: {{ connections: 50/s }} }}")).await;
    // Never more; on a busy machine one of three tries comes near it.
    let mut rates = vec![];
    while rates.iter().all(|rate| *rate <= 30.0) {
        assert!(rates.len() < 3, "{rates:?}");
        let start = Instant::now();
        for _ in 0..30 {
            let client = service.connect().await;
            drop((client, listener.accept().await.unwrap()));
        }
        rates.push(30.0 / start.elapsed().as_secs_f64());
        assert!(rates.iter().all(|rate| *rate < 75.0), "{rates:?}");
    }
    service.end().await;
}

/// Case 28: a network may be written as IPv4 in the clothes of IPv6.
#[tokio::test]
async fn mapped_networks_are_those_of_ipv4() {
    let (listener, to) = server().await;
    let yaml = format!("{{ listen: '[::]:0', to: '{to}', deny: '::ffff:127.0.0.0/120' }}");
    let service = Service::forward(&yaml).await;
    let at: SocketAddr = ([127, 0, 0, 1], service.at(0).port()).into();
    assert_broken_from("127.0.0.4:0", at).await;
    let served = connect_from("127.0.1.4:0", at).await;
    drop((served, listener.accept().await.unwrap()));
    let (_, closes) = service.end().await;
    assert_eq!(closes, [Close::Denied, Close::Finished]);
}

/// Case 27: the slot comes back where the upstream refuses, is silent, or the client breaks off meanwhile.
#[tokio::test]
async fn a_slot_comes_back_on_every_path() {
    let hole = BlackHole::new("127.0.0.1:0");
    let only = "max_connections: 1, on_full: reset";
    for (to, timeout, wanted) in [
        (nobody(), "10m", Close::Refused),
        (hole.address, "50ms", Close::ConnectTimeout),
        (hole.address, "10m", Close::ClientReset),
    ] {
        let yaml = format!("{{ listen: 0, to: '{to}', connect_timeout: {timeout}, {only} }}");
        let service = Service::forward(&yaml).await;
        for round in 1..=5 {
            if wanted == Close::ClientReset {
                super::reset(service.connect().await);
            } else {
                assert_broken_off(&service).await;
            }
            let before = Instant::now();
            while super::closes(&service.recorder).len() < round {
                assert!(before.elapsed() < super::PATIENCE);
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(service.end().await.1, [wanted; 5]);
    }
}

fn within(milliseconds: u64) -> Options {
    Options::within(Duration::from_millis(milliseconds))
}

/// Case 34: the other family is tried after 250 ms, and at once after a refusal.
#[tokio::test]
async fn a_dead_family_delays_a_connection_only_a_little() {
    let (_listener, good) = server().await;
    let hole = BlackHole::new("[::1]:0");
    let start = Instant::now();
    let (_, reached) = dial::tcp(&[hole.address, good], &within(5000)).await.unwrap();
    let took = start.elapsed();
    assert_eq!(reached, good);
    assert!(took > Duration::from_millis(240) && took < Duration::from_secs(2), "{took:?}");

    let refused = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), nobody().port());
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let (_, reached) = dial::tcp(&[refused, good], &within(5000)).await.unwrap();
        assert_eq!(reached, good);
        best = best.min(start.elapsed());
    }
    assert!(best < Duration::from_millis(200), "{best:?}");
}

/// Case 34: all fail, and one of fifty is there.
#[tokio::test]
async fn the_one_that_answers_is_found_among_many() {
    let (_listener, good) = server().await;
    let refusing = nobody().port();
    let mut addresses: Vec<SocketAddr> = (1..50).map(|last| ([127, 0, 0, last], refusing).into()).collect();
    let failure = dial::tcp(&addresses, &within(5000)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Refused);
    assert!(failure.message.ends_with("(and 48 more)"), "{failure}");
    addresses.push(good);
    assert_eq!(dial::tcp(&addresses, &within(5000)).await.unwrap().1, good);

    let hole = BlackHole::new("127.0.0.1:0");
    let start = Instant::now();
    let failure = dial::tcp(&[hole.address], &within(300)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ConnectTimeout);
    assert!(start.elapsed() < Duration::from_secs(1));
}
