//! Hosts on a link of this machine: found by ARP, neighbour solicitations and echoes, while the kernel's neighbour table keeps
//! its room.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use netjobs::{
    kind::sweep::Sweep,
    net::neighbour::{Mac, arp},
    outcome::{Notice, Outcome},
    sys::packet,
};
use nix::sched::{CloneFlags, setns};
use socket2::SockFilter;

use super::{check, count, notices, run, try_run};
use crate::netns::Namespace;

/// Two machines on one link: ours is 10.50.0.1 and `fd50::1`; with the names of the ends.
fn link() -> (Namespace, Namespace, String, String) {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    let ends = ours.link(&["10.50.0.1/20", "fd50::1/112"], &peer, &["10.50.15.254/20", "fd50::ffff/112"]);
    // A link that has just come up loses what is sent.
    ours.sh("ping -q -c 1 -W 5 10.50.15.254; ip neigh flush all");
    (ours, peer, ends.0, ends.1)
}

/// Gives a device more addresses.
fn add(namespace: &Namespace, device: &str, addresses: impl IntoIterator<Item = String>) {
    let lines = addresses.into_iter().fold(String::new(), |mut lines, address| {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        let _ = writeln!(lines, "addr add {address} dev {device}{nodad}");
        lines
    });
    namespace.sh(&format!("ip -batch - <<'END'\n{lines}END"));
}

/// The hardware address of a device.
fn station(namespace: &Namespace, device: &str) -> Mac {
    namespace
        .sh(&format!("ip -o link show {device} | sed 's/.*link.ether \\([^ ]*\\).*/\\1/'"))
        .trim()
        .parse()
        .unwrap()
}

fn neighbours(namespace: &Namespace) -> usize {
    namespace.sh("ip neigh show nud all | grep -v NOARP | wc -l").trim().parse().unwrap()
}

/// What the record says of each host under a key.
fn said(outcome: &Outcome, key: &str) -> BTreeMap<String, String> {
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap().iter();
    hosts.filter_map(|host| Some((host["host"].as_str()?.into(), host.get(key)?.as_str()?.into()))).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(host, word)| (host.to_owned(), word.to_owned())).into()
}

