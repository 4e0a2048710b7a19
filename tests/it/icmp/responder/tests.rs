//! The responder is what its scripts say, before anything is judged by it.

use std::time::Duration;

use netjobs::kind::ping::Ping;

use super::{
    super::{check, count, number, run, try_run},
    Line, Link, Responder,
};
use crate::netns::Namespace;

#[test]
fn an_independent_ping_hears_what_the_script_says_in_both_families() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| match request.number % 3 {
        0 => vec![request.reply().hops(33)],
        1 => vec![request.reply().options(), request.reply().options().after(5)],
        _ => vec![],
    });
    for host in ["10.9.0.2", "10.200.0.7", "fd09::2", "2001:db8::7"] {
        let (_, text, _) = ours.try_sh(&format!("ping -c 3 -i 0.05 -W 0.2 {host}"));
        assert!(text.contains("3 packets transmitted, 2 received, +1 duplicates, 33"), "{text}");
        assert!(text.contains("ttl=33") && text.contains("ttl=64"), "{text}");
    }
}

#[test]
fn an_independent_ping_believes_its_errors() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        vec![if request.to.is_ipv4() {
            request.error("10.9.0.9", 3, 13, 8)
        } else {
            request.error("fd09::9", 1, 1, 8)
        }]
    });
    for (host, says) in [
        ("10.9.0.2", "From 10.9.0.9 icmp_seq=1 Packet filtered"),
        ("fd09::2", "From fd09::9 icmp_seq=1 Destination unreachable: Administratively prohibited"),
    ] {
        let (_, text, _) = ours.try_sh(&format!("ping -c 1 -W 0.3 {host}"));
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_line_without_faults_is_a_link_and_one_with_faults_repeats_them() {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    let link = Link::start(&ours, &peer, Line::default(), 1);
    for host in ["10.9.0.2", "10.99.3.4", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 20, interval: 1ms }}"));
        check(&outcome, &[("received", 20), ("lost", 0), ("duplicates", 0), ("reordered", 0)]);
    }
    drop(link);
    let lost = [7, 7, 8].map(|seed| {
        let (ours, peer) = (Namespace::new(), Namespace::new());
        let lossy = Line { loss: 0.3, delay: Duration::from_millis(5), ..Line::default() };
        let _link = Link::start(&ours, &peer, lossy, seed);
        let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 60, interval: 12ms, timeout: 1s }");
        assert!(number(&outcome, "rtt_min") >= 0.010);
        count(&outcome, "lost")
    });
    // Both ways: about half.
    assert!((15..45).contains(&lost[0]) && lost[0] == lost[1] && lost[0] != lost[2], "{lost:?}");
}

#[test]
fn a_line_corrupts_what_it_is_told_to_and_no_checksum_tells() {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    let line = Line { corruption: 1.0, duplicates: 1.0, jitter: Duration::from_millis(5), ..Line::default() };
    let _link = Link::start(&ours, &peer, line, 3);
    for host in ["10.9.0.2", "fd09::2"] {
        let (_, text, _) = ours.try_sh(&format!("ping -c 3 -i 0.05 -W 0.2 {host}"));
        assert!(
            text.contains("3 received") && text.contains("wrong data byte") && text.contains("(DUP!)"),
            "{text}"
        );
        let ran =
            try_run::<Ping>(&ours, &format!("{{ host: '{host}', count: 3, interval: 1ms, timeout: 100ms }}"));
        check(&ran.result.unwrap(), &[("received", 0), ("lost", 3)]);
    }
}
