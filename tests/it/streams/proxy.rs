//! Forwards and the PROXY protocol: whose headers are read, who the client is then, and what the upstream hears.

use std::{net::SocketAddr, time::Duration};

use netjobs::{
    context::testing::Recorder,
    kind::forward::Forward,
    net::proxy::{self, Addresses, Header, Version},
    outcome::{Close, Notice},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

use super::{
    PATIENCE, Service, assert_broken_off, assert_reset, closes, process, read_all, reset, server, spec,
};

const TRUSTED: &str = "proxy_protocol: { accept: true, trust: 127.0.0.1 }";

/// The peers of all connections that ended, as the log has them.
fn peers(recorder: &Recorder) -> Vec<String> {
    let notices = recorder.notices.lock().unwrap();
    let peer = |notice: &Notice| match notice {
        Notice::ConnectionClosed { peer, .. } => Some(peer.clone()),
        _ => None,
    };
    notices.iter().filter_map(peer).collect()
}

fn header(version: Version, source: &str) -> Vec<u8> {
    let addresses =
        Addresses { source: source.parse().unwrap(), destination: "192.0.2.9:443".parse().unwrap() };
    proxy::print(version, Some(addresses))
}

/// Takes one header from the start of a connection.
async fn take_header(stream: &mut TcpStream) -> Header {
    let mut bytes = vec![];
    loop {
        bytes.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        if let Some((header, length)) = proxy::parse(&bytes).unwrap() {
            assert_eq!(length, bytes.len());
            return header;
        }
    }
}

/// Case 32: headers of both versions, split at every byte offset, with bytes right behind; the client is the one named.
#[tokio::test]
async fn a_header_may_be_split_anywhere() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', {TRUSTED} }}")).await;
    let mut waiting = vec![];
    for version in [Version::V1, Version::V2] {
        let bytes = [header(version, "198.51.100.7:5000"), b"payload".to_vec()].concat();
        for at in 0..bytes.len() {
            let mut client = service.connect().await;
            client.set_nodelay(true).unwrap();
            client.write_all(&bytes[..at]).await.unwrap();
            waiting.push((client, bytes[at..].to_vec()));
        }
    }
    // Long enough that the first parts were read alone; nothing is wrong where they were not.
    sleep(Duration::from_millis(50)).await;
    let count = waiting.len();
    for (mut client, rest) in waiting {
        client.write_all(&rest).await.unwrap();
    }
    for _ in 0..count {
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
        assert_eq!(read_all(&mut far).await.0, b"payload");
    }
    let recorder = service.recorder.clone();
    assert_eq!(service.end().await.1, vec![Close::Finished; count]);
    assert_eq!(peers(&recorder), vec!["198.51.100.7:5000"; count]);
}

/// Case 32: byte by byte, LOCAL and UNSPEC leave the sender as the client, and records are passed over.
#[tokio::test]
async fn a_header_without_addresses_leaves_the_sender_as_the_client() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', {TRUSTED} }}")).await;
    let local = proxy::print(Version::V2, None);
    let (mut unspec, mut record) = (local.clone(), header(Version::V2, "198.51.100.7:5000"));
    unspec[12] = 0x21;
    record[15] += 5;
    record.extend([0x01, 0, 2, b'h', b'2']);
    let mut wanted = vec![];
    for (bytes, is_named) in
        [(&local, false), (&unspec, false), (&b"PROXY UNKNOWN\r\n".to_vec(), false), (&record, true)]
    {
        let mut client = service.connect().await;
        client.set_nodelay(true).unwrap();
        for byte in bytes {
            client.write_all(&[*byte]).await.unwrap();
        }
        client.write_all(b"x").await.unwrap();
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        let own = client.local_addr().unwrap().to_string();
        wanted.push(if is_named { "198.51.100.7:5000".to_owned() } else { own });
        drop(client);
        assert!(read_all(&mut far).await.1.is_ok());
    }
    let recorder = service.recorder.clone();
    service.end().await;
    let mut found = peers(&recorder);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

