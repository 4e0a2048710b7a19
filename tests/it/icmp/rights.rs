//! With which rights ICMP works, and what is said where it does not.

use std::{net::IpAddr, sync::Arc, time::Duration};

use caps::{CapSet, Capability};
use netjobs::{
    context::testing::{Recorder, context},
    kind::{Error, Kind, ping::Ping, sweep::Sweep},
    net::icmp::Probers,
    outcome::{Notice, Outcome, Reason},
};

use super::{check, notices, pair, run, spec};
use crate::netns::Namespace;

/// Runs a spec on a thread that has given these rights up.
pub(super) fn run_without<K: Kind + 'static>(
    namespace: &Namespace,
    rights: &[Capability],
    yaml: &str,
) -> (Result<Outcome, Error>, Arc<Recorder>) {
    let (spec, rights): (K, _) = (spec(yaml), rights.to_vec());
    let body = move || {
        for right in rights {
            caps::drop(None, CapSet::Effective, right).unwrap();
            caps::drop(None, CapSet::Permitted, right).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (cx, recorder) = context(vec![], Some(Duration::from_mins(1)));
            (spec.run(&cx).await, recorder)
        })
    };
    namespace.run(|| std::thread::spawn(body).join().unwrap())
}

pub(super) const RAW: &[Capability] = &[Capability::CAP_NET_RAW];

pub(super) fn allow_ping_sockets(namespace: &Namespace) {
    namespace.sh("echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range");
}

#[test]
fn case_44_with_every_right_the_socket_is_raw() {
    let (ours, _peer) = pair();
    assert!(ours.run(|| Probers::default().is_raw(false).unwrap()));
    assert!(ours.run(|| Probers::default().is_raw(true).unwrap()));
}

#[test]
fn a_right_that_is_only_permitted_is_raised_for_the_open_and_lowered_again() {
    let (ours, _peer) = pair();
    let (raw, raised) = ours.run(|| {
        let body = || {
            caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
            let raw = Probers::default().is_raw(false).unwrap();
            (raw, caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap())
        };
        std::thread::spawn(body).join().unwrap()
    });
    assert_eq!((raw, raised), (true, false));
}

#[test]
fn case_45_without_rights_the_ping_socket_serves_both_families() {
    let (ours, _peer) = pair();
    allow_ping_sockets(&ours);
    for host in ["127.0.0.1", "::1", "10.9.0.2", "fd09::2"] {
        let yaml = format!("{{ host: '{host}', count: 3, interval: 10ms }}");
        let outcome = run_without::<Ping>(&ours, RAW, &yaml).0.unwrap();
        check(&outcome, &[("sent", 3), ("received", 3), ("ttl", 64), ("duplicates", 0)]);
    }
}

#[test]
fn case_33_on_a_ping_socket_one_hosts_error_never_fails_another() {
    let (ours, peer) = pair();
    allow_ping_sockets(&ours);
    // Routes that lead nowhere tell one sender of five errors a second; filters tell all.
    peer.sh("nft add rule inet t i ip daddr 10.99.1.0/24 reject with icmp type host-unreachable");
    peer.sh("nft add rule inet t i ip daddr 10.99.2.0/24 reject with icmp type admin-prohibited");
    // In a scattered order, errors of the second and third network come while hosts of the first are asked.
    let yaml = "{ targets: ['10.99.0-2.1-80'], order: random, rate: max, passes: 1, method: icmp }";
    for rights in [RAW, &[]] {
        let outcome = run_without::<Sweep>(&ours, rights, yaml).0.unwrap();
        check(&outcome, &[("targets", 240), ("alive", 80), ("dead", 160), ("unreachable", 160)]);
    }
}

/// Fault case 48 of the list of faults: a right is missing; the exit code 77 is the command line's.
#[test]
fn case_46_with_neither_the_sentence_names_the_cure_and_auto_asks_by_tcp() {
    let (ours, _peer) = pair();
    let (result, _) = run_without::<Ping>(&ours, RAW, "{ host: 10.9.0.2, count: 1 }");
    let error = result.unwrap_err();
    assert_eq!(error.reason(), Reason::Permission);
    let hint = error.hint().unwrap();
    for word in ["setcap cap_net_raw+p", "net.ipv4.ping_group_range", "securityContext"] {
        assert!(hint.contains(word), "{hint}");
    }
    let (result, _) = run_without::<Sweep>(&ours, RAW, "{ targets: [10.9.0.2], method: icmp }");
    assert_eq!(result.unwrap_err().reason(), Reason::Permission);
    let (result, recorder) = run_without::<Sweep>(&ours, RAW, "{ targets: [10.9.0.2] }");
    let outcome = result.unwrap();
    check(&outcome, &[("alive", 1), ("dead", 0)]);
    assert_eq!(outcome.detail.value()["hosts"][0]["evidence"], "tcp_refused");
    assert!(notices(&recorder).iter().any(|notice| matches!(notice, Notice::Warning { .. })));
}

#[test]
fn case_47_without_cap_net_admin_a_smaller_buffer_does() {
    let (ours, _peer) = pair();
    let rights = [Capability::CAP_NET_ADMIN];
    let yaml = "{ targets: [10.99.0.0/22], rate: max, passes: 1, timeout: 2s }";
    let outcome = run_without::<Sweep>(&ours, &rights, yaml).0.unwrap();
    check(&outcome, &[("targets", 1022), ("alive", 1022), ("dead", 0)]);
}

#[test]
fn case_48_without_ipv6_the_reason_says_so_and_ipv4_goes_on() {
    let ours = Namespace::new();
    ours.sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    for host in ["::1", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 1, timeout: 300ms }}"));
        assert_eq!(outcome.reason, Some(Reason::NoIpv6), "{host}");
    }
    check(&run::<Ping>(&ours, "{ host: 127.0.0.1, count: 1 }"), &[("received", 1)]);
    let outcome = run::<Sweep>(&ours, "{ targets: [127.0.0.1, '::1'], timeout: 300ms }");
    check(&outcome, &[("alive", 1), ("dead", 1), ("unreachable", 1)]);
}

#[test]
fn a_prober_ends_with_its_last_holder_and_closes_its_socket() {
    let ours = Namespace::new();
    ours.block_on(|| async {
        let sockets = || std::fs::read_to_string("/proc/thread-self/net/raw").unwrap().lines().count() - 1;
        let probers = Probers::default();
        let peer = IpAddr::from([127, 0, 0, 1]).into();
        probers.probe_once(peer, Duration::from_secs(1)).await.unwrap().unwrap();
        assert_eq!(sockets(), 1);
        drop(probers);
        let closed = async {
            while sockets() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("the socket stays open");
    });
}
