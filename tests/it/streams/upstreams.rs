//! Upstreams of forwards: circles, names, flapping servers, families and devices, and what this machine may lack.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use netjobs::{
    context::{Shared, testing::context},
    job::load::load_texts,
    kind::{Kind as _, forward::Forward},
    net::{
        dial::{self, Options, Source},
        hops,
    },
    outcome::{Close, Reason},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

use super::{
    PATIENCE, Service, assert_broken_off, assert_reset,
    limits::{assert_broken_from, connect_from},
    nobody, process, spec,
};
use crate::{check::environment, falsenet::world, nameserver::Answer, netns::Namespace};

/// As many different ports as asked for, free a moment ago.
fn free(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// Forwards of one process, each to the next and the last to the first.
async fn circle(process: &Arc<Shared>, places: &[String]) -> Vec<Service> {
    let mut services = vec![];
    for (at, to) in places.iter().zip(places.iter().cycle().skip(1)) {
        let yaml = format!("{{ listen: '{at}', to: '{to}' }}");
        services.push(Service::start_in(spec::<Forward>(&yaml), process).await);
    }
    services
}

/// Ends forwards that stand in a circle: how many connections they had, and how many of them were ended as a loop.
async fn count(services: Vec<Service>) -> (usize, usize) {
    let mut closes = vec![];
    for service in services {
        closes.extend(service.end().await.1);
    }
    (closes.len(), closes.iter().filter(|close| **close == Close::Loop).count())
}

/// Case 43, in a circle of two and of three jobs: a connection does not go round until no descriptor is left.
#[tokio::test]
async fn a_circle_of_forwards_of_connections_comes_to_an_end() {
    for length in [2, 3] {
        let process = process();
        let places: Vec<String> = free(length).iter().map(ToString::to_string).collect();
        let services = circle(&process, &places).await;
        for _ in 0..3 {
            assert_broken_off(&services[0]).await;
        }
        assert_eq!(count(services).await, (3 * usize::from(hops::MOST + 1), 3));
    }
}

/// Case 43, by a name, by all addresses and by a Unix socket.
#[tokio::test]
async fn a_circle_is_found_in_every_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let (process, ports) = (process(), free(2));
    let (a, b) = (ports[0].port(), ports[1].port());
    let path = folder.path().join("s");
    let unix = format!("unix://{}", path.display());
    let jobs = [
        format!("{{ listen: '0.0.0.0:{a}', to: 'localhost:{b}', allow: 127.0.0.0/8 }}"),
        format!("{{ listen: 'localhost:{b}', to: '{unix}' }}"),
        format!("{{ listen: '{unix}', to: '0.0.0.0:{a}' }}"),
    ];
    let mut services = vec![];
    for yaml in jobs {
        services.push(Service::start_in(spec::<Forward>(&yaml), &process).await);
    }
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut rest = vec![];
    // A Unix socket has no RST: somewhere on the way the break became an end.
    let _ = timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap();
    drop(client);
    assert_eq!(count(services).await, (usize::from(hops::MOST + 1), 1));
}

/// Case 43, by a link-local address: the forward's own on all addresses, and those of two on one each.
#[test]
fn a_circle_over_a_link_local_address_is_found() {
    let namespace = Namespace::new();
    namespace.sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up
         ip addr add fe80::9/64 dev va nodad");
    namespace.block_on(|| async {
        let own = "{ listen: '[::]:7000', to: '[fe80::9%va]:7000', max_connections: 30, allow: '::/0' }";
        let service = Service::forward(own).await;
        let at = SocketAddr::from((Ipv6Addr::LOCALHOST, 7000));
        assert_broken_from("[::1]:0", at).await;
        assert_eq!(count(vec![service]).await, (1, 1));

        let (process, mut services) = (process(), vec![]);
        for (listen, to) in [(7001, 7002), (7002, 7001)] {
            let yaml = format!(
                "{{ listen: '[fe80::9%va]:{listen}', to: '[fe80::9%va]:{to}', max_connections: 30, allow: '::/0' }}"
            );
            services.push(Service::start_in(spec::<Forward>(&yaml), &process).await);
        }
        let index = nix::net::if_::if_nametoindex("va").unwrap();
        let at = SocketAddrV6::new("fe80::9".parse().unwrap(), 7001, 0, index);
        let mut client = TcpStream::connect(at).await.unwrap();
        assert_reset(&super::read_all(&mut client).await.1);
        assert_eq!(count(services).await, (usize::from(hops::MOST + 1), 1));
    });
}