/// Case 32: garbage, an end within the header, a break within it, and a sender that is not trusted.
#[tokio::test]
async fn what_sends_no_header_is_broken_off() {
    let (_listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', {TRUSTED} }}")).await;
    let mut wrong = header(Version::V2, "198.51.100.7:5000");
    wrong[12] = 0x31;
    for garbage in [b"GET / HTTP/1.1\r\n".to_vec(), b"PROXY TCP4 x".to_vec(), wrong, vec![b'P'; 200]] {
        let mut client = service.connect().await;
        let _ = client.write_all(&garbage).await;
        client.shutdown().await.ok();
        assert_reset(&read_all(&mut client).await.1);
    }
    let mut client = service.connect().await;
    client.shutdown().await.unwrap();
    assert_reset(&read_all(&mut client).await.1);
    reset(service.connect().await);
    let seen = timeout(PATIENCE, async {
        while closes(&service.recorder).len() < 6 {
            tokio::task::yield_now().await;
        }
    });
    seen.await.unwrap();
    let found = service.end().await.1;
    let count = |close| found.iter().filter(|found| **found == close).count();
    assert_eq!((count(Close::ProxyHeader), count(Close::ClientReset)), (5, 1), "{found:?}");

    let yaml = format!("{{ listen: 0, to: '{to}', proxy_protocol: {{ accept: true, trust: 127.0.0.2 }} }}");
    let service = Service::forward(&yaml).await;
    assert_broken_off(&service).await;
    assert_eq!(service.end().await.1, [Close::ProxyHeader]);
}

/// Case 32: those that are slow with their header hold nobody up, and have five seconds.
#[tokio::test]
async fn a_slow_header_holds_nobody_up_and_ends() {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}', {TRUSTED} }}")).await;
    let start = Instant::now();
    let mut slow = vec![];
    for _ in 0..50 {
        let mut client = service.connect().await;
        client.write_all(b"PROXY TCP4 1").await.unwrap();
        slow.push(client);
    }
    let mut quick = service.connect().await;
    quick.write_all(&header(Version::V1, "198.51.100.7:5000")).await.unwrap();
    let far =
        timeout(Duration::from_secs(2), listener.accept()).await.expect("the slow ones stand aside").unwrap();
    for client in &mut slow {
        assert_reset(&read_all(client).await.1);
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(4900) && took < Duration::from_secs(9), "{took:?}");
    drop((quick, far));
    let closes = service.end().await.1;
    assert_eq!(closes.iter().filter(|close| **close == Close::ProxyHeader).count(), 50);
}

/// Case 32: the client that a header names is the one whom `deny` and `max_per_source` judge, not the proxy.
#[tokio::test]
async fn limits_are_those_of_the_client_that_is_named() {
    let (listener, to) = server().await;
    let yaml = format!(
        "{{ listen: 0, to: '{to}', {TRUSTED}, allow: 198.51.100.0/24, deny: 198.51.100.66, max_per_source: 1 }}"
    );
    let service = Service::forward(&yaml).await;
    let connect = async |source: &str| {
        let mut client = service.connect().await;
        client.write_all(&header(Version::V2, source)).await.unwrap();
        client
    };
    let first = connect("198.51.100.7:1").await;
    let one = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let refused = ["198.51.100.7:2", "198.51.100.66:1", "203.0.113.1:1", "[::ffff:198.51.100.66]:1"];
    for source in refused {
        assert_reset(&read_all(&mut connect(source).await).await.1);
    }
    let second = connect("[::ffff:198.51.100.8]:1").await;
    let two = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    drop((first, second, one, two));
    let found = service.end().await.1;
    let count = |close| found.iter().filter(|found| **found == close).count();
    let counts = (count(Close::Limit), count(Close::Denied), count(Close::Finished));
    assert_eq!(counts, (1, 3, 2), "{found:?}");
}

