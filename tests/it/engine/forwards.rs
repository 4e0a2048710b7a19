//! Forwards as jobs of the engine: their window, and what a reload changes for clients that come and that are there.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    time::Duration,
};

use netjobs::{
    event::Event,
    job::{Job, load::load_texts},
    outcome::Verdict,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::rig::*;
use crate::{check::environment, netns::Namespace};

const PATIENCE: Duration = Duration::from_secs(20);

fn free() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[track_caller]
fn web(keys: &str, forward: &str) -> Vec<Job> {
    let text = format!("jobs:\n  - {{ name: web{keys}, forward: {{ {forward} }} }}\n");
    let loaded = load_texts(&[("jobs.yaml", &text)], &environment());
    assert!(loaded.report.diagnostics.is_empty(), "{}", loaded.report.render(false));
    loaded.jobs
}

/// A forward with a window takes clients only inside it, and outside it anybody may have the port.
#[test]
fn outside_its_window_a_forward_holds_no_port() {
    // In a network of its own: outside the window any other test might have the port.
    Namespace::new().block_on(|| async {
        tokio::time::pause();
        holds_its_port_only_inside_its_window("127.0.0.1:8800".parse().unwrap()).await;
    });
}

async fn holds_its_port_only_inside_its_window(at: SocketAddr) {
    let take = || StdListener::bind(at);
    let server = StdListener::bind("127.0.0.1:0").unwrap();
    let mut rig = Rig::daemon(web(
        ", open: { cron: '10 * * * *', for: 10m }",
        &format!("listen: '{at}', to: '{}'", server.local_addr().unwrap()),
    ));
    rig.until(|event| matches!(event, Event::NextRun { at: Some(_), .. })).await;
    drop(take().expect("the port is free before"));
    for _ in 0..2 {
        rig.until_ready("web").await;
        assert!(StdStream::connect(at).is_ok());
        assert_eq!(take().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let run = rig.until_finished("web").await;
        // The connection may last until it is ended: after the silence that a drain waits for, or by the grace.
        assert!((600..=630).contains(&run.duration.as_secs()), "{run:?}");
        // The threads that carry connections know nothing of the paused clock: they may need a moment of real time.
        let is_free = (0..2000).any(|_| {
            std::thread::park_timeout(Duration::from_millis(5));
            take().is_ok()
        });
        assert!(is_free, "the port is free afterwards");
    }
    rig.stop_after(secs(0)).await;
}

/// Fault case 19: an address of which the machine is not sure yet is listened on as soon as it is.
#[test]
fn a_tentative_address_is_listened_on_once_it_is_there() {
    let namespace = Namespace::new();
    namespace.sh("ip link add va type veth peer name vb; ip link set vb up; ip link set va up
         sysctl -qw net.ipv6.conf.va.accept_dad=1 net.ipv6.conf.va.dad_transmits=2
         ip addr add fd00:9::9/64 dev va");
    namespace.block_on(|| async {
        let _server = TcpListener::bind("[::1]:7001").await.unwrap();
        let mut rig = Rig::daemon(web("", "listen: '[fd00:9::9]:7000', to: '[::1]:7001', allow: '::/0'"));
        let run = timeout(PATIENCE, rig.until_finished("web")).await.unwrap();
        assert_eq!(run.verdict, Verdict::Errored, "{run:?}");
        assert!(run.message.unwrap().starts_with("bind tcp://[fd00:9::9]:7000: "));
        timeout(PATIENCE, rig.until_ready("web")).await.unwrap();
        assert!(TcpStream::connect("[fd00:9::9]:7000").await.is_ok());
        rig.stop_after(secs(0)).await;
    });
}

/// Case 28 of the forward's list: a reload changes who is let in, and whoever is in stays.
#[tokio::test]
async fn a_reload_changes_who_is_let_in() {
    let (at, server) = (free(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let to = server.local_addr().unwrap();
    let jobs = |deny: &str| web("", &format!("listen: '{at}', to: '{to}', deny: {deny}"));
    let mut rig = Rig::daemon(jobs("10.0.0.0/8"));
    rig.until_ready("web").await;
    let mut early = TcpStream::connect(at).await.unwrap();
    let (mut far, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    assert_eq!(rig.reload(jobs("127.0.0.0/8")).await.changed, ["web".into()]);
    rig.until_ready("web").await;
    // The break may come as early as the connection itself.
    let read = match TcpStream::connect(at).await {
        Ok(mut late) => timeout(PATIENCE, late.read_u8()).await.unwrap(),
        Err(error) => Err(error),
    };
    assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    early.write_all(b"x").await.unwrap();
    assert_eq!(timeout(PATIENCE, far.read_u8()).await.unwrap().unwrap(), b'x');
    drop((early, far));
    rig.stop_after(secs(0)).await;
}
