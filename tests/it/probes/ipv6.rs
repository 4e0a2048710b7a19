//! IPv6 as this machine has it. Fault cases 17 to 19 of the list of faults: IPv6 switched off, `bindv6only`, a tentative
//! address.

use netjobs::{
    kind::ipv6::Ipv6,
    outcome::{Outcome, Reason, Sample, Verdict},
};

use super::{run, sample};
use crate::netns::Namespace;

fn look(namespace: &Namespace, yaml: &'static str) -> Outcome {
    namespace.block_on(|| run::<Ipv6>(yaml)).0
}

#[track_caller]
fn check(outcome: &Outcome, flags: &[(&str, bool)]) {
    for (name, value) in flags {
        assert_eq!(sample(outcome, name), &Sample::Flag(*value), "{name} in {outcome:?}");
    }
}

/// Fault case 17: IPv6 off.
#[test]
fn case_17_ipv6_that_is_switched_off_is_not_supported_though_any_still_binds() {
    let namespace = Namespace::new();
    let on = look(&namespace, "{}");
    check(&on, &[("supported", true), ("loopback", true), ("global", false), ("default_route", false)]);
    assert_eq!(on.reason, None);
    namespace.sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    assert!(namespace.run(|| std::net::TcpListener::bind("[::]:0").is_ok()), "`::` still binds");
    let off = look(&namespace, "{}");
    check(&off, &[("supported", false), ("loopback", false), ("default_route", false)]);
    assert_eq!(off.reason, Some(Reason::NoIpv6));
    assert_eq!(off.message.unwrap(), "`::1` is not there: `net.ipv6.conf.all.disable_ipv6` is 1");
    let reach = look(&namespace, "{ reach: '[::1]:9' }");
    assert_eq!((reach.verdict, reach.reason), (Verdict::Failed, Some(Reason::NoIpv6)));
}

/// Fault case 18: `bindv6only` 0 and 1.
#[test]
fn case_18_bindv6only_changes_nothing_of_what_is_supported() {
    let namespace = Namespace::new();
    for value in ["0", "1"] {
        namespace.sh(&format!("echo {value} > /proc/sys/net/ipv6/bindv6only"));
        check(&look(&namespace, "{}"), &[("supported", true), ("loopback", true)]);
    }
}

/// Fault case 19: a tentative address.
#[test]
fn case_19_a_tentative_address_is_not_yet_one() {
    let namespace = Namespace::new();
    // Without a carrier duplicate detection cannot end.
    namespace
        .sh("ip link add v0 type veth peer name v1; ip link set v0 up; ip addr add 2001:db8::1/64 dev v0");
    let outcome = look(&namespace, "{}");
    check(&outcome, &[("supported", true), ("global", false)]);
    assert_eq!(outcome.detail.value()["addresses"]["global"][0]["address"], "2001:db8::1");
}

#[test]
fn a_neighbour_is_reached_and_a_stranger_is_not() {
    let (here, there) = (Namespace::new(), Namespace::new());
    here.link(&["2001:db8::1/64"], &there, &["2001:db8::2/64"]);
    // A link that is up for a moment only may lose the first question, or its neighbour's answer.
    let mut looks = (0..5).map(|_| look(&here, "{ reach: 'icmp://2001:db8::2' }"));
    let reached = looks.find(|outcome| outcome.verdict == Verdict::Passed).expect("a neighbour is reached");
    check(&reached, &[("global", true), ("reached", true), ("default_route", false)]);
    assert_eq!(reached.verdict, Verdict::Passed);
    let stranger = look(&here, "{ reach: '[2001:db8:9::1]:9' }");
    check(&stranger, &[("reached", false)]);
    assert_eq!((stranger.verdict, stranger.reason), (Verdict::Failed, Some(Reason::NoRoute)));
    here.sh("ip -6 route add default via 2001:db8::2");
    check(&look(&here, "{}"), &[("default_route", true)]);
    here.sh("ip -6 route replace unreachable default; ip -6 route del default via 2001:db8::2 || true");
    check(&look(&here, "{}"), &[("default_route", false)]);
}
