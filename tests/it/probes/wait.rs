//! Waits in broken networks. Fault cases 6, 7, 13 and 15 of the list of faults, and connections that meet themselves.

use std::net::TcpListener as StdListener;

use netjobs::{
    kind::wait::Wait,
    outcome::{Outcome, Reason, Sample, Verdict},
};
use socket2::SockRef;
use tokio::{
    net::TcpListener,
    time::{Duration, Instant, sleep},
};

use super::{run, sample};
use crate::netns::Namespace;

/// A wait that must come to nothing within 50 ms of its timeout, with this cause. On a busy machine it may take three tries: what
/// others add to the time is not ours, and what it comes to is the same each time.
#[track_caller]
pub(super) fn check_timeout(
    namespace: &Namespace,
    yaml: &'static str,
    timeout: u64,
    last_reason: &'static str,
) -> Outcome {
    let timeout = Duration::from_millis(timeout);
    let mut times = vec![];
    for _ in 0..3 {
        let (outcome, took) = namespace.block_on(move || run::<Wait>(yaml));
        assert_eq!(
            (outcome.verdict, outcome.reason),
            (Verdict::Failed, Some(Reason::Timeout)),
            "{outcome:?}"
        );
        assert_eq!(sample(&outcome, "last_reason"), &Sample::Word(last_reason), "{outcome:?}");
        assert!(took >= timeout, "{yaml} took {took:?}");
        if took <= timeout + Duration::from_millis(50) {
            return outcome;
        }
        times.push(took);
    }
    panic!("{yaml} took {times:?}");
}

/// Fault case 6: a black hole for SYNs.
#[test]
fn case_6_a_black_hole_is_a_connect_timeout_at_the_deadline() {
    let namespace = Namespace::new();
    namespace.sh("nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; }'; nft add rule inet t i tcp dport 9 drop; nft add rule inet t i icmp type echo-request drop");
    check_timeout(&namespace, "{ for: '127.0.0.1:9', timeout: 1500ms }", 1500, "connect_timeout");
    check_timeout(&namespace, "{ for: 'http://127.0.0.1:9/', timeout: 300ms }", 300, "connect_timeout");
    check_timeout(&namespace, "{ for: 'icmp://127.0.0.1', timeout: 1500ms }", 1500, "timeout");
}

/// Fault case 7: a reset at connect.
#[test]
fn case_7_a_reset_at_connect_is_a_refusal_and_tried_again_soon() {
    let namespace = Namespace::new();
    namespace.sh("nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; }'; nft add rule inet t i tcp dport 9 reject with tcp reset");
    let outcome = check_timeout(&namespace, "{ for: '127.0.0.1:9', timeout: 1s }", 1000, "refused");
    let Sample::Count(attempts) = sample(&outcome, "attempts") else { panic!("{outcome:?}") };
    assert!((9..=11).contains(attempts), "{attempts}");
}

#[test]
fn what_has_no_route_has_that_reason() {
    let namespace = Namespace::new();
    check_timeout(&namespace, "{ for: '10.99.0.1:9', timeout: 300ms }", 300, "no_route");
}

/// A service on the only port that connections may come from: they can meet themselves.
#[test]
fn a_connection_that_meets_itself_is_nobodys_answer() {
    let namespace = Namespace::new();
    namespace.sh("echo 50000 50001 > /proc/sys/net/ipv4/ip_local_port_range");
    namespace.run(|| {
        let met = std::net::TcpStream::connect("127.0.0.1:50000").expect("a connection meets itself here");
        SockRef::from(&met).set_linger(Some(Duration::ZERO)).unwrap();
    });
    for port in [50_000, 50_001] {
        let yaml = format!("{{ for: '127.0.0.1:{port}', timeout: 300ms, interval: 10ms }}");
        let (outcome, _) = namespace.block_on(move || async move { run::<Wait>(&yaml).await });
        assert_eq!(outcome.verdict, Verdict::Failed, "{outcome:?}");
        // Nothing of ours keeps the port from the service that was waited for.
        namespace.run(move || StdListener::bind(("127.0.0.1", port)).unwrap());
    }
}

/// Fault case 15: the address goes away under a listener.
#[test]
fn case_15_until_down_notices_that_the_address_is_gone() {
    let namespace = Namespace::new();
    // As above: the shortest of three tries.
    let noticed = (0..3).map(|_| until_gone(&namespace)).min().unwrap();
    assert!(noticed < Duration::from_millis(300), "{noticed:?}");
}

/// How long after its address is gone a listener is taken for down.
fn until_gone(namespace: &Namespace) -> Duration {
    namespace.sh("ip addr add 10.7.0.1/32 dev lo");
    namespace.block_on(|| async {
        let listener = TcpListener::bind("10.7.0.1:0").await.unwrap();
        let yaml = format!("{{ for: '{}', until: down, timeout: 10s }}", listener.local_addr().unwrap());
        let removed = async {
            sleep(Duration::from_millis(300)).await;
            let mut ip = std::process::Command::new("ip");
            assert!(ip.args(["addr", "del", "10.7.0.1/32", "dev", "lo"]).status().unwrap().success());
            Instant::now()
        };
        let waiting = async { (run::<Wait>(&yaml).await.0, Instant::now()) };
        let (gone, (outcome, noticed)) = tokio::join!(removed, waiting);
        assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
        noticed.checked_duration_since(gone).expect("not before it is gone")
    })
}

/// Fault case 13: a link flaps.
#[test]
fn case_13_a_service_behind_a_link_that_comes_back_is_noticed_within_a_second_or_so() {
    let (here, there) = (Namespace::new(), Namespace::new());
    let (device, _) = here.link(&["10.8.0.1/24"], &there, &["10.8.0.2/24"]);
    let listener = there.run(|| StdListener::bind("10.8.0.2:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    here.sh(&format!("ip link set {device} down"));
    let (outcome, lag) = here.block_on(move || async move {
        let yaml = format!("{{ for: '10.8.0.2:{port}', timeout: 20s }}");
        let back = async {
            sleep(Duration::from_millis(700)).await;
            let up = std::process::Command::new("ip").args(["link", "set", &device, "up"]).status().unwrap();
            assert!(up.success());
            Instant::now()
        };
        let waiting = async { (run::<Wait>(&yaml).await.0, Instant::now()) };
        let (back, (outcome, noticed)) = tokio::join!(back, waiting);
        (outcome, noticed - back)
    });
    assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
    assert!(lag < Duration::from_millis(2500), "{lag:?}");
    drop(listener);
}

#[test]
fn another_hosts_refusal_over_udp_is_never_missed() {
    let (here, there) = (Namespace::new(), Namespace::new());
    here.link(&["10.6.0.1/24"], &there, &["10.6.0.2/24"]);
    // At the usual pace the other host would soon refuse no more, and its silence would look like an answer.
    let outcome = check_timeout(&here, "{ for: 'udp://10.6.0.2:9', timeout: 8s }", 8000, "port_unreachable");
    assert_eq!(outcome.detail.value()["endpoints"][0]["came"], false);
}