/// Case 43, with a PROXY header at each step: who the client is said to be hides nobody's way.
#[tokio::test]
async fn a_circle_is_found_behind_headers() {
    let (process, places) = (process(), free(2));
    let mut services = vec![];
    for (at, to) in [(places[0], places[1]), (places[1], places[0])] {
        let key = "max_connections: 30, proxy_protocol: { accept: true, trust: 127.0.0.1, send: v2 }";
        let yaml = format!("{{ listen: '{at}', to: '{to}', {key} }}");
        services.push(Service::start_in(spec::<Forward>(&yaml), &process).await);
    }
    let mut client = TcpStream::connect(places[0]).await.unwrap();
    client.write_all(b"PROXY TCP4 198.51.100.7 192.0.2.9 5000 443\r\n").await.unwrap();
    assert_reset(&super::read_all(&mut client).await.1);
    assert_eq!(count(services).await, (usize::from(hops::MOST + 1), 1));
}

/// A chain of jobs is no circle.
#[tokio::test]
async fn a_chain_of_forwards_passes() {
    let (process, places) = (process(), free(4));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let last = listener.local_addr().unwrap();
    let mut services = vec![];
    for (at, to) in places.iter().zip(places[1..].iter().chain([&last])) {
        let yaml = format!("{{ listen: '{at}', to: '{to}' }}");
        services.push(Service::start_in(spec::<Forward>(&yaml), &process).await);
    }
    let client = TcpStream::connect(places[0]).await.unwrap();
    drop((client, timeout(PATIENCE, listener.accept()).await.unwrap().unwrap()));
    assert_eq!(count(services).await, (4, 0));
    assert_eq!(process.stream_hops.before(nobody()), 0);
}

/// Case 44.
#[test]
fn two_jobs_on_one_port_are_refused_by_the_check() {
    for (first, second) in
        [("8800", "127.0.0.1:8800"), ("8800-8803", "8802"), ("0.0.0.0:8800", "127.0.0.9:8800")]
    {
        let job = |name: &str, listen: &str| {
            format!(
                "  - {{ name: {name}, forward: {{ listen: '{listen}', to: 'a:1', allow: 10.0.0.0/8 }} }}\n"
            )
        };
        let text = ["jobs:\n", &job("a", first), &job("b", second)].concat();
        let report = load_texts(&[("jobs.yaml", &text)], &environment()).report;
        let said =
            report.diagnostics.iter().any(|found| found.message.contains("listened on by `a` already"));
        assert!(report.has_errors() && said, "{}", report.render(false));
    }
}

/// Whether a client of the forward reaches this server.
async fn reaches(service: &Service, server: &TcpListener) {
    let client = service.connect().await;
    let far = timeout(PATIENCE, server.accept()).await.expect("the client comes").unwrap();
    drop((client, far));
}

/// Case 36: servers come and go, all are down, one comes back.
#[tokio::test]
async fn clients_go_to_whichever_upstream_is_there() {
    let places = free(2);
    let up = async |index: usize| TcpListener::bind(places[index]).await.unwrap();
    let yaml = format!("{{ listen: 0, to: ['{}', '{}'], balance: first }}", places[0], places[1]);
    let service = Service::forward(&yaml).await;
    for _ in 0..3 {
        let first = up(0).await;
        reaches(&service, &first).await;
        drop(first);
        let second = up(1).await;
        reaches(&service, &second).await;
        drop(second);
        assert_broken_off(&service).await;
    }
    let (_, closes) = service.end().await;
    let count = |wanted: Close| closes.iter().filter(|close| **close == wanted).count();
    assert_eq!((count(Close::Finished), count(Close::Refused)), (6, 3));
}

/// A server on port 80 of an address, which says which one it is.
fn speaks(address: Ipv4Addr) {
    let listener = std::net::TcpListener::bind((address, 80)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), &address.octets()[3..]);
        }
    });
}

