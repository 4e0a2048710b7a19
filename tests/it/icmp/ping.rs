//! One host: counts, times, reasons.

use std::time::Duration;

use netjobs::{
    kind::ping::Ping,
    net::icmp::Probers,
    outcome::{Notice, Reason, Sample},
};

use super::{check, notices, number, pair, run, try_run};
use crate::netns::Namespace;

#[test]
fn cases_15_and_23_loopback_answers_in_both_families_after_some_time() {
    let (ours, _peer) = pair();
    for host in ["127.0.0.1", "::1", "10.9.0.1", "10.9.0.2", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 3, interval: 10ms }}"));
        check(&outcome, &[("sent", 3), ("received", 3), ("duplicates", 0), ("late", 0), ("ttl", 64)]);
        // The first packet over a link waits until the peer's hardware address is known.
        assert!(number(&outcome, "rtt_min") > 0.0 && number(&outcome, "rtt_max") < 2.0, "{outcome:?}");
        assert_eq!(outcome.reason, None);
    }
}

#[test]
fn a_link_local_host_answers_with_a_zone_a_source_or_neither() {
    let (ours, peer) = pair();
    peer.sh(&format!("ip addr add fe80::77/64 dev {} nodad", device(&peer, "10.9.0.2")));
    let link = device(&ours, "10.9.0.1");
    ours.sh(&format!("ip addr add fe80::88/64 dev {link} nodad"));
    // A link's first packets may be lost, and who asks for a hardware address asks again after a second.
    ours.sh(&format!("ping -q -c 1 -w 10 -i 0.2 fe80::77%{link}"));
    for keys in [
        format!("host: 'fe80::77%{link}'"),
        format!("host: 'fe80::77', source: {link}"),
        "host: 'fe80::77'".into(),
    ] {
        let yaml = format!("{{ {keys}, count: 2, interval: 10ms, timeout: 500ms }}");
        check(&run::<Ping>(&ours, &yaml), &[("sent", 2), ("received", 2), ("late", 0), ("duplicates", 0)]);
    }
}

/// The interface that has an address.
fn device(namespace: &Namespace, address: &str) -> String {
    namespace.sh(&format!("ip -o addr show to {address}")).split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn silence_takes_its_timeout_and_is_lost() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i icmp type echo-request drop");
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 2, interval: 10ms, timeout: 200ms }");
    check(&outcome, &[("sent", 2), ("received", 0), ("lost", 2)]);
    assert_eq!(outcome.reason, Some(Reason::Timeout));
}

/// Fault case 2: each third echo is lost.
#[test]
fn each_third_echo_lost_is_a_third() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i icmp type echo-request numgen inc mod 3 0 drop");
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 30, interval: 5ms, timeout: 300ms }");
    check(&outcome, &[("sent", 30), ("received", 20), ("lost", 10)]);
}

#[test]
fn case_28_each_local_route_that_leads_nowhere_has_its_reason() {
    let (ours, _peer) = pair();
    ours.sh(
        "ip route add unreachable 10.1.1.1; ip route add prohibit 10.1.1.2; ip route add blackhole 10.1.1.3",
    );
    let reasons = [
        ("10.1.1.1", Reason::HostUnreachable),
        ("10.1.1.2", Reason::AdminProhibited),
        ("10.1.1.3", Reason::NoRoute),
        ("10.1.1.4", Reason::NoRoute),
        ("10.9.0.255", Reason::AdminProhibited),
    ];
    for (host, reason) in reasons {
        let outcome = run::<Ping>(&ours, &format!("{{ host: {host}, count: 2, interval: 10ms }}"));
        // What was not sent is not lost.
        check(&outcome, &[("sent", 0), ("received", 0), ("lost", 0), ("unsent", 2)]);
        assert_eq!(outcome.reason, Some(reason), "{host}");
        assert_eq!(outcome.samples[0].find("loss"), None);
    }
}

