//! Networks that are slow, break off or have no port left, and what the built forward makes of them.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{Host, PATIENCE, noise, read_all, stopped};
use crate::lab::Lab;

/// Two hosts; the forward runs on the first.
fn hosts() -> (Host, Host) {
    let lab = Lab::new();
    (Host(lab.near), Host(lab.far))
}

fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Breaks a connection off.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

fn is_reset<T>(end: &std::io::Result<T>) -> bool {
    end.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Fault case 5.
#[test]
fn through_a_bottleneck_every_byte_arrives_at_its_pace() {
    const LENGTH: usize = 600_000;
    let (near, far) = hosts();
    near.0.sh("tc qdisc add dev link root tbf rate 2mbit burst 16kb latency 400ms");
    let listener = far.listen("10.9.0.2:7000");
    let forward = near.forward("10.9.0.2:7000");
    let mut client = near.connect("127.0.0.1:8800");
    let mut server = accept(&listener);
    let upload = noise(5, LENGTH);
    let started = Instant::now();
    let sender = {
        let upload = upload.clone();
        thread::spawn(move || {
            client.write_all(&upload).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            client
        })
    };
    let (bytes, end) = read_all(&mut server);
    let took = started.elapsed();
    assert!(bytes == upload && end.is_ok(), "{} bytes, {end:?}", bytes.len());
    // 2.4 s at this rate, of which the bucket and the packets' heads take and give a little.
    assert!((2.2..5.0).contains(&took.as_secs_f64()), "{took:?}");
    drop(server);
    let mut client = sender.join().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let said = stopped(forward);
    assert!(said.contains(" finished: 586 KiB in, 0 B out"), "{said}");
}

/// Fault case 8: what was sent before the break arrives, then the break does.
#[test]
fn a_break_after_so_many_bytes_comes_after_so_many_bytes() {
    let host = Host::new();
    let listener = host.listen("127.0.0.1:7000");
    let forward = host.forward("127.0.0.1:7000");
    let lengths = [0, 1, 1000, 65_536, 1_000_000];
    for length in lengths {
        let mut client = host.connect("127.0.0.1:8800");
        let mut server = accept(&listener);
        let answer = noise(8, length);
        let mut bytes = vec![0; length];
        let sender = {
            let answer = answer.clone();
            thread::spawn(move || {
                server.write_all(&answer).unwrap();
                server
            })
        };
        client.read_exact(&mut bytes).unwrap();
        reset(sender.join().unwrap());
        let (rest, end) = read_all(&mut client);
        assert!(
            bytes == answer && rest.is_empty() && is_reset(&end),
            "{length}: {} more, {end:?}",
            rest.len()
        );
    }
    let said = stopped(forward);
    assert_eq!(said.matches(" upstream_reset: 0 B in, ").count(), lengths.len(), "{said}");
}

/// Fault case 8: the network breaks an upload off, and neither program did.
#[test]
fn a_break_that_the_network_makes_reaches_the_client() {
    let (near, far) = hosts();
    far.0.sh("nft add table inet t; nft add chain inet t i '{ type filter hook input priority 0; }'; \
              nft add rule inet t i tcp dport 7000 quota over 100 kbytes reject with tcp reset");
    let listener = far.listen("10.9.0.2:7000");
    let forward = near.forward("10.9.0.2:7000");
    let mut client = near.connect("127.0.0.1:8800");
    let _server = accept(&listener);
    let mut sent = 0;
    let broken = loop {
        match client.write(&[7; 4096]) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "nothing breaks off");
    };
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    let said = stopped(forward);
    assert!(said.contains(" upstream_reset: "), "{said}");
}

/// Fault case 20, for connections to an upstream: the one for which no port is left is broken off, and the next is served.
#[test]
fn without_a_port_left_a_connection_is_broken_off_and_the_others_live() {
    let (near, far) = hosts();
    near.0.sh("sysctl -qw net.ipv4.ip_local_port_range='50000 50003'");
    let listener = near.listen("127.0.0.1:7000");
    let forward = near.netjobs(&["forward", "10.9.0.1:8800", "--to", "127.0.0.1:7000"]);
    let connect = || far.connect("10.9.0.1:8800");
    let mut pairs: Vec<_> = (0..4).map(|_| (connect(), accept(&listener))).collect();
    let (rest, end) = read_all(&mut connect());
    assert!(rest.is_empty() && is_reset(&end), "{end:?}");
    let (client, mut server) = pairs.pop().unwrap();
    reset(client);
    assert!(is_reset(&read_all(&mut server).1));
    pairs.push((connect(), accept(&listener)));
    for (client, server) in &mut pairs {
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
    drop(pairs);
    let said = stopped(forward);
    assert_eq!(said.matches(" resources: 0 B in, 0 B out").count(), 1, "{said}");
}