/// Case 32: `source_hash` follows the client that is named.
#[tokio::test]
async fn the_named_client_chooses_the_upstream() {
    let ((a, to_a), (b, to_b)) = (server().await, server().await);
    let yaml = format!("{{ listen: 0, to: ['{to_a}', '{to_b}'], balance: source_hash, {TRUSTED} }}");
    let service = Service::forward(&yaml).await;
    let mut seen = std::collections::BTreeSet::new();
    for client in 0..16 {
        let mut turns = vec![];
        for _ in 0..2 {
            let mut near = service.connect().await;
            near.write_all(&header(Version::V1, &format!("198.51.100.{client}:1"))).await.unwrap();
            turns.push(tokio::select! {
                far = a.accept() => { drop(far); 'a' }
                far = b.accept() => { drop(far); 'b' }
                () = sleep(PATIENCE) => panic!("nobody was reached"),
            });
        }
        assert_eq!(turns[0], turns[1], "the same client goes to the same upstream");
        seen.insert(turns[0]);
    }
    assert_eq!(seen.len(), 2, "not all to one");
    service.end().await;
}

/// Case 33: the client's own address and the one that it connected to, over IPv4, IPv6 and IPv4 on a dual-stack listener.
#[tokio::test]
async fn the_upstream_hears_the_real_addresses() {
    for version in ["v1", "v2"] {
        for (listen, host) in [("127.0.0.1:0", "127.0.0.1"), ("'[::]:0'", "127.0.0.1"), ("'[::]:0'", "::1")] {
            let (listener, to) = server().await;
            let options = format!("allow: [127.0.0.1, '::1'], proxy_protocol: {{ send: {version} }}");
            let service = Service::forward(&format!("{{ listen: {listen}, to: '{to}', {options} }}")).await;
            let mut client = TcpStream::connect((host, service.at(0).port())).await.unwrap();
            let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
            let (source, destination) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            assert_eq!(take_header(&mut far).await, Header::Proxied(Addresses { source, destination }));
            client.write_all(b"ask").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut far).await.0, b"ask");
            drop((client, far));
            let (outcome, closes) = service.end().await;
            assert_eq!(closes, [Close::Finished]);
            let received = outcome.samples[0].find("received_bytes");
            assert_eq!(
                received,
                Some(&netjobs::outcome::Sample::Count(3)),
                "the header is none of the client's bytes"
            );
        }
    }
}

/// Case 33: a header that came in goes out, whichever version either is.
#[tokio::test]
async fn a_chain_of_proxies_keeps_the_first_client() {
    for (from, to, source) in
        [(Version::V1, "v2", "198.51.100.7:5000"), (Version::V2, "v1", "[2001:db8::7]:5000")]
    {
        let (listener, upstream) = server().await;
        let key = format!("proxy_protocol: {{ accept: true, trust: 127.0.0.0/8, send: {to} }}");
        let service = Service::forward(&format!("{{ listen: 0, to: '{upstream}', {key} }}")).await;
        let addresses = Addresses {
            source: source.parse().unwrap(),
            destination: SocketAddr::new(
                if source.starts_with('[') { "::9" } else { "192.0.2.9" }.parse().unwrap(),
                443,
            ),
        };
        let mut client = service.connect().await;
        client.write_all(&proxy::print(from, Some(addresses))).await.unwrap();
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
        assert_eq!(take_header(&mut far).await, Header::Proxied(addresses));
        drop((client, far));
        service.end().await;
    }
}

/// Case 33: together with the client's first bytes, or alone where the server is to speak first.
#[tokio::test]
async fn a_header_waits_for_the_first_bytes_but_not_long() {
    let (listener, to) = server().await;
    let service =
        Service::forward(&format!("{{ listen: 0, to: '{to}', proxy_protocol: {{ send: v1 }} }}")).await;
    let mut client = service.connect().await;
    client.write_all(b"early").await.unwrap();
    let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    let mut bytes = [0; 200];
    let length = timeout(PATIENCE, far.read(&mut bytes)).await.unwrap().unwrap();
    let text = str::from_utf8(&bytes[..length]).unwrap();
    assert!(text.starts_with("PROXY TCP4 ") && text.ends_with("\r\nearly"), "{text}: in one segment");
    drop((client, far));

    let mut times = vec![];
    for _ in 0..5 {
        let start = Instant::now();
        let mut silent = service.connect().await;
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
        assert!(matches!(take_header(&mut far).await, Header::Proxied(_)));
        times.push(start.elapsed());
        far.write_all(b"220 ready").await.unwrap();
        let mut banner = [0; 9];
        silent.read_exact(&mut banner).await.unwrap();
        assert_eq!(&banner, b"220 ready");
    }
    times.sort();
    // The kernel would hold a header back for 200 ms that waits for more.
    assert!(times[0] >= Duration::from_millis(5) && times[0] < Duration::from_millis(180), "{times:?}");

    let mut ended = service.connect().await;
    ended.shutdown().await.unwrap();
    let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    assert!(read_all(&mut far).await.0.starts_with(b"PROXY TCP4 "));
    drop((ended, far));
    service.end().await;
}