fn warnings(recorder: &netjobs::context::testing::Recorder) -> Vec<String> {
    let notices = notices(recorder).into_iter();
    let warnings = notices.filter_map(|notice| match notice {
        Notice::Warning { message } => Some(message),
        _ => None,
    });
    warnings.collect()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Case 39 of the sweep's list: all of a /20's few hosts are found at once, and nobody else takes a place in the table.
#[test]
fn a_large_link_is_searched_within_a_second_and_leaves_entries_for_the_living_alone() {
    // On a busy machine it may take three tries: what others add to the time is not ours.
    let took = (0..3).map(|_| search_of_a_large_link()).find(|took| *took < Duration::from_secs(2));
    assert!(took.is_some(), "none of three was quick");
}

/// How long the search takes.
fn search_of_a_large_link() -> Duration {
    let (ours, peer, _, device) = link();
    add(&peer, &device, (0..255).map(|number| format!("10.50.{}.{}/32", number / 16, number % 16 * 15 + 5)));
    let started = now();
    let yaml = "{ targets: [10.50.0.0/20], exclude: [10.50.0.1], rate: max, passes: 1, timeout: 500ms }";
    let outcome = run::<Sweep>(&ours, yaml);
    let took = started.elapsed();
    check(&outcome, &[("targets", 4093), ("alive", 256), ("dead", 3837), ("local_drops", 0)]);
    assert_eq!(count(&outcome, "packets"), 4093 + 256);
    assert!(neighbours(&ours) <= 1, "{}", neighbours(&ours));
    took
}

#[test]
fn more_living_hosts_than_the_table_holds_are_all_asked_and_take_no_place_in_it() {
    let (ours, peer, ..) = link();
    let networks = ["10.50.2.0/23", "10.50.4.0/22", "10.50.8.0/21"];
    for network in networks {
        peer.sh(&format!("ip route add local {network} dev lo"));
    }
    for method in ["icmp", "auto"] {
        let yaml = format!(
            "{{ targets: [10.50.0.0/20], exclude: [10.50.0.0/23], method: {method}, rate: max, passes: 1, \
             timeout: 500ms, report: all }}"
        );
        let outcome = run::<Sweep>(&ours, &yaml);
        check(&outcome, &[("alive", 3583), ("dead", 0), ("local_drops", 0), ("packets", 2 * 3583)]);
        assert!(said(&outcome, "evidence").values().all(|evidence| *evidence == "echo"));
        assert!(neighbours(&ours) <= 1, "{}", neighbours(&ours));
    }
}

#[test]
fn an_echo_is_heard_also_where_a_firewall_takes_in_only_what_it_saw_leave() {
    let (ours, _peer, ..) = link();
    ours.sh(
        "nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; policy drop; }'; \
         nft add rule inet t i ct state established accept",
    );
    let yaml = "{ targets: [10.50.15.254], method: icmp, passes: 1, timeout: 500ms }";
    check(&run::<Sweep>(&ours, yaml), &[("alive", 1), ("dead", 0)]);
}

/// Case 40 of the sweep's list: who may not ask by ARP waits for the kernel, which asks for 256 at a time.
#[test]
fn without_the_right_no_more_than_256_neighbours_are_unresolved_at_a_time() {
    let (ours, peer, _, device) = link();
    add(&peer, &device, (1..=10).map(|number| format!("10.50.1.{number}/32")));
    super::rights::allow_ping_sockets(&ours);
    let (space, stop) = (ours.file(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let watcher = std::thread::spawn(move || {
        setns(space, CloneFlags::CLONE_NEWNET).unwrap();
        let mut most = 0;
        while !stopped.load(Ordering::Relaxed) {
            let listed =
                std::process::Command::new("ip").args(["neigh", "show", "nud", "incomplete"]).output();
            most = most.max(listed.unwrap().stdout.split(|byte| *byte == b'\n').count() - 1);
        }
        most
    });
    let yaml = "{ targets: [10.50.0.0/23], exclude: [10.50.0.1], rate: max, passes: 1, timeout: 300ms }";
    let (result, _) = super::rights::run_without::<Sweep>(&ours, super::rights::RAW, yaml);
    stop.store(true, Ordering::Relaxed);
    let most = watcher.join().unwrap();
    check(&result.unwrap(), &[("targets", 509), ("alive", 10), ("dead", 499)]);
    assert!((100..=256).contains(&most), "{most} unresolved");
}

/// Case 41 of the sweep's list.
#[test]
fn a_router_that_answers_for_others_is_named() {
    let (ours, peer, _, device) = link();
    let behind = Namespace::new();
    peer.link(&["10.51.0.1/24"], &behind, &["10.51.0.2/24"]);
    peer.sh(&format!(
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/{device}/proxy_arp; \
         echo 0 > /proc/sys/net/ipv4/neigh/{device}/proxy_delay; ip route add 10.50.2.0/24 via 10.51.0.2"
    ));
    let ran =
        try_run::<Sweep>(&ours, "{ targets: [10.50.2.1-20], method: arp, timeout: 300ms, report: all }");
    let outcome = ran.result.unwrap();
    check(&outcome, &[("alive", 20), ("dead", 0), ("packets", 20)]);
    let mac = station(&peer, &device).to_string();
    assert!(said(&outcome, "mac").values().all(|said| *said == mac), "{outcome:?}");
    let wanted = format!("{mac} for 20");
    assert!(
        warnings(&ran.recorder).iter().any(|warning| warning.contains(&wanted)),
        "{:?}",
        warnings(&ran.recorder)
    );
    // A few addresses of one station are nothing to tell.
    let ran = try_run::<Sweep>(&ours, "{ targets: [10.50.2.1-7], method: arp, timeout: 300ms }");
    assert_eq!(warnings(&ran.recorder), Vec::<String>::new());
}

/// Case 42 of the sweep's list.
#[test]
fn an_address_that_two_stations_claim_is_named_with_both() {
    let (ours, one, two, switch) = (Namespace::new(), Namespace::new(), Namespace::new(), Namespace::new());
    let (_, port) = ours.link(&["10.50.0.1/24"], &switch, &[]);
    let (first, a) = one.link(&["10.50.0.7/24"], &switch, &[]);
    let (second, b) = two.link(&["10.50.0.7/24"], &switch, &[]);
    switch.sh(&format!(
        "ip link add br0 type bridge; for port in {port} {a} {b}; do ip link set $port master br0; done; ip link set br0 up"
    ));
    ours.sh("ping -q -c 1 -W 5 10.50.0.7; ip neigh flush all");
    let mut wanted = [station(&one, &first).to_string(), station(&two, &second).to_string()];
    wanted.sort_unstable();
    for method in ["arp", "auto"] {
        let yaml = format!("{{ targets: [10.50.0.6-7], method: {method}, timeout: 500ms, report: all }}");
        let ran = try_run::<Sweep>(&ours, &yaml);
        let outcome = ran.result.unwrap();
        check(&outcome, &[("alive", 1), ("dead", 1)]);
        let host = &outcome.detail.value()["hosts"][1];
        let mut found = vec![host["mac"].as_str().unwrap(), host["duplicates"][0].as_str().unwrap()];
        found.sort_unstable();
        assert_eq!(found, wanted);
        assert_eq!(host["duplicates"].as_array().unwrap().len(), 1);
        let warnings = warnings(&ran.recorder);
        assert!(warnings.iter().any(|warning| warning.contains("10.50.0.7 (")), "{warnings:?}");
    }
}

/// Case 43 of the sweep's list.
#[test]
fn an_ipv6_network_is_searched_by_solicitations_and_behind_a_zone_too() {
    let (ours, peer, here, device) = link();
    add(&peer, &device, (2..42).map(|number| format!("fd50::{number:x}/128")));
    let ready = "ip -6 addr show scope link | grep -q tentative";
    while ours.try_sh(ready).0 == Some(0) || peer.try_sh(ready).0 == Some(0) {}
    let zoned =
        peer.sh(&format!("ip -6 -o addr show dev {device} scope link | sed 's/.*inet6 \\([^/]*\\).*/\\1/'"));
    let zoned = format!("{}%{here}", zoned.trim());
    let run = |method: &str| {
        let yaml = format!(
            "{{ targets: ['fd50::/120', '{zoned}', 'fe80::bad%{here}'], exclude: ['fd50::1'], method: {method}, \
             rate: max, passes: 1, timeout: 500ms, report: all }}"
        );
        run::<Sweep>(&ours, &yaml)
    };
    let outcome = run("arp");
    check(&outcome, &[("targets", 257), ("alive", 41), ("dead", 216), ("packets", 257)]);
    let evidence = said(&outcome, "evidence");
    assert!(evidence.values().all(|word| *word == "nd") && evidence.contains_key(&*zoned), "{evidence:?}");
    let mac = station(&peer, &device).to_string();
    assert!(said(&outcome, "mac").values().all(|said| *said == mac));
    assert!(neighbours(&ours) <= 41, "{}", neighbours(&ours));
    let outcome = run("auto");
    check(&outcome, &[("alive", 41), ("dead", 216), ("packets", 257 + 41)]);
    assert!(said(&outcome, "evidence").values().all(|word| *word == "echo"));
    assert!(neighbours(&ours) <= 2, "{}", neighbours(&ours));
}

/// Fault case 12: nobody answers to ARP.
#[test]
fn an_address_without_a_station_is_silent_and_the_sweep_goes_on() {
    let (ours, _peer, ..) = link();
    for method in ["arp", "icmp", "auto"] {
        let yaml = format!(
            "{{ targets: [10.50.0.200, 10.50.15.254], method: {method}, passes: 2, timeout: 500ms, report: all }}"
        );
        let outcome = run::<Sweep>(&ours, &yaml);
        check(&outcome, &[("alive", 1), ("dead", 1), ("unreachable", 0)]);
        assert_eq!(said(&outcome, "reason"), pairs([("10.50.0.200", "timeout")]));
        assert_eq!(
            said(&outcome, "evidence"),
            pairs([("10.50.15.254", if method == "arp" { "arp" } else { "echo" })])
        );
        // Twice for the silent, once for the other, and an echo.
        assert_eq!(count(&outcome, "packets"), if method == "arp" { 3 } else { 4 });
    }
    assert!(neighbours(&ours) <= 1);
}

#[test]
fn who_answers_to_arp_alone_is_alive_unless_an_echo_is_asked_for() {
    let (ours, peer, ..) = link();
    peer.sh("echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all");
    for (method, alive, word) in [("auto", 1, "arp"), ("arp", 1, "arp"), ("icmp", 0, "")] {
        let yaml = format!(
            "{{ targets: [10.50.15.254], method: {method}, passes: 1, timeout: 500ms, report: all }}"
        );
        let outcome = run::<Sweep>(&ours, &yaml);
        check(&outcome, &[("alive", alive)]);
        assert_eq!(said(&outcome, "evidence").values().next().map_or("", String::as_str), word);
        if alive == 1 {
            let rtt = outcome.detail.value()["hosts"][0]["rtt"].as_f64().unwrap();
            assert!(rtt > 0.0 && rtt < 0.1, "{rtt}");
        }
    }
}

#[test]
fn the_arp_method_knows_this_machine_and_refuses_what_is_beyond_a_router() {
    let (ours, _peer, ..) = link();
    ours.sh("ip route add 10.60.0.0/16 via 10.50.15.254");
    let yaml = "{ targets: [10.50.0.1, 10.60.0.1, 127.0.0.1, 10.50.15.255], method: arp, timeout: 500ms, edges: include, report: all }";
    let ran = try_run::<Sweep>(&ours, yaml);
    let outcome = ran.result.unwrap();
    check(&outcome, &[("alive", 2), ("dead", 2), ("unreachable", 2), ("packets", 0)]);
    assert_eq!(said(&outcome, "reason"), pairs([("10.60.0.1", "no_route"), ("10.50.15.255", "no_route")]));
    let wanted = "`method: arp` asks nobody beyond the links of this machine: 10.50.15.255, 10.60.0.1; use `icmp` for such targets";
    assert_eq!(warnings(&ran.recorder), [wanted]);
    let (result, _) = super::rights::run_without::<Sweep>(
        &ours,
        super::rights::RAW,
        "{ targets: [10.50.15.254], method: arp }",
    );
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "open a packet socket: Operation not permitted (os error 1)");
    assert!(error.hint().unwrap().contains("setcap cap_net_raw+p"));
}

#[test]
fn a_neighbour_that_was_entered_by_hand_is_not_asked_for() {
    let (ours, peer, here, device) = link();
    peer.sh(&format!("echo 8 > /proc/sys/net/ipv4/conf/{device}/arp_ignore"));
    let mac = station(&peer, &device).to_string();
    ours.sh(&format!("ip neigh add 10.50.15.254 lladdr {mac} dev {here}"));
    let outcome = run::<Sweep>(&ours, "{ targets: [10.50.15.253-254], passes: 1, timeout: 500ms }");
    check(&outcome, &[("alive", 1), ("dead", 1), ("packets", 2)]);
}

#[test]
fn a_cancelled_search_of_a_link_gives_what_it_has_at_once() {
    let (ours, _peer, ..) = link();
    let yaml = "{ targets: [10.50.15.254, 10.50.0.2-200], rate: 50/s, order: random, timeout: 20s }";
    let outcome = super::sweep::cancelled(&ours, yaml);
    check(&outcome, &[("targets", 200), ("dead", 0)]);
    assert!((10..60).contains(&count(&outcome, "packets")), "{outcome:?}");
}

#[test]
fn forged_arp_replies_make_nobody_alive() {
    let (ours, peer, here, device) = link();
    peer.sh(&format!("echo 8 > /proc/sys/net/ipv4/conf/{device}/arp_ignore"));
    let (own, theirs) = (station(&ours, &here), station(&peer, &device));
    let index = peer.sh(&format!("ip -o link show {device} | cut -d: -f1")).trim().parse().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    // Whoever is asked for, the peer forges as the last octet says; only .20 is answered honestly.
    let forge = move || {
        let mut socket = packet::open(&[SockFilter::new(0x06, 0, 0, u32::MAX)]).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        socket.bind(&packet::address(0x0806, index, None)).unwrap();
        let to = packet::address(0x0806, index, Some(own.0));
        let mut buffer = [0; 64];
        while !stopped.load(Ordering::Relaxed) {
            let Ok(28..) = socket.read(&mut buffer) else { continue };
            let target = Ipv4Addr::from(<[u8; 4]>::try_from(&buffer[24..28]).unwrap());
            let mut reply = arp::request(theirs, target, Ipv4Addr::new(10, 50, 0, 1));
            reply[7] = 2;
            reply[18..24].copy_from_slice(&own.0);
            let mut length = reply.len();
            match target.octets()[3] {
                10 => reply[23] ^= 1,          // for another station
                11 => reply[27] ^= 2,          // for another address
                12 => reply[16] = 3,           // of an address that nobody asked for
                13 => reply[8..14].fill(0xff), // of all stations
                14 => length = 27,             // cut short
                15 => reply[7] = 1,            // a request
                16 => reply[1] = 6,            // of another kind of link
                17 => reply[5] = 16,           // with addresses of another length
                20 => {}
                _ => continue,
            }
            socket.send_to(&reply[..length], &to).unwrap();
        }
    };
    let thread = peer.run(|| std::thread::spawn(forge));
    let yaml = "{ targets: [10.50.0.10-20], method: arp, passes: 2, timeout: 1s, rate: max, report: all }";
    let outcome = run::<Sweep>(&ours, yaml);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let alive = said(&outcome, "evidence");
    assert_eq!(alive, pairs([("10.50.0.20", "arp")]));
    assert_eq!(said(&outcome, "mac")["10.50.0.20"], theirs.to_string());
}
