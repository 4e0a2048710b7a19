//! Interfaces, field by field against iproute2, which asks the same kernel by itself. Fault cases 14 and 16 of the
//! list of faults: an interface that vanishes or is renamed, and 10,000 addresses.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use netjobs::{
    kind::interfaces::Interfaces,
    net::interface::{self, Address, Interface},
    outcome::{Reason, Sample, Verdict},
};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::time::Duration;

use super::{run, sample};
use crate::netns::Namespace;

/// What `ip -j` says of an interface, in our words.
fn by_ip(namespace: &Namespace) -> Vec<Value> {
    let links: Vec<Value> = serde_json::from_str(&namespace.sh("ip -j link")).unwrap();
    let addresses: Vec<Value> = serde_json::from_str(&namespace.sh("ip -j addr")).unwrap();
    assert_eq!(links.len(), addresses.len());
    let mut all: Vec<Value> = links
        .iter()
        .zip(&addresses)
        .map(|(link, addresses)| {
            let list = addresses["addr_info"].as_array().unwrap();
            json!({
                "name": link["ifname"], "index": link["ifindex"], "mac": link["address"], "mtu": link["mtu"],
                "flags": link["flags"], "oper_state": link["operstate"],
                "addresses": list.iter().filter(|a| !a.as_object().unwrap().is_empty()).map(address_by_ip).collect::<Vec<_>>(),
            })
        })
        .collect();
    all.sort_by_key(|interface| interface["index"].as_u64());
    all
}

fn address_by_ip(address: &Value) -> Value {
    let is = |flag: &str| address[flag] == json!(true);
    json!({
        "address": address["local"], "peer": address["address"], "prefix_length": address["prefixlen"],
        "scope": address["scope"], "broadcast": address["broadcast"],
        "tentative": is("tentative"), "deprecated": is("deprecated"),
    })
}

fn by_us(interface: &Interface) -> Value {
    json!({
        "name": interface.name, "index": interface.index, "mac": interface.mac, "mtu": interface.mtu,
        "flags": interface.flags, "oper_state": interface.oper_state,
        "addresses": interface.addresses.iter().map(address_by_us).collect::<Vec<_>>(),
    })
}

fn address_by_us(address: &Address) -> Value {
    json!({
        "address": address.address, "peer": address.peer, "prefix_length": address.prefix_length,
        "scope": address.scope, "broadcast": address.broadcast,
        "tentative": address.is_tentative(), "deprecated": address.is_deprecated(),
    })
}

#[track_caller]
fn check_same(namespace: &Namespace) -> Vec<Interface> {
    let ours = namespace.run(|| interface::read().unwrap());
    let told: Vec<Value> = ours.iter().map(by_us).collect();
    assert_eq!(told, by_ip(namespace));
    ours
}

#[test]
fn every_field_equals_what_ip_prints() {
    let namespace = Namespace::new();
    check_same(&namespace);
    namespace.sh(
        "ip link add v0 type veth peer name v1; ip link add v2 type veth peer name v3
         ip link set v0 up mtu 1400; ip link set v1 up; ip link set v2 up
         ip addr add 10.0.0.1/20 brd + dev v0; ip addr add 10.0.0.2/20 dev v0; ip addr add 10.0.1.0/31 dev v0
         ip addr add 10.1.0.1 peer 10.1.0.9/32 dev v0; ip addr add 169.254.3.4/16 scope link dev v0
         ip addr add 10.2.0.1/32 dev lo scope host; ip addr add 10.3.0.1/24 dev v0 label v0:1
         ip addr add 2001:db8:1:234::5/60 dev v0 nodad; ip addr add 2001:db8::1/128 dev lo
         ip addr add 2001:db8:2::7/112 dev v0 nodad preferred_lft 0; ip addr add fd00::1/48 dev v3
         ip link set v1 name renamed0 2>/dev/null || { ip link set v1 down; ip link set v1 name renamed0; ip link set renamed0 up; }
         ip link set v0 promisc on; ip link set v3 address 02:00:00:00:00:ff",
    );
    let ours = check_same(&namespace);
    let named = |name: &str| ours.iter().find(|interface| interface.name == name).unwrap();
    assert!(named("v2").has_flag("NO-CARRIER") && named("v2").has_flag("M-DOWN"), "{:?}", named("v2").flags);
    assert!(named("v0").has_flag("PROMISC"));
    assert!(named("v0").addresses.iter().any(Address::is_deprecated));
    assert_eq!(named("v0").speed, Some(10_000_000_000));
    assert_eq!(named("renamed0").mtu, 1500);
    let point = named("v0").addresses.iter().find(|address| address.peer.is_some()).unwrap();
    assert_eq!(point.network().to_string(), "10.1.0.9/32");
}

