//! What a sweep is forecast to send, and how long it may take.

use std::path::Path;

use super::*;

fn foretold(yaml: &str, icmp: bool) -> Forecast {
    let sweep: Sweep = serde_yaml::from_str(yaml).unwrap();
    let around = Surroundings { interfaces: &[], base: Path::new("."), icmp, raw: icmp, neighbours: 1024 };
    forecast(&sweep, &around).unwrap()
}

#[test]
fn a_shard_foretells_its_own_part() {
    let all = foretold("{ targets: [10.0.0.0/22, '2001:db8::1-10', db, db2] }", true);
    let mut sums = (0, 0, 0, 0);
    for index in 1..=3 {
        let yaml = format!("{{ targets: [10.0.0.0/22, '2001:db8::1-10', db, db2], shard: {index}/3 }}");
        let part = foretold(&yaml, true);
        sums = (sums.0 + part.ipv4, sums.1 + part.ipv6, sums.2 + part.names, sums.3 + part.packets);
        assert!(part.longest < all.longest, "{part:?}");
    }
    assert_eq!(sums, (all.ipv4, all.ipv6, all.names, all.packets));
}

#[track_caller]
fn check_seconds(yaml: &str, shortest: f64, longest: f64) {
    let found = foretold(yaml, true);
    let near = |found: Duration, wanted: f64| (found.as_secs_f64() - wanted).abs() <= wanted * 0.01;
    let said = format!("{yaml}: {:?} to {:?}", found.shortest, found.longest);
    assert!(near(found.shortest, shortest) && near(found.longest, longest), "{said}");
}

#[test]
fn targets_and_packets_are_counted_and_names_are_one_each() {
    let found = foretold("{ targets: [10.0.0.0/24, 10.0.0.7, db, db, '2001:db8::1'], passes: 3 }", true);
    assert_eq!((found.ipv4, found.ipv6, found.names, found.packets), (254, 1, 1, 3 * 256));
    let found = foretold("{ targets: [10.0.0.0/24, db], exclude: [10.0.0.0/25, db] }", true);
    assert_eq!((found.ipv4, found.names), (127, 0));
}

#[test]
fn it_takes_what_rate_caps_and_timeouts_make_of_it() {
    // A /24 has its own cap of 200 a second.
    check_seconds("{ targets: 10.0.0.0/24, passes: 2 }", 254.0 / 200.0, 2.0 * (254.0 / 200.0 + 1.0));
    check_seconds("{ targets: 10.0.0.0/16, passes: 2 }", 65.5, 2.0 * 66.5);
    check_seconds("{ targets: '10.0-3.*.1', passes: 1, timeout: 500ms }", 1.024, 1.524);
    check_seconds("{ targets: 10.0.0.0/16, passes: 1, timeout: 60s }", 65.5, 65_534.0 / 8192.0 * 60.0 + 60.0);
    check_seconds("{ targets: [10.0.0.1-100, '2001:db8::1-64'], passes: 1, rate: 100/s }", 4.0, 5.0);
}

#[test]
fn the_fullest_network_is_found_within_and_across_ranges() {
    let densest = |yaml: &str| {
        let sweep: Sweep = serde_yaml::from_str(&format!("{{ targets: {yaml} }}")).unwrap();
        densest(&fixed(&sweep.targets, true).0)
    };
    assert_eq!(densest("[10.0.0.1-4, 10.0.0.9, 10.0.1.7]"), 5);
    assert_eq!(densest("10.0.0.200-10.0.1.99"), 100);
    assert_eq!(densest("10.0.0.250-10.0.2.5"), 256);
    assert_eq!(densest("['2001:db8::10-1f', '2001:db8:0:1::1']"), 16);
}

#[test]
fn without_the_right_the_method_is_tcp_with_its_descriptors() {
    let yaml = "{ targets: 10.0.0.0/24 }";
    assert_eq!((foretold(yaml, true).method.as_str(), foretold(yaml, true).open_files), ("icmp", None));
    let found = foretold(yaml, false);
    assert!(found.method == "tcp/443" && found.open_files.is_some_and(|most| most > 0), "{found:?}");
}

#[track_caller]
fn check_note(yaml: &str, wanted: &[&str]) {
    let notes = foretold(yaml, true).notes;
    let fits = notes.iter().zip(wanted).all(|((message, _), wanted)| message.contains(wanted));
    assert!(notes.len() == wanted.len() && fits, "{notes:?}");
}

#[test]
fn what_may_harm_others_is_said() {
    check_note("{ targets: 192.168.0.0/24 }", &[]);
    check_note("{ targets: 10.0.0.0/15, rate: max }", &["131070 targets at `rate: max`"]);
    check_note("{ targets: [10.0.0.1, 8.8.8.8, 1.1.1.1] }", &["2 of the targets are public"]);
    check_note("{ targets: 255.255.255.255 }", &["1 of the", "255.255.255.255 is a broadcast address"]);
    check_note("{ targets: 10.0.0.1, exclude: 10.0.0.1 }", &["no target is left"]);
    check_note("{ targets: [127.0.0.1, 10.0.0.1], method: arp }", &["not all targets are on this"]);
    check_note("{ targets: 127.0.0.1, method: arp }", &[]);
}