#[test]
fn case_28_each_error_of_a_router_has_its_reason() {
    let (ours, peer) = pair();
    ours.sh("ip route add 10.2.0.0/16 via 10.9.0.2");
    peer.sh("ip route add unreachable 10.2.1.1; ip route add prohibit 10.2.1.2");
    let rejects = [
        ("10.2.1.1", Reason::HostUnreachable),
        ("10.2.1.2", Reason::AdminProhibited),
        ("10.2.1.4", Reason::NetUnreachable),
    ];
    for (host, reason) in rejects {
        let yaml = format!("{{ host: {host}, count: 2, interval: 10ms, timeout: 300ms }}");
        let ran = try_run::<Ping>(&ours, &yaml);
        let outcome = ran.result.unwrap();
        check(&outcome, &[("sent", 2), ("lost", 2)]);
        assert_eq!(outcome.reason, Some(reason), "{host}");
        let said = notices(&ran.recorder);
        assert!(matches!(&said[0], Notice::Answer { note, .. } if note == "says 10.9.0.2"), "{said:?}");
    }
}

#[test]
fn case_29_a_ttl_of_one_is_exceeded_at_the_router_that_says_so() {
    let (ours, peer) = pair();
    ours.sh("ip route add 10.3.0.0/16 via 10.9.0.2");
    peer.sh("ip link add vx type veth peer name vy; ip addr add 10.3.0.1/16 dev vx; ip link set vx up; ip link set vy up");
    let ran = try_run::<Ping>(&ours, "{ host: 10.3.0.9, count: 1, ttl: 1, timeout: 300ms }");
    assert_eq!(ran.result.unwrap().reason, Some(Reason::TtlExceeded));
    let said = notices(&ran.recorder);
    assert!(matches!(&said[0], Notice::Answer { note, .. } if note == "says 10.9.0.2"), "{said:?}");
}

#[test]
fn case_35_a_large_echo_is_split_unless_it_must_not_be() {
    let (ours, _peer) = pair();
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 1, size: 2000 }");
    check(&outcome, &[("received", 1)]);
    for host in ["10.9.0.2", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 1, size: 2000, df: true }}"));
        check(&outcome, &[("sent", 0), ("lost", 0)]);
        assert_eq!(outcome.reason, Some(Reason::TooBig));
    }
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 2, interval: 10ms, size: 65507 }");
    check(&outcome, &[("received", 2)]);
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 1, size: 16 }");
    check(&outcome, &[("received", 1)]);
}

#[test]
fn ttl_tos_and_source_reach_the_wire() {
    let (ours, peer) = pair();
    ours.sh("ip addr add 10.9.0.77/24 dev $(ip -o route get 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/')");
    peer.sh(
        "nft add rule inet t i ip saddr 10.9.0.77 ip ttl 33 ip dscp 46 icmp type echo-request counter accept",
    );
    peer.sh("nft add rule inet t i icmp type echo-request drop");
    let outcome = run::<Ping>(
        &ours,
        "{ host: 10.9.0.2, count: 2, interval: 10ms, timeout: 500ms, ttl: 33, tos: 184, source: 10.9.0.77 }",
    );
    check(&outcome, &[("received", 2)]);
    peer.sh("nft add rule inet t i icmpv6 type echo-request ip6 hoplimit 33 counter accept");
    peer.sh("nft add rule inet t i icmpv6 type echo-request drop");
    let outcome = run::<Ping>(
        &ours,
        "{ host: 'fd09::2', count: 2, interval: 10ms, timeout: 2s, ttl: 33, source: 'fd09::1' }",
    );
    check(&outcome, &[("received", 2)]);
    let device = ours.sh("ip -o route get 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/'");
    peer.sh("nft flush chain inet t i");
    let yaml = format!("{{ host: 10.9.0.2, count: 1, source: {} }}", device.trim());
    check(&run::<Ping>(&ours, &yaml), &[("received", 1)]);
    let ran = try_run::<Ping>(&ours, "{ host: 10.9.0.2, count: 1, source: nosuch0 }");
    assert_eq!(ran.result.unwrap_err().reason(), Reason::NoInterface);
}

