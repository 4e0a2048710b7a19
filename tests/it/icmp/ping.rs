//! One host: counts, times, reasons, rights.

use netjobs::{kind::ping::Ping, outcome::Reason};

use super::{count, number, pair, run};

#[test]
fn case_15_loopback_answers_in_both_families_after_some_time() {
    let (ours, _peer) = pair();
    for host in ["127.0.0.1", "::1", "10.9.0.2", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 3, interval: 10ms }}"));
        assert_eq!((count(&outcome, "sent"), count(&outcome, "received")), (3, 3), "{host} {outcome:?}");
        assert_eq!(count(&outcome, "ttl"), 64, "{host}");
        // The first packet over a link waits until the peer's hardware address is known.
        assert!(number(&outcome, "rtt_min") > 0.0 && number(&outcome, "rtt_max") < 2.0, "{outcome:?}");
        assert_eq!(outcome.reason, None);
    }
}

#[test]
fn case_6_silence_takes_its_timeout_and_is_lost() {
    let (ours, peer) = pair();
    peer.sh("nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; }'; nft add rule inet t i icmp type echo-request drop");
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 2, interval: 10ms, timeout: 200ms }");
    assert_eq!((count(&outcome, "sent"), count(&outcome, "lost")), (2, 2));
    assert_eq!(outcome.reason, Some(Reason::Timeout));
}
