//! What holds of datagrams of a listener: who sent them, to where, how many were lost, and how large.

use std::net::{IpAddr, Ipv6Addr};

use tokio::net::{UdpSocket, UnixDatagram};

use super::*;
use crate::net::{
    listen::{Listen, Listener, Pool},
    resolve::Resolver,
};

async fn listen(bind: &str) -> std::sync::Arc<Listener> {
    let listen = Listen { path: "listen".into(), bind: bind.parse().unwrap() };
    Pool::default().open(&listen, &Resolver::default()).await.unwrap().remove(0)
}

/// A Unix listener in a folder, at work, and a socket without a name.
async fn unix(folder: &tempfile::TempDir) -> (std::sync::Arc<Listener>, Served, UnixDatagram) {
    let listener = listen(&format!("unixgram://{}", folder.path().join("s").display())).await;
    let served = Port::of(listener.socket()).unwrap().register().unwrap();
    (listener, served, UnixDatagram::unbound().unwrap())
}

/// The next datagrams: length, sender, address of ours, whether cut, and how many were newly dropped.
async fn receive(served: &Served) -> Vec<(usize, Peer, Option<Local>, bool, u32)> {
    let mut all = vec![];
    while all.is_empty() {
        let take = |arrivals: &Arrivals<'_>| {
            all.extend(arrivals.iter().map(|arrived| {
                let dropped = served.newly_dropped(&arrived);
                (arrived.bytes.len(), arrived.from, arrived.to, arrived.is_cut, dropped)
            }));
        };
        served.receive(take).await.unwrap();
    }
    all
}

/// Answers one datagram that was sent to `to` on a listener bound to `bind`, and tells where the answer came from.
async fn answer_from(bind: &str, to: &str, local: &str) -> SocketAddr {
    let listener = listen(bind).await;
    let served = Port::of(listener.socket()).unwrap().register().unwrap();
    let client = UdpSocket::bind(local).await.unwrap();
    let to = SocketAddr::new(to.parse().unwrap(), listener.local().unwrap().port());
    client.send_to(b"x", to).await.unwrap();
    let (_, from, local, ..) = receive(&served).await[0];
    assert_eq!(from, Peer::Ip(client.local_addr().unwrap()));
    let address = served.address(&from).unwrap();
    assert_eq!(served.send([(&b"y"[..], &address, local)].into_iter()).unwrap(), 1);
    client.recv_from(&mut [0; 16]).await.unwrap().1
}

/// Case 48 of the forward's list.
#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    let v4 = answer_from("udp://0.0.0.0:0", "127.0.0.3", "127.0.0.1:0").await;
    assert_eq!(v4.ip(), "127.0.0.3".parse::<IpAddr>().unwrap());
    let mapped = answer_from("udp://[::]:0", "127.0.0.3", "127.0.0.1:0").await;
    assert_eq!(mapped.ip(), "127.0.0.3".parse::<IpAddr>().unwrap());
    let v6 = answer_from("udp://[::]:0", "::1", "[::1]:0").await;
    assert_eq!(v6.ip(), Ipv6Addr::LOCALHOST);
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted() {
    let listener = listen("udp://127.0.0.1:0").await;
    let Socket::Udp(udp) = listener.socket() else { panic!("it is UDP") };
    socket2::SockRef::from(udp).set_recv_buffer_size(1).unwrap();
    let served = Port::of(listener.socket()).unwrap().register().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(listener.local().unwrap()).await.unwrap();
    let (mut taken, mut dropped) = (0, 0);
    for _ in 0..100 {
        client.send(&[0; 200]).await.unwrap();
    }
    for _ in 0..2 {
        for (.., newly) in receive(&served).await {
            taken += 1;
            dropped += newly;
        }
        // What comes after a loss tells of it.
        client.send(b"after").await.unwrap();
    }
    assert_eq!(taken + dropped, 101, "{taken} taken");
    assert!(dropped > 0);
}

#[tokio::test]
async fn a_unix_datagram_that_is_too_large_is_known_and_a_sender_without_a_name_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = listen(&format!("unixgram://{}", path.display())).await;
    let served = Port::of(listener.socket()).unwrap().register().unwrap();
    let nameless = UnixDatagram::unbound().unwrap();
    socket2::SockRef::from(&nameless).set_send_buffer_size(1 << 20).unwrap();
    for size in [LARGEST, LARGEST + 1, LARGEST + 100, 0] {
        nameless.send_to(&vec![0; size], &path).await.unwrap();
        let (length, from, _, is_cut, _) = receive(&served).await[0];
        assert_eq!(is_cut, size > LARGEST, "{size}");
        assert!(is_cut || length == size);
        assert!(served.address(&from).is_err(), "nobody can answer it");
    }
    // An abstract name of one byte is a name.
    let named = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).unwrap();
    let name = SockAddr::unix(OsStr::from_bytes(b"\0~")).unwrap();
    named.bind(&name).unwrap();
    named.send_to(b"x", &SockAddr::unix(&path).unwrap()).unwrap();
    let from = receive(&served).await[0].1;
    let address = served.address(&from).unwrap();
    assert_eq!(served.send([(&b"y"[..], &address, None)].into_iter()).unwrap(), 1);
    assert_eq!(named.recv(&mut [std::mem::MaybeUninit::uninit(); 8]).unwrap(), 1);
}

#[tokio::test]
async fn a_sender_without_a_name_is_not_taken_for_the_one_before() {
    let udp = listen("udp://127.0.0.1:0").await;
    let served = Port::of(udp.socket()).unwrap().register().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"x", udp.local().unwrap()).await.unwrap();
    assert_eq!(receive(&served).await[0].1, Peer::Ip(client.local_addr().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let (_listener, served, nameless) = unix(&folder).await;
    nameless.send_to(b"x", folder.path().join("s")).await.unwrap();
    let from = receive(&served).await[0].1;
    assert_eq!(from.to_string(), "unix");
}

/// Or any peer could take all of this process's descriptors.
#[tokio::test]
async fn descriptors_that_a_sender_hands_over_are_not_taken() {
    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
    let folder = tempfile::tempdir().unwrap();
    let (_listener, served, nameless) = unix(&folder).await;
    let (reader, writer) = std::io::pipe().unwrap();
    let handed = [std::os::fd::AsRawFd::as_raw_fd(&writer)];
    let to = UnixAddr::new(&folder.path().join("s")).unwrap();
    sendmsg(
        std::os::fd::AsRawFd::as_raw_fd(&nameless),
        &[io::IoSlice::new(b"x")],
        &[ControlMessage::ScmRights(&handed)],
        MsgFlags::empty(),
        Some(&to),
    )
    .unwrap();
    assert_eq!(receive(&served).await[0].0, 1);
    drop(writer);
    // Nobody else can write to it any more: it is at its end.
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    assert_eq!(nix::unistd::read(&reader, &mut [0; 1]), Ok(0));
}
