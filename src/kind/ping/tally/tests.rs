//! What echoes add up to.

use super::*;
use crate::{meter::Registry, net::icmp::Failure};

fn tally(events: &[(u32, What)]) -> Samples {
    let meters = Registry::new(100).job(&"a".into(), "ping", []);
    let mut tally = Tally::new("h".into(), "ipv4", 4, &meters);
    tally.sent(4);
    for (index, what) in events {
        tally.take(Event { index: *index, what: *what });
        assert!(tally.sent >= tally.received + tally.lost);
    }
    assert!(tally.is_complete());
    tally.samples(false)
}

fn answered(ms: u64) -> What {
    What::Answered { rtt: Duration::from_millis(ms), ttl: Some(64), is_stamped: true }
}

const LOST: What = What::Lost(Failure { reason: Reason::Timeout, offender: None, local: false });

#[track_caller]
fn check(samples: &Samples, name: &str, value: u64) {
    assert_eq!(samples.find(name), Some(&Sample::Count(value)), "{name}");
}

#[test]
fn cases_10_to_12_late_doubled_and_reordered_answers_are_told_apart() {
    let events = [
        (0, answered(10)),
        (2, answered(30)),
        (0, What::Extra),
        (1, answered(20)),
        (3, LOST),
        (3, What::Extra),
    ];
    let samples = tally(&events);
    for (name, value) in [
        ("sent", 4),
        ("received", 3),
        ("lost", 1),
        ("duplicates", 1),
        ("late", 1),
        ("reordered", 1),
        ("ttl", 64),
    ] {
        check(&samples, name, value);
    }
    assert_eq!(samples.find("loss"), Some(&Sample::Number(0.25)));
    let Some(Sample::Number(jitter)) = samples.find("jitter") else { panic!("no jitter") };
    assert!((jitter - 0.015).abs() < 1e-9);
}

#[test]
fn case_14_a_round_trip_without_stamps_is_named() {
    let user = || What::Answered { rtt: Duration::from_millis(1), ttl: None, is_stamped: false };
    let source = |answers: &[What]| {
        let mut tally = Tally::unmetered("h".into(), "ipv4");
        tally.count = 2;
        for (index, what) in (0..).zip(answers) {
            tally.take(Event { index, what: *what });
        }
        tally.rtt_source()
    };
    assert_eq!(source(&[answered(1), answered(2)]), Some(RttSource::Kernel));
    assert_eq!(source(&[user(), answered(2)]), Some(RttSource::Mixed));
    assert_eq!(source(&[user(), LOST]), Some(RttSource::User));
    assert_eq!(source(&[LOST]), None);
}

#[test]
fn what_is_on_its_way_is_neither_lost_nor_found() {
    let meters = Registry::new(100).job(&"a".into(), "ping", []);
    let mut tally = Tally::new("h".into(), "ipv4", 4, &meters);
    tally.sent(3);
    assert_eq!(tally.samples(false).find("loss"), None);
    tally.take(Event { index: 0, what: answered(1) });
    tally.take(Event { index: 1, what: LOST });
    assert_eq!(tally.samples(false).find("loss"), Some(&Sample::Number(0.5)));
}

#[test]
fn what_is_kept_grows_with_what_was_asked_and_not_with_what_may_be() {
    let meters = Registry::new(100).job(&"a".into(), "ping", []);
    let mut tally = Tally::new("h".into(), "ipv4", u32::MAX, &meters);
    tally.sent(3);
    tally.take(Event { index: 2, what: answered(1) });
    assert_eq!((tally.ends.capacity() < 100, tally.received), (true, 1));
    tally.take(Event { index: u32::MAX, what: answered(1) });
    assert_eq!(tally.received, 1);
    assert!(!tally.is_complete());
}

#[test]
fn without_an_answer_there_is_no_round_trip() {
    let samples = tally(&[(0, LOST), (1, LOST), (2, LOST), (3, LOST)]);
    assert_eq!(samples.find("loss"), Some(&Sample::Number(1.0)));
    for name in ["rtt_min", "rtt_p95", "jitter", "ttl"] {
        assert_eq!(samples.find(name), None, "{name}");
    }
}
