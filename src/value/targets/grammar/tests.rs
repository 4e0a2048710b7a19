//! What the grammar takes, how it prints, and where it finds mistakes.

use proptest::prelude::*;

use super::*;
use crate::value::targets::{AddressSet, Targets};

#[track_caller]
fn check(text: &str, count: u128, first: &str, last: &str) {
    let target = text.parse::<Targets>().unwrap().target;
    let set = AddressSet::new(target.addresses(true).unwrap());
    assert_eq!(set.count(), count);
    assert_eq!(set.get(0).unwrap().to_string(), first);
    assert_eq!(set.get(count - 1).unwrap().to_string(), last);
    assert_eq!(parse(&target.to_string()).unwrap(), target);
}

#[track_caller]
fn check_wrong(text: &str, offset: usize, message: &str) {
    let wrong = text.parse::<Targets>().unwrap_err();
    assert!(wrong.message.contains(message), "{wrong}");
    assert_eq!(wrong.offset.unwrap_or(0), offset, "{wrong}");
}

#[test]
fn case_51_a_short_range_counts_from_its_last_octet() {
    check("10.0.2.2-4", 3, "10.0.2.2", "10.0.2.4");
    let set = AddressSet::new(parse("10.0.2.2-4").unwrap().addresses(false).unwrap());
    let listed: Vec<_> = set.iter().map(|address| address.to_string()).collect();
    assert_eq!(listed, ["10.0.2.2", "10.0.2.3", "10.0.2.4"]);
}

#[test]
fn every_form_of_address_reads_and_prints() {
    check("10.0.2.2", 1, "10.0.2.2", "10.0.2.2");
    check("[10.0.2.2]", 1, "10.0.2.2", "10.0.2.2");
    check("10.0.2.2-10.0.2.2", 1, "10.0.2.2", "10.0.2.2");
    check("10.0.2.2-10.0.3.9", 264, "10.0.2.2", "10.0.3.9");
    check("10.0.1-3.2-4", 9, "10.0.1.2", "10.0.3.4");
    check("10.0.2.*", 256, "10.0.2.0", "10.0.2.255");
    check("10.*.2-3.*", 131_072, "10.0.2.0", "10.255.3.255");
    check("*.*.*.*", 1 << 32, "0.0.0.0", "255.255.255.255");
    check("10.0.2.0/24", 256, "10.0.2.0", "10.0.2.255");
    check("0.0.0.0/0", 1 << 32, "0.0.0.0", "255.255.255.255");
    check("10.0.2.7/32", 1, "10.0.2.7", "10.0.2.7");
    check("2001:db8::10-2f", 32, "2001:db8::10", "2001:db8::2f");
    check("2001:db8::fffe-2001:db8::1:1", 4, "2001:db8::fffe", "2001:db8::1:1");
    check("2001:db8::/120", 256, "2001:db8::", "2001:db8::ff");
    check("::1", 1, "::1", "::1");
    check("[::1]", 1, "::1", "::1");
}

#[test]
fn what_is_known_only_later_reads_and_prints() {
    for text in ["db.example.com", "fe80::1%eth0", "@hosts.txt", "@/etc/my hosts", "iface:eth0", "my-host"] {
        let target = parse(text).unwrap();
        assert_eq!(target.addresses(true), None);
        assert_eq!(target.to_string(), text);
    }
}