/// Which server a client of the forward reaches; `None`: it is broken off.
async fn reached(service: &Service) -> Option<u8> {
    // The break may come as early as the connection itself.
    let mut client = TcpStream::connect(service.at(0)).await.ok()?;
    timeout(PATIENCE, client.read_u8()).await.expect("an answer").ok()
}

/// Case 35: a name that heals is seen at once, one that moves within the time an answer is kept, and while the name servers
/// are silent the last answer stands in.
#[test]
fn names_are_followed_where_they_go() {
    const FRESH: Duration = Duration::from_secs(5);
    let step = Arc::new(AtomicUsize::new(0));
    let at = |last: u8| Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, last).into()]);
    let told = step.clone();
    let namespace = world(Some(Arc::new(move |name| match (name, told.load(Ordering::SeqCst)) {
        ("heals.test", 0) => Answer::Nxdomain,
        ("heals.test", _) | ("moves.test" | "sticks.test", 0) => at(2),
        ("moves.test", _) => at(3),
        _ => Answer::Silence,
    })));
    namespace.block_on(move || async move {
        speaks(Ipv4Addr::new(127, 0, 0, 2));
        speaks(Ipv4Addr::new(127, 0, 0, 3));
        let process = process();
        let forward = async |name: &str, timeout: &str| {
            let yaml = format!("{{ listen: 0, to: '{name}:80', connect_timeout: {timeout} }}");
            Service::start_in(spec::<Forward>(&yaml), &process).await
        };
        let (heals, moves) = (forward("heals.test", "5s").await, forward("moves.test", "5s").await);
        let (sticks, silent) = (forward("sticks.test", "5s").await, forward("silent.test", "300ms").await);
        assert_eq!(reached(&heals).await, None);
        assert_eq!((reached(&moves).await, reached(&sticks).await), (Some(2), Some(2)));
        let asked = Instant::now();
        step.store(1, Ordering::SeqCst);
        assert_eq!(reached(&heals).await, Some(2), "nobody remembers that there was no such name");
        assert_eq!(reached(&silent).await, None);
        while reached(&moves).await == Some(2) {
            assert!(asked.elapsed() < 2 * FRESH);
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(reached(&moves).await, Some(3));
        let silence = Instant::now();
        assert_eq!(reached(&sticks).await, Some(2), "the last answer");
        assert!(silence.elapsed() > Duration::from_millis(900), "the name server was asked");
        assert_eq!(heals.end().await.1, [Close::Dns, Close::Finished]);
        assert_eq!(silent.end().await.1, [Close::Dns]);
    });
}