/// Cases 6 and 33: who breaks off while its header waits for its first bytes is not taken for one who has finished.
#[tokio::test]
async fn a_break_beside_a_waiting_header_is_passed_on() {
    for (abort, is_reset) in [("reset", true), ("fin", false)] {
        let ((listener, to), process) = (server().await, process());
        let yaml = format!("{{ listen: 0, to: '{to}', on_abort: {abort}, proxy_protocol: {{ send: v1 }} }}");
        let service = Service::start_in(spec::<Forward>(&yaml), &process).await;
        let is_reached = |times: usize| {
            let (mut text, wanted) = (String::new(), format!(" {times}"));
            process.registry.render(&mut text);
            let count = "netjobs_forward_connect_seconds_count";
            text.lines().any(|line| line.starts_with(count) && line.ends_with(&wanted))
        };
        for times in 1..=10 {
            let client = service.connect().await;
            let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
            let start = Instant::now();
            while !is_reached(times) {
                assert!(start.elapsed() < PATIENCE);
                tokio::task::yield_now().await;
            }
            reset(client);
            assert_eq!(read_all(&mut far).await.1.is_err(), is_reset, "on_abort: {abort}");
        }
        assert_eq!(service.end().await.1, [Close::ClientReset; 10]);
    }
}

/// Cases 32 and 33: clients of Unix sockets have no address to tell, and may have a header that tells one.
#[tokio::test]
async fn unix_clients_are_unknown_unless_a_header_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let unix = format!("unix://{}", path.display());
    for (version, wanted) in [("v1", &b"PROXY UNKNOWN\r\nx"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0x")]
    {
        let (listener, to) = server().await;
        let yaml = format!("{{ listen: '{unix}', to: '{to}', proxy_protocol: {{ send: {version} }} }}");
        let service = Service::forward(&yaml).await;
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"x").await.unwrap();
        client.shutdown().await.unwrap();
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
        assert_eq!(read_all(&mut far).await.0, wanted);
        drop((client, far));
        service.end().await;
    }
    let (listener, to) = server().await;
    let yaml = format!(
        "{{ listen: '{unix}', to: '{to}', allow: 198.51.100.0/24, proxy_protocol: {{ accept: true, send: v1 }} }}"
    );
    let service = Service::forward(&yaml).await;
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(&[header(Version::V2, "198.51.100.7:5000"), b"x".to_vec()].concat()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    assert_eq!(read_all(&mut far).await.0, b"PROXY TCP4 198.51.100.7 192.0.2.9 5000 443\r\nx");
    drop((client, far));
    service.end().await;
}

/// Case 33: to a Unix upstream.
#[tokio::test]
async fn a_unix_upstream_hears_the_header_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let yaml = format!("{{ listen: 0, to: 'unix://{}', proxy_protocol: {{ send: v2 }} }}", path.display());
    let service = Service::forward(&yaml).await;
    let mut client = service.connect().await;
    client.write_all(b"x").await.unwrap();
    client.shutdown().await.unwrap();
    let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    let mut bytes = vec![];
    timeout(PATIENCE, far.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let (source, destination) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let header = Header::Proxied(Addresses { source, destination });
    assert_eq!(proxy::parse(&bytes), Ok(Some((header, bytes.len() - 1))));
    drop((client, far));
    service.end().await;
}