#[test]
fn a_source_that_is_no_address_of_this_machine_is_told_as_that() {
    let (ours, _peer) = pair();
    for (host, source) in [("10.9.0.2", "10.9.0.77"), ("fd09::2", "fd09::77"), ("fd09::2", "fe80::77%lo")] {
        let yaml = format!("{{ host: '{host}', count: 1, source: '{source}' }}");
        let error = try_run::<Ping>(&ours, &yaml).result.unwrap_err();
        let address = source.trim_end_matches("%lo");
        assert_eq!(error.to_string(), format!("`{address}` is no address of this machine"));
        assert!(error.hint().unwrap().contains("ip address"), "{error}");
    }
}

#[test]
fn a_name_of_both_families_is_asked_in_that_of_the_source() {
    let (ours, _peer) = pair();
    let yaml = "{ host: localhost, count: 1, source: 127.0.0.1 }";
    check(&run::<Ping>(&ours, yaml), &[("received", 1)]);
    let ran = try_run::<Ping>(&ours, yaml);
    let said = notices(&ran.recorder);
    assert!(matches!(&said[0], Notice::Answer { from, .. } if from == "127.0.0.1"), "{said:?}");
}

#[test]
fn both_families_are_one_outcome_with_two_sets_of_samples() {
    let (ours, _peer) = pair();
    let outcome = run::<Ping>(&ours, "{ host: localhost, count: 2, interval: 10ms, family: both }");
    let families: Vec<_> = outcome.samples.iter().map(|samples| samples.family).collect();
    assert_eq!(families, [Some("ipv4"), Some("ipv6")]);
    assert_eq!(outcome.samples[0].find("received"), Some(&Sample::Count(2)));
    // Whether `localhost` has an IPv6 address is this machine's affair; a family without one is told as such.
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    let named = hosts.lines().any(|line| line.starts_with("::1") && line.contains("localhost"));
    let (received, reason) = if named { (2, None) } else { (0, Some(Reason::Dns)) };
    assert_eq!(outcome.samples[1].find("received"), Some(&Sample::Count(received)));
    assert_eq!(outcome.reason, reason);
}

#[test]
fn one_probe_answers_or_says_why_not() {
    let (ours, _peer) = pair();
    let (alive, dead) = ours.block_on(|| async {
        let probers = Probers::default();
        let probe = async |host: [u8; 4], timeout| {
            let peer = std::net::IpAddr::from(host).into();
            probers.probe_once(peer, Duration::from_millis(timeout)).await.unwrap()
        };
        (probe([10, 9, 0, 2], 2000).await, probe([10, 98, 0, 1], 200).await)
    });
    assert!(alive.unwrap() > Duration::ZERO);
    assert_eq!(dead.unwrap_err().reason, Reason::Timeout);
}

#[test]
fn it_agrees_with_iputils_and_surge_ping_on_an_honest_network() {
    let (ours, _peer) = pair();
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 20, interval: 10ms }");
    check(&outcome, &[("sent", 20), ("received", 20), ("lost", 0)]);
    let text = ours.sh("ping -q -c 20 -i 0.01 10.9.0.2");
    assert!(text.contains("20 packets transmitted, 20 received, 0% packet loss"), "{text}");
    let theirs: f64 = text.split("= ").nth(1).unwrap().split('/').nth(1).unwrap().parse().unwrap();
    let median = number(&outcome, "rtt_p50");
    assert!(median < theirs / 1000.0 * 5.0 + 0.002, "ours {median} s, iputils' mean {theirs} ms");
    let surge = ours.block_on(|| async {
        let (_, rtt) = surge_ping::ping("10.9.0.2".parse().unwrap(), &[7; 56]).await.unwrap();
        rtt
    });
    assert!(median < surge.as_secs_f64() * 5.0 + 0.002, "ours {median} s, surge-ping's {surge:?}");
}