#[test]
fn the_programs_record_equals_what_ip_prints() {
    let namespace = Namespace::new();
    namespace.sh(
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip link add br0 type bridge
         ip addr add 10.0.1.0/31 dev v0; ip addr add 10.1.0.1 peer 10.1.0.9/32 dev v0
         ip addr add 2001:db8::1/127 dev v0 nodad; ip tuntap add tun0 mode tun; ip addr add 10.2.0.1/24 dev tun0",
    );
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_netjobs"));
    program.args(["interfaces", "--json"]);
    let printed = namespace.run(move || program.output().unwrap().stdout);
    let last = String::from_utf8(printed).unwrap().lines().last().unwrap().to_owned();
    let record: Value = serde_json::from_str(&last).unwrap();
    let mut told: Vec<Value> = record["detail"]["interfaces"].as_array().unwrap().clone();
    for interface in &mut told {
        interface.as_object_mut().unwrap().remove("speed");
        for address in interface["addresses"].as_array_mut().unwrap() {
            let is = |flag: &str| address[flag] == json!(true);
            *address = json!({
                "address": address["address"], "peer": address["peer"], "prefix_length": address["prefix_length"],
                "scope": address["scope"], "broadcast": address["broadcast"],
                "tentative": is("tentative"), "deprecated": is("deprecated"),
            });
        }
    }
    assert_eq!(told, by_ip(&namespace));
}

/// The library that is not our engine: ten times slower at 10,000 addresses, and its states and speeds come from a
/// sysfs that shows another namespace.
#[test]
fn netdev_knows_the_same_interfaces_and_networks() {
    let namespace = Namespace::new();
    namespace.sh("ip link add v0 type veth peer name w0; ip link set v0 up mtu 1300
         ip addr add 10.0.0.1/20 dev v0; ip addr add 2001:db8::1/112 dev v0 nodad");
    let (ours, theirs) = namespace.run(|| (interface::read().unwrap(), netdev::get_interfaces()));
    let networks = |interface: &Interface| {
        let addresses = interface.addresses.iter();
        addresses.map(|address| format!("{}/{}", address.address, address.prefix_length)).collect::<Vec<_>>()
    };
    let ours: Vec<_> = ours.iter().map(|i| (i.index, i.name.clone(), Some(i.mtu), networks(i))).collect();
    let mut theirs: Vec<_> = theirs
        .iter()
        .map(|i| {
            let v4 = i.ipv4.iter().map(ToString::to_string);
            (i.index, i.name.clone(), i.mtu, v4.chain(i.ipv6.iter().map(ToString::to_string)).collect())
        })
        .collect();
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn a_selected_interface_is_told_with_its_networks() {
    let namespace = Namespace::new();
    namespace.sh("ip link add v0 type veth peer name w0; ip link set v0 up; ip addr add 10.0.0.1/31 dev v0");
    let (outcome, _) = namespace.block_on(|| run::<Interfaces>("{ select: v*, family: 4 }"));
    assert_eq!(outcome.verdict, Verdict::Passed);
    let address = &outcome.detail.value()["interfaces"][0]["addresses"][0];
    assert_eq!(address["network"], "10.0.0.0/31");
    assert_eq!(address["last_address"], "10.0.0.1");
    for (name, value) in [("count", 1), ("up", 1), ("ipv4", 1), ("ipv6", 0)] {
        assert_eq!(sample(&outcome, name), &Sample::Count(value), "{name}");
    }
}

/// Fault case 14: an interface vanishes, is renamed.
#[test]
fn case_14_links_that_come_and_go_while_they_are_read_are_read_whole_or_not_at_all() {
    let namespace = Namespace::new();
    namespace.sh("ip link add keep type veth peer name peer; ip addr add 10.0.0.1/24 dev keep");
    let mut batch = String::new();
    for round in 0..40 {
        writeln!(
            batch,
            "link add a{round} type veth peer name b{round}\naddr add 10.9.0.{round}/24 dev a{round}"
        )
        .unwrap();
        writeln!(batch, "link set a{round} name c{round}\nlink del c{round}").unwrap();
    }
    let over = Arc::new(AtomicBool::new(false));
    let ended = over.clone();
    let reader = namespace.run(move || {
        // A thread started inside stays inside.
        std::thread::spawn(move || {
            let mut readings = 0;
            while !ended.load(Ordering::Relaxed) || readings == 0 {
                let read = interface::read().unwrap();
                let keep =
                    read.iter().find(|interface| interface.name == "keep").expect("`keep` was never touched");
                assert_eq!(keep.addresses[0].address.to_string(), "10.0.0.1");
                assert!(read.iter().all(|interface| interface.mtu > 0));
                readings += 1;
            }
        })
    });
    namespace.sh(&format!("ip -batch - <<'EOF'\n{batch}EOF"));
    over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    check_same(&namespace);
    let (outcome, _) = namespace.block_on(|| run::<Interfaces>("{ select: c0 }"));
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::NoInterface)));
}

/// Fault case 16: 10,000 addresses on one interface.
#[test]
fn case_16_ten_thousand_addresses_are_read_in_a_tenth_of_a_second() {
    let namespace = Namespace::new();
    let mut batch = String::from("link add v0 type veth peer name w0\n");
    for number in 0..10_000 {
        writeln!(batch, "addr add 10.{}.{}.1/30 dev v0", number / 250, number % 250).unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), batch).unwrap();
    namespace.sh(&format!("ip -batch {}", file.path().display()));
    let (count, took) = namespace.run(|| {
        // The thread's own time, and the best of a few: other tests share the processor.
        let spent = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let reading = || {
            let before = spent();
            let count = interface::read().unwrap().iter().map(|interface| interface.addresses.len()).max();
            (count, spent().saturating_sub(before))
        };
        (0..5).map(|_| reading()).min_by_key(|(_, took)| *took).unwrap()
    });
    assert_eq!(count, Some(10_000));
    assert!(took <= Duration::from_millis(100), "{took:?}");
    check_same(&namespace);
}