#[test]
fn case_51_and_62_a_mistake_is_named_with_its_byte() {
    check_wrong("10.0.2.4-2", 9, "reversed");
    check_wrong("10.0.2.2-1", 9, "reversed");
    check_wrong("10.0.3.1-10.0.2.9", 9, "reversed");
    check_wrong("2001:db8::2f-10", 13, "reversed");
    check_wrong("256.1.1.1", 0, "more than 255");
    check_wrong("10.0.2.256", 7, "more than 255");
    check_wrong("10.0.2.2-10.0.2.300", 16, "more than 255");
    check_wrong("010.0.0.1", 0, "octal");
    check_wrong("10.0.010.1", 5, "octal");
    check_wrong("10.0.2.0/33", 9, "prefix length");
    check_wrong("2001:db8::/129", 11, "prefix length");
    check_wrong("10.0.2.0/", 9, "prefix length");
    check_wrong("10.0.2.0/024", 9, "prefix length");
    check_wrong("::/64", 3, "too many");
    check_wrong("2001:db8::-2001:db8:1::", 11, "too many");
    check_wrong("10.0.2.2-4-6", 10, "two dashes");
    check_wrong("10.0.2", 6, "four numbers");
    check_wrong("10.0.2.2.4", 8, "four numbers");
    check_wrong("10.0..2", 5, "missing");
    check_wrong("10.0.2.2-", 9, "missing");
    check_wrong("10.0.2.2 -4", 8, "blank");
    check_wrong(" ", 0, "blank");
    check_wrong("", 0, "empty");
    check_wrong("@", 1, "no file");
    check_wrong("iface:", 6, "interface");
    check_wrong("2001:db8::1%eth0", 11, "zone");
    check_wrong("2001:db8::1-zz", 12, "last group");
    check_wrong("2001:db8:::1", 0, "not an IPv6 address");
    check_wrong("1-200.1-200.1-200.1", 0, "pieces");
    check_wrong("no/where", 0, "not a number");
}

#[test]
fn the_edges_of_a_network_are_left_out_unless_asked_for() {
    let count = |text: &str, edges| AddressSet::new(parse(text).unwrap().addresses(edges).unwrap()).count();
    assert_eq!((count("10.0.2.0/24", false), count("10.0.2.0/24", true)), (254, 256));
    assert_eq!((count("10.0.2.0/30", false), count("10.0.2.0/30", true)), (2, 4));
    assert_eq!((count("10.0.2.0/31", false), count("10.0.2.7/32", false)), (2, 1));
    assert_eq!(count("2001:db8::/126", false), 4);
}

#[test]
fn host_bits_beyond_the_prefix_are_noticed() {
    assert_eq!(parse("10.0.2.7/24").unwrap().suggestion().as_deref(), Some("10.0.2.0/24"));
    assert_eq!(parse("2001:db8::7/124").unwrap().suggestion().as_deref(), Some("2001:db8::/124"));
    assert_eq!(parse("10.0.2.0/24").unwrap().suggestion(), None);
}

fn octets() -> impl Strategy<Value = [(u8, u8); 4]> {
    let near = (any::<u8>(), 0u8..4).prop_map(|(first, more)| (first, first.saturating_add(more)));
    let octet = prop_oneof![4 => near, 1 => Just((0, 255))];
    [Just((10, 10)).boxed(), octet.clone().boxed(), octet.clone().boxed(), octet.boxed()]
}

proptest! {
    #[test]
    fn case_50_expansion_agrees_with_brute_force(octets in octets()) {
        let mut all = vec![];
        for b in octets[1].0..=octets[1].1 {
            for c in octets[2].0..=octets[2].1 {
                for d in [octets[3].0, octets[3].1] {
                    all.push(IpAddr::from([10, b, c, d]));
                }
            }
        }
        let set = AddressSet::new(intervals(octets));
        let width = |(first, last): (u8, u8)| u128::from(last - first) + 1;
        prop_assert_eq!(set.count(), octets.iter().map(|octet| width(*octet)).product::<u128>());
        prop_assert!(all.iter().all(|address| set.contains(*address)));
    }

    #[test]
    fn case_50_what_is_printed_reads_back(octets in octets(), low: u128, more: u32, prefix in 96u8..=128, v4: u32, short in 0u8..=32) {
        let high = low.saturating_add(more.into());
        let targets = [
            Target::Octets(octets),
            Target::Range(IpAddr::V6(low.into()), IpAddr::V6(high.into())),
            Target::Network(IpAddr::V6(low.into()), prefix),
            Target::Network(IpAddr::V4(v4.into()), short),
        ];
        for target in targets {
            prop_assert_eq!(parse(&target.to_string()).unwrap(), target);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}", dense in "[0-9.:/*%@a-f-]{0,24}") {
        for text in [text, dense] {
            if let Ok(target) = parse(&text) {
                prop_assert_eq!(parse(&target.to_string()).unwrap(), target);
            }
        }
    }
}