/// Fault cases 6 and 7: packets that vanish are a connect timeout at its time, a firewall's RST is a refusal at once.
#[test]
fn a_firewall_between_the_forward_and_its_upstream_is_told_by_its_reason() {
    let namespace = Namespace::new();
    namespace.sh("nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0 ; }'
         nft add rule inet t i tcp dport 7001 drop
         nft add rule inet t i tcp dport 7002 reject with tcp reset");
    namespace.block_on(|| async {
        for (port, least, most, wanted) in
            [(7001, 500, 2000, Close::ConnectTimeout), (7002, 0, 500, Close::Refused)]
        {
            let yaml = format!("{{ listen: 0, to: '127.0.0.1:{port}', connect_timeout: 500ms }}");
            let service = Service::forward(&yaml).await;
            let start = Instant::now();
            assert_broken_off(&service).await;
            let took = start.elapsed().as_millis();
            assert!((least..most).contains(&took), "{port} took {took} ms");
            assert_eq!(service.end().await.1, [wanted]);
        }
    });
}

/// Fault case 20: without a port to start from the close says `resources`, and the upstream is not to blame.
#[test]
fn out_of_ephemeral_ports_is_this_machines_lack() {
    // A namespace each: no port of the one is left in TIME_WAIT for the other.
    for source in ["", ", source: 127.0.0.1"] {
        let namespace = Namespace::new();
        namespace.sh("sysctl -qw net.ipv4.ip_local_port_range='50000 50001'");
        namespace.block_on(move || run_out_of_ports(source));
    }
}

async fn run_out_of_ports(source: &str) {
    let server = TcpListener::bind("127.0.0.1:7000").await.unwrap();
    let process = process();
    let yaml = format!("{{ listen: 7001, to: '127.0.0.1:7000'{source} }}");
    let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
    let mut held = vec![];
    for client in ["127.0.0.2:40000", "127.0.0.2:40001"] {
        let client = connect_from(client, service.at(0)).await;
        held.push((client, timeout(PATIENCE, server.accept()).await.unwrap().unwrap()));
    }
    assert_broken_from("127.0.0.2:40002", service.at(0)).await;
    let mut text = String::new();
    process.registry.render(&mut text);
    let up = text.lines().find(|line| line.starts_with("netjobs_forward_upstream_up{")).unwrap();
    assert!(up.ends_with(" 1"), "{up}");
    for (client, _) in held {
        super::reset(client);
    }
    let (_, closes) = service.end().await;
    let lacking = closes.iter().filter(|close| **close == Close::Resources).count();
    assert_eq!((closes.len(), lacking), (3, 1), "{source}: {closes:?}");
}

/// Fault case 20, where the port is chosen before the connection: datagrams, and what goes on to this very process.
#[test]
fn out_of_ports_to_bind_is_this_machines_lack_too() {
    let namespace = Namespace::new();
    namespace.sh("sysctl -qw net.ipv4.ip_local_port_range='50000 50001'");
    namespace.block_on(|| async {
        let to: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let _server = TcpListener::bind(to).await.unwrap();
        let bind = |port: u16| std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap();
        let _udp = [bind(50_000), bind(50_001)];
        let listen = |port: u16| std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
        let _tcp = [listen(50_000), listen(50_001)];
        for source in [None, Some(Source::Address(Ipv4Addr::LOCALHOST.into()))] {
            let options = Options { timeout: PATIENCE, source };
            let udp = dial::udp(&[to], &options).await.unwrap_err();
            let told = dial::tcp_told(to, &options, |_| ()).await.unwrap_err();
            assert_eq!([udp.reason, told.reason], [Reason::Resources; 2], "{udp} {told}");
        }
    });
}

/// A source that this machine lacks is told at the start, not by each connection.
#[tokio::test]
async fn a_source_that_is_not_here_is_an_error_of_the_start() {
    for (source, wanted) in [("nosuch0", Reason::NoInterface), ("192.0.2.1", Reason::Io)] {
        let spec = spec::<Forward>(&format!("{{ listen: 0, to: '192.0.2.9:1', source: {source} }}"));
        let listeners = super::open(spec.listens()).await;
        let (cx, _) = context(listeners, None);
        let error = timeout(PATIENCE, spec.run(&cx)).await.expect("it ends").unwrap_err();
        assert!(error.to_string().contains(source) && error.hint().is_some(), "{error}");
        assert_eq!(error.reason(), wanted);
    }
}

/// Case 41: a link-local address with its zone on either side, and both families on sockets of their own.
#[test]
fn zones_and_single_families_are_served() {
    let namespace = Namespace::new();
    namespace.sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up
         ip addr add fe80::9/64 dev va nodad");
    namespace.block_on(|| async {
        let index = nix::net::if_::if_nametoindex("va").unwrap();
        let zone = |port: u16| SocketAddrV6::new("fe80::9".parse::<Ipv6Addr>().unwrap(), port, 0, index);
        let server = TcpListener::bind(zone(7000)).await.unwrap();
        let jobs = [
            ("[fe80::9%va]:7001", SocketAddr::from(zone(7001))),
            ("0.0.0.0:7002", "127.0.0.1:7002".parse().unwrap()),
            ("[::]:7002", "[::1]:7002".parse().unwrap()),
        ];
        let process = process();
        let mut services = vec![];
        for (listen, at) in jobs {
            let yaml = format!(
                "{{ listen: '{listen}', to: '[fe80::9%va]:7000', source: va, allow: ['::/0', 0.0.0.0/0] }}"
            );
            services.push(Service::start_in(spec::<Forward>(&yaml), &process).await);
            let mut client = TcpStream::connect(at).await.unwrap();
            let (mut far, _) = timeout(PATIENCE, server.accept()).await.expect(listen).unwrap();
            client.write_all(b"x").await.unwrap();
            assert_eq!(far.read_u8().await.unwrap(), b'x');
        }
        assert_eq!(count(services).await, (3, 0));
    });
}
