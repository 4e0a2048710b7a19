//! Datagrams that stray: in circles, under forged names, on ways that are narrower than was thought, and too many at once.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as StdUdpSocket},
    process::Command,
    time::Duration,
};

use netjobs::{
    kind::forward::Forward,
    net::listen::{Listen, Socket},
    outcome::Close,
};
use nix::sys::signal::Signal;
use tokio::{net::UdpSocket, time::timeout};

use super::{
    PATIENCE, Service, closes,
    datagrams::{end, receive, socket},
    floods::until,
    process, spec,
};
use crate::{
    lab::Lab,
    netns::Namespace,
    program::{Daemon, netjobs},
};

/// Waits until one of the services has ended a session as a loop.
async fn looped(services: &[&Service]) {
    let seen = timeout(PATIENCE, async {
        while !services.iter().any(|service| closes(&service.recorder).contains(&Close::Loop)) {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("it is known as a loop");
}

/// Case 43, in a circle of two jobs with Unix sockets: a datagram does not go round for ever.
#[tokio::test]
async fn a_circle_of_unix_forwards_comes_to_an_end() {
    let (process, folder) = (process(), tempfile::tempdir().unwrap());
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let yaml = |from: &std::path::Path, to: &std::path::Path| {
        format!("{{ listen: 'unixgram://{}', to: 'unixgram://{}' }}", from.display(), to.display())
    };
    let first = Service::start_in(spec::<Forward>(&yaml(&a, &b)), &process).await;
    let second = Service::start_in(spec::<Forward>(&yaml(&b, &a)), &process).await;
    let client = tokio::net::UnixDatagram::bind(folder.path().join("client")).unwrap();
    client.send_to(b"round", &a).await.unwrap();
    looped(&[&first, &second]).await;
    let sessions = end(first).await.len() + end(second).await.len();
    assert!(sessions <= 9, "{sessions}");
}

/// One forged datagram does not set a forward talking with another listener of its process, or with its own upstream.
#[tokio::test]
async fn a_datagram_under_the_name_of_a_listener_or_of_the_upstream_is_not_passed_on() {
    let process = process();
    let (far, to) = socket("127.0.0.1:0").await;
    let yaml = format!("{{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}' }}");
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let listen = Listen { path: "listen".into(), bind: "udp://127.0.0.2:0".parse().unwrap() };
    let other = process.listeners.open(&listen, &process.resolver).await.unwrap().remove(0);
    let Socket::Udp(twin) = other.socket() else { panic!("it is UDP") };
    twin.send_to(b"forged", service.at(0)).unwrap();
    looped(&[&service]).await;
    far.send_to(b"forged", service.at(0)).await.unwrap();
    let (client, _) = socket("127.0.0.1:0").await;
    client.send_to(b"true", service.at(0)).await.unwrap();
    assert_eq!(receive(&far).await.0, b"true");
    let (outcome, closes) = {
        service.stop.kill.cancel();
        service.end().await
    };
    assert_eq!(closes, [Close::Loop, Close::Loop, Close::Grace]);
    assert_eq!(outcome.samples[0].find("received_bytes"), Some(&netjobs::outcome::Sample::Count(4)));
}

/// Case 48, for a client that has no other address than that of its link.
#[test]
fn a_client_on_the_link_is_answered_from_the_address_that_it_asked() {
    let lab = Lab::new();
    let own = lab.near.sh("ip -6 -o addr show dev link scope link");
    let own: Ipv6Addr = own.split_whitespace().nth(3).unwrap().split('/').next().unwrap().parse().unwrap();
    let index = lab.far.sh("ip -o link show dev link").split(':').next().unwrap().parse().unwrap();
    let client = lab.far.run(|| StdUdpSocket::bind("[::]:0").unwrap());
    client.set_nonblocking(true).unwrap();
    lab.near.block_on(move || async move {
        let client = UdpSocket::from_std(client).unwrap();
        let (far, to) = socket("127.0.0.1:0").await;
        let service = Service::forward(&format!("{{ listen: 'udp://[::]:0', to: 'udp://{to}' }}")).await;
        let asked = SocketAddrV6::new(own, service.at(0).port(), 0, index);
        for _ in 0..2 {
            client.send_to(b"x", asked).await.unwrap();
            let session = receive(&far).await.1;
            far.send_to(b"y", session).await.unwrap();
            assert_eq!(receive(&client).await, (b"y".to_vec(), asked.into()));
        }
        assert_eq!(end(service).await, [Close::Grace]);
    });
}

/// The first datagram that is too large for a way further on is lost, as everywhere; the session goes on, and so does what
/// follows.
#[test]
fn a_way_that_is_narrower_than_thought_ends_no_session() {
    let (near, router, far) = (Namespace::new(), Namespace::new(), Namespace::new());
    near.link(&["10.9.0.1/24"], &router, &["10.9.0.254/24"]);
    let (here, there) = router.link(&["10.9.1.254/24"], &far, &["10.9.1.2/24"]);
    router.sh(&format!("sysctl -qw net.ipv4.ip_forward=1; ip link set dev {here} mtu 700"));
    far.sh(&format!("ip link set dev {there} mtu 700; ip route add default via 10.9.1.254"));
    near.sh("ip route add default via 10.9.0.254");
    let upstream = far.run(|| StdUdpSocket::bind("10.9.1.2:7000").unwrap());
    upstream.set_nonblocking(true).unwrap();
    near.block_on(move || async move {
        let upstream = UdpSocket::from_std(upstream).unwrap();
        let service = Service::forward("{ listen: 'udp://127.0.0.1:0', to: 'udp://10.9.1.2:7000' }").await;
        let (client, _) = socket("127.0.0.1:0").await;
        client.connect(service.at(0)).await.unwrap();
        let mut buffer = [0; 2000];
        let mut ports = std::collections::BTreeSet::new();
        for size in [10, 1400, 10, 1400] {
            let passed = timeout(PATIENCE, async {
                loop {
                    client.send(&vec![7; size]).await.unwrap();
                    let came = timeout(Duration::from_millis(100), upstream.recv_from(&mut buffer)).await;
                    if let Ok(Ok((length, from))) = came {
                        assert_eq!(length, size);
                        return from.port();
                    }
                }
            });
            ports.insert(passed.await.expect("it arrives in the end"));
        }
        assert_eq!(ports.len(), 1, "one session");
        assert_eq!(end(service).await, [Close::Grace]);
    });
}

/// Two forwards that share few descriptors: senders of datagrams do not take those that are kept for others, and the newest
/// ones are served.
#[test]
fn a_flood_of_sources_leaves_descriptors_to_others() {
    let upstream = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = upstream.local_addr().unwrap();
    let job = |name: &str| {
        format!("  - name: {name}\n    forward: {{ listen: 'udp://127.0.0.1:0', to: 'udp://{to}' }}\n")
    };
    fs::write(folder.path().join("jobs.yaml"), format!("jobs:\n{}{}", job("first"), job("second"))).unwrap();
    let log = folder.path().join("log");
    let (jobs, log_file) = (folder.path().to_str().unwrap(), log.to_str().unwrap());
    let run = netjobs(&["run", jobs, "--log.file", log_file, "--drain-idle", "100ms"]);
    let mut command = Command::new("prlimit");
    command.args(["--nofile=200:200"]).arg(run.get_program()).args(run.get_args()).env("NO_COLOR", "1");
    let daemon = Daemon::start(&mut command);
    let ready = || -> Vec<SocketAddr> {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains("\"job_ready\""));
        lines
            .map(|line| line.split("udp://").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect()
    };
    until(|| ready().len() == 2);
    let ports = ready();
    for number in 0..300_u32 {
        let to = ports[number as usize % 2];
        let client = StdUdpSocket::bind((Ipv4Addr::from(0x7f02_0001 + number), 0)).unwrap();
        client.send_to(&number.to_be_bytes(), to).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(upstream.recv(&mut buffer).unwrap(), 4, "{number}");
        assert_eq!(buffer[..4], number.to_be_bytes());
    }
    assert!(daemon.get("/metrics").contains("netjobs_forward_connections_active"));
    assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
}
