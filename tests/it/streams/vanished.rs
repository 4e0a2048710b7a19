//! Forwards whose peers are on another host: one that vanishes, one that lives and does not read, and small segments.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use netjobs::{
    net::{
        relay::{self, Abort, End, Ending, Lane, Limits},
        stream::Stream,
    },
    outcome::Close,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, noise};
use crate::lab::Lab;

/// A minute outside of tests.
const VANISHED: Duration = Duration::from_secs(4);

/// A connection from the near host to the far one, by its end here and its end there.
fn link(lab: &Lab, listener: &TcpListener, near: &str) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().unwrap();
    assert!(near == "10.9.0.1" && address.is_ipv4());
    let here = lab.near.run(move || TcpStream::connect(address).unwrap());
    (here, listener.accept().unwrap().0)
}

fn ending() -> Ending {
    let token = CancellationToken::new;
    Ending { drain: token(), drain_idle: Duration::ZERO, finish: None, kill: token() }
}

fn stream(stream: TcpStream) -> Stream {
    stream.set_nonblocking(true).unwrap();
    Stream::Tcp(tokio::net::TcpStream::from_std(stream).unwrap())
}

/// A relay from a pair of this host to a peer.
async fn relay_to(peer: TcpStream, limits: &Limits, ending: &Ending, early: &[u8]) -> (End, Duration) {
    let (mut client, near) = tokio::net::UnixStream::pair().unwrap();
    client.write_all(early).await.unwrap();
    let (up, down) = (Lane::default(), Lane::default());
    let start = Instant::now();
    let end = relay::relay(Stream::Unix(near), stream(peer), up, down, limits, ending).await;
    assert!(client.read(&mut [0]).await.is_ok_and(|length| length == 0));
    (end, start.elapsed())
}

/// Cases 25 and 26, and what must not be taken for them: a peer that answers and does not read.
#[tokio::test]
async fn a_peer_that_vanished_is_told_from_one_that_does_not_read() {
    let lab = Lab::new();
    let listener = lab.far.run(|| TcpListener::bind("10.9.0.2:0").unwrap());
    let (owing, owing_far) = link(&lab, &listener, "10.9.0.1");
    let (idle, idle_far) = link(&lab, &listener, "10.9.0.1");
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near_deaf = TcpStream::connect(deaf.local_addr().unwrap()).unwrap();
    let mut deaf_far = deaf.accept().unwrap().0;
    // As a host that lost its power: nothing arrives, nothing is answered, and here the link stays up.
    lab.far.sh(
        "nft add table inet t; nft add chain inet t i '{ type filter hook input priority 0; policy drop; }'",
    );
    let (idle_limit, half_closed) = (Duration::from_hours(1), Duration::from_mins(5));
    let limits = Limits { idle: idle_limit, half_closed, vanished: VANISHED, abort: Abort::Reset };
    let (ending, deaf_ending) = (ending(), ending());
    let bulk = noise(1, 150_000);
    let both = async {
        let found = tokio::join!(
            relay_to(owing, &limits, &ending, b"unheard"),
            relay_to(idle, &limits, &ending, b"")
        );
        // The deaf one has been deaf for longer than a peer may owe an answer.
        deaf_ending.kill.cancel();
        found
    };
    let deaf = async {
        let (mut client, near) = tokio::net::UnixStream::pair().unwrap();
        let (up, down) = (Lane::default(), Lane::default());
        let relay = relay::relay(Stream::Unix(near), stream(near_deaf), up, down, &limits, &deaf_ending);
        let (end, ()) = tokio::join!(relay, async {
            while timeout(Duration::from_millis(200), client.write_all(&bulk))
                .await
                .is_ok_and(|all| all.is_ok())
            {}
        });
        end
    };
    let ((owing, idle), deaf) = timeout(PATIENCE, async { tokio::join!(both, deaf) }).await.unwrap();
    assert_eq!(owing.0.close, Close::Vanished);
    assert!(owing.1 >= VANISHED && owing.1 < VANISHED * 5 / 2, "{owing:?}");
    assert_eq!(idle.0.close, Close::Vanished);
    assert!(idle.1 >= VANISHED && idle.1 < VANISHED * 3, "{idle:?}");
    assert_eq!(deaf.close, Close::Grace, "a peer that lives is left alone");
    let mut got = [0; 1000];
    deaf_far.read_exact(&mut got).unwrap();
    assert!(got[..] == bulk[..1000]);
    drop((owing_far, idle_far));
}

/// Case 14: each segment comes alone, so that a pipe takes only few bytes.
#[tokio::test]
async fn segments_that_are_not_merged_pass_both_ways() {
    let lab = Lab::new();
    for host in [&lab.near, &lab.far] {
        host.sh("ip link set dev link gso_max_segs 1 gso_max_size 1500 gro_max_size 1500");
    }
    let listener = lab.far.run(|| TcpListener::bind("10.9.0.2:0").unwrap());
    let (near_client, client) = link(&lab, &listener, "10.9.0.1");
    let (near_server, server) = link(&lab, &listener, "10.9.0.1");
    let (up, down) = (noise(14, 8_000_000), noise(41, 6_000_000));
    let talk = |mut stream: TcpStream, send: Vec<u8>, wanted: Vec<u8>| {
        tokio::task::spawn_blocking(move || {
            let mut writer = stream.try_clone().unwrap();
            let sender = std::thread::spawn(move || {
                writer.write_all(&send).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut got = vec![];
            stream.read_to_end(&mut got).unwrap();
            sender.join().unwrap();
            assert!(got == wanted, "{} of {}", got.len(), wanted.len());
        })
    };
    let (here, there) = (talk(client, up.clone(), down.clone()), talk(server, down, up));
    let limits =
        Limits { idle: PATIENCE, half_closed: PATIENCE, vanished: relay::VANISHED, abort: Abort::Reset };
    let ending = ending();
    let (near_client, near_server) = (stream(near_client), stream(near_server));
    let relay = relay::relay(near_client, near_server, Lane::default(), Lane::default(), &limits, &ending);
    let (end, here, there) = tokio::join!(relay, here, there);
    here.unwrap();
    there.unwrap();
    assert_eq!((end.close, end.received_bytes, end.sent_bytes), (Close::Finished, 8_000_000, 6_000_000));
}
