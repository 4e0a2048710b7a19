//! What holds of the pool of listeners.

use super::*;
use crate::net::stream::{Accepted, Peer};

async fn open(pool: &Pool, bind: &str) -> Result<Vec<Arc<Listener>>, Error> {
    let listen = Listen { path: "listen".into(), bind: bind.parse().unwrap() };
    pool.open(&listen, &Resolver::default()).await
}

#[tokio::test]
async fn an_address_is_opened_once_and_freed_with_its_last_holder() {
    let pool = Pool::default();
    let first = open(&pool, "127.0.0.1:0").await.unwrap().remove(0);
    let again = open(&pool, &first.address).await.unwrap().remove(0);
    assert!(Arc::ptr_eq(&first.held, &again.held));
    let taken = Pool::default();
    assert_eq!(
        open(&taken, &first.address).await.unwrap_err().reason(),
        crate::outcome::Reason::AddressInUse
    );
    let address = first.address.clone();
    drop((first, again));
    assert!(open(&taken, &address).await.is_ok());
}

#[tokio::test]
async fn port_0_is_a_new_port_each_time() {
    let pool = Pool::default();
    let (a, b) = (open(&pool, "0").await.unwrap(), open(&pool, "0").await.unwrap());
    assert_ne!(a[0].address, b[0].address);
}

#[tokio::test]
async fn a_sender_is_known_as_a_listener_of_ours() {
    let pool = Pool::default();
    for (bind, is_here, is_not) in [
        ("udp://127.0.0.1:0", "127.0.0.1", "127.0.0.2"),
        ("udp://0.0.0.0:0", "127.0.0.2", "192.0.2.1"),
        ("udp://[::]:0", "127.0.0.2", "2001:db8::1"),
        ("udp://[::ffff:127.0.0.1]:0", "127.0.0.1", "::1"),
    ] {
        let listener = open(&pool, bind).await.unwrap().remove(0);
        let port = listener.local().unwrap().port();
        let asked = |ip: &str| pool.is_udp(SocketAddr::new(ip.parse().unwrap(), port));
        assert!(asked(is_here) && !asked(is_not), "{bind}");
        drop(listener);
        assert!(!asked(is_here), "{bind} is closed");
    }
}

#[tokio::test]
async fn both_wildcards_go_together_v4_first() {
    let pool = Pool::default();
    let v4 = open(&pool, "0.0.0.0:0").await.unwrap().remove(0);
    let port = v4.local().unwrap().port();
    let v6 = open(&pool, &format!("[::]:{port}")).await.unwrap();
    assert_eq!(v6.len(), 1);
    drop((v4, v6));
    let v6 = open(&pool, "[::]:0").await.unwrap().remove(0);
    let port = v6.local().unwrap().port();
    let error = open(&pool, &format!("0.0.0.0:{port}")).await.unwrap_err();
    assert!(error.to_string().contains("listens on IPv4 too"), "{error}");
}

#[tokio::test]
async fn accepted_connections_send_without_delay() {
    let listener = open(&Pool::default(), "127.0.0.1:0").await.unwrap().remove(0);
    let Socket::Tcp(tcp) = listener.socket() else { panic!("it is TCP") };
    let _client = std::net::TcpStream::connect(listener.local().unwrap()).unwrap();
    tcp.set_nonblocking(false).unwrap();
    assert!(tcp.accept().unwrap().0.nodelay().unwrap());
}

/// A client that was accepted, and its other end.
fn accepted(listener: &Listener) -> (Accepted, std::net::TcpStream) {
    let far = std::net::TcpStream::connect(listener.local().unwrap()).unwrap();
    far.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let Socket::Tcp(tcp) = listener.socket() else { panic!("it is of TCP") };
    let (near, peer) = loop {
        match socket2::SockRef::from(tcp).accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            done => break done.unwrap(),
        }
    };
    (Accepted::new(near, &peer), far)
}

/// The pool may keep a socket though no run accepts from it: of a service manager, or a low port without the right to open it.
#[tokio::test]
async fn a_client_is_handed_on_to_a_run_and_not_to_a_socket_that_is_only_kept() {
    let pool = Pool::default();
    let first = open(&pool, "127.0.0.1:0").await.unwrap().remove(0);
    pool.keep(std::slice::from_ref(&first));
    let (client, far) = accepted(&first);
    let client = first.hand_on(client).expect("nobody else is there");
    let second = open(&pool, &first.address).await.unwrap().remove(0);
    assert!(first.hand_on(client).is_none());
    assert_eq!(second.handed_on().await.peer, Peer::Ip(far.local_addr().unwrap()));
    // Whoever was to take it ends too: it is broken off, though the socket stays.
    let serving = second.serve();
    let (client, mut far) = accepted(&first);
    assert!(first.hand_on(client).is_none());
    drop(serving);
    let error = std::io::Read::read(&mut far, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let (client, _far) = accepted(&first);
    assert!(first.hand_on(client).is_some());
}
