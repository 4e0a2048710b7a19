//! Upstreams of forwards: circles, names, flapping servers, families and devices, and what this machine may lack.

use std::{net::SocketAddr, sync::Arc};

use netjobs::{context::Shared, kind::forward::Forward, net::hops, outcome::Close};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream, UnixStream},
    time::timeout,
};

use super::{PATIENCE, Service, assert_reset, nobody, process, read_all, spec};

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
            let mut client = services[0].connect().await;
            assert_reset(&read_all(&mut client).await.1);
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
    let _ = timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap();
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
