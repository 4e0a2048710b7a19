//! Hosts asked by TCP: by raw SYN, by connections where that is not allowed, and what others find.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::mpsc::RecvTimeoutError, time::Duration};

use caps::Capability;
use netjobs::{
    kind::sweep::Sweep,
    net::{
        icmp::{Pace, Peer},
        syn::{
            Asker, Event, What,
            packet::{self, LENGTH},
        },
    },
    outcome::{Outcome, Reason},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{check, count, pair, rights::run_without, run, sweep::alive};
use crate::netns::Namespace;

/// Listens on port 443 of every address, for IPv4 and IPv6, until it is dropped.
fn listen(namespace: &Namespace) -> std::net::TcpListener {
    namespace.run(|| std::net::TcpListener::bind("[::]:443").unwrap())
}

/// What the record says of each host: its state and why.
fn whys(outcome: &Outcome) -> Vec<(String, String)> {
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    hosts.iter().map(|host| (word(&host["host"]), word(&host["evidence"]) + &word(&host["reason"]))).collect()
}

#[track_caller]
fn check_whys(outcome: &Outcome, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(host, why)| ((*host).to_owned(), (*why).to_owned())).collect();
    assert_eq!(whys(outcome), wanted);
}

/// Sockets of a namespace in all states, half-open ones included.
fn connections(namespace: &Namespace) -> usize {
    namespace.sh("ss -Htan state all | grep -vc LISTEN || true").trim().parse().unwrap()
}

#[test]
fn open_refused_silent_and_unreachable_are_told_apart_in_both_families() {
    let (ours, peer) = pair();
    let _listener = listen(&peer);
    peer.sh("ip -6 route add local fd99::/120 dev lo; ip -6 route add unreachable fd98::/120");
    peer.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    ours.sh("ip -6 route add fd99::/120 via fd09::2; ip -6 route add fd98::/120 via fd09::2");
    ours.sh("ping -q -c 1 -W 5 fd09::2");
    peer.sh("nft add rule inet t i ip daddr 10.99.0.2 tcp dport 443 drop");
    peer.sh("nft add rule inet t i ip daddr 10.99.0.3 tcp dport 443 reject with icmp type host-unreachable");
    peer.sh("nft add rule inet t i ip daddr 10.99.0.4 tcp dport 443 reject with icmp type port-unreachable");
    peer.sh("nft add rule inet t i ip daddr 10.99.0.5 tcp dport 443 reject with tcp reset");
    peer.sh("nft add rule inet t i ip6 daddr fd99::2 tcp dport 443 reject with tcp reset");
    let yaml = "{ targets: [10.99.0.1-5, 10.77.0.1, 'fd98::1', 'fd99::1-2', '127.0.0.1'], method: tcp/443, \
                timeout: 300ms, passes: 2, report: all }";
    check_whys(
        &run::<Sweep>(&ours, yaml),
        &[
            ("10.77.0.1", "no_route"),
            ("10.99.0.1", "tcp_open"),
            ("10.99.0.2", "connect_timeout"),
            ("10.99.0.3", "host_unreachable"),
            // The host says so itself.
            ("10.99.0.4", "tcp_refused"),
            ("10.99.0.5", "tcp_refused"),
            ("127.0.0.1", "tcp_refused"),
            ("fd98::1", "net_unreachable"),
            ("fd99::1", "tcp_open"),
            ("fd99::2", "tcp_refused"),
        ],
    );
    assert_eq!((connections(&ours), connections(&peer)), (0, 0), "nothing is left half open");
}

#[test]
fn a_router_that_answers_for_a_host_makes_it_no_life_with_and_without_the_right() {
    let (ours, peer) = pair();
    ours.sh("ip route add 10.97.0.0/16 via 10.9.0.2; ip -6 route add fd97::/64 via fd09::2; ping -q -c 1 -W 5 fd09::2");
    peer.sh("ip link add d0 type bridge; ip link set d0 up; ip route add 10.97.0.0/16 dev d0; ip -6 route add fd97::/64 dev d0");
    peer.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit");
    peer.sh("nft 'add chain inet t f { type filter hook forward priority 0; }'");
    peer.sh("nft add rule inet t f ip daddr 10.97.0.0/16 reject with icmp type port-unreachable");
    peer.sh("nft add rule inet t f ip6 daddr fd97::/64 reject with icmpv6 type port-unreachable");
    let yaml =
        "{ targets: [10.97.0.1-2, 'fd97::1-2'], method: tcp/443, timeout: 500ms, passes: 1, report: all }";
    let wanted = ["10.97.0.1", "10.97.0.2", "fd97::1", "fd97::2"].map(|host| (host, "port_unreachable"));
    check_whys(&run::<Sweep>(&ours, yaml), &wanted);
    check_whys(&run_without::<Sweep>(&ours, &[Capability::CAP_NET_RAW], yaml).0.unwrap(), &wanted);
}

#[test]
fn where_no_port_is_free_the_machine_lacks_something_and_no_host_is_dead() {
    let (ours, _peer) = pair();
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    ours.sh(&format!("echo 50000 50003 > {range}"));
    // A few ports do.
    let yaml = "{ targets: [10.99.0.1-3], method: tcp/443, timeout: 300ms, passes: 6 }";
    check(&run::<Sweep>(&ours, yaml), &[("alive", 3), ("packets", 3)]);
    let _held: Vec<_> = ours.run(|| {
        let ports = 50000..=50003;
        ports.map(|port| std::net::TcpListener::bind(("0.0.0.0", port)).unwrap()).collect()
    });
    let error = super::try_run::<Sweep>(&ours, yaml).result.unwrap_err();
    assert_eq!(error.reason(), Reason::Resources, "{error}");
    assert!(error.hint().unwrap().contains("ip_local_port_range"));
}

#[test]
fn a_machine_may_ask_itself() {
    let ours = Namespace::new();
    let _listener = listen(&ours);
    for targets in ["127.0.0.1-20", "'::1'"] {
        let yaml =
            format!("{{ targets: [{targets}], method: tcp/443, timeout: 300ms, passes: 1, report: all }}");
        assert!(whys(&run::<Sweep>(&ours, &yaml)).iter().all(|(_, why)| why == "tcp_open"));
        let yaml = yaml.replace("443", "444");
        assert!(whys(&run::<Sweep>(&ours, &yaml)).iter().all(|(_, why)| why == "tcp_refused"));
    }
    assert_eq!(connections(&ours), 0);
}

#[test]
fn a_large_network_that_refuses_is_found_whole_at_full_speed() {
    let (ours, peer) = pair();
    let yaml = "{ targets: [10.99.0.0/16], edges: include, method: tcp/443, rate: max, passes: 1 }";
    let outcome = run::<Sweep>(&ours, yaml);
    check(&outcome, &[("targets", 65536), ("alive", 65536), ("dead", 0), ("packets", 65536)]);
    assert_eq!((connections(&ours), connections(&peer)), (0, 0));
}

#[test]
fn raw_syns_connections_and_nmap_find_the_same_hosts() {
    let (ours, peer) = pair();
    let _listener = listen(&peer);
    // Even ones live, every fourth of all refuses.
    peer.sh("nft add rule inet t i ip daddr '&' 0.0.0.1 == 0.0.0.1 tcp dport 443 drop");
    peer.sh("nft add rule inet t i ip daddr '&' 0.0.0.3 == 0.0.0.2 tcp dport 443 reject with tcp reset");
    let yaml = "{ targets: [10.99.7.0/24], edges: include, method: tcp/443, rate: max, timeout: 300ms, report: all }";
    let raw = run::<Sweep>(&ours, yaml);
    let unprivileged = run_without::<Sweep>(&ours, &[Capability::CAP_NET_RAW], yaml).0.unwrap();
    let board: BTreeSet<_> = (0..255).step_by(2).map(|last| format!("10.99.7.{last}")).collect();
    assert_eq!(alive(&raw), board);
    assert_eq!(whys(&unprivileged), whys(&raw));
    let out = ours.sh("nmap -n -sn -PS443 --max-retries 1 -oG - 10.99.7.0/24 | grep 'Status: Up'");
    let theirs: BTreeSet<_> =
        out.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    assert_eq!(theirs, board);
}

#[test]
fn a_shard_asks_its_own_hosts_and_all_of_them_together_ask_each_once() {
    let (ours, _peer) = pair();
    let mut seen = BTreeSet::new();
    for index in 1..=3 {
        let yaml = format!(
            "{{ targets: [10.99.7.0/28, 'localhost'], shard: {index}/3, method: tcp/443, rate: max, report: all }}"
        );
        let outcome = run::<Sweep>(&ours, &yaml);
        check(&outcome, &[("targets", 5), ("alive", 5), ("packets", 5)]);
        let fresh = alive(&outcome);
        assert!(seen.is_disjoint(&fresh));
        seen.extend(fresh);
    }
    assert_eq!(seen.len(), 15);
}

/// Asks hosts until each has come to its end; gives what became of them.
async fn ask(asker: &mut Asker, hosts: impl Iterator<Item = Ipv4Addr>) -> Vec<(Ipv4Addr, What)> {
    let mut waited = 0;
    for host in hosts {
        asker.submit(Peer::from(std::net::IpAddr::from(host)), 0);
        waited += 1;
    }
    let mut found = vec![];
    while waited > 0 {
        for event in asker.next().await {
            let std::net::IpAddr::V4(host) = event.peer.address else { panic!("{event:?}") };
            waited -= usize::from(!matches!(event.what, What::Extra { .. }));
            found.push((host, event.what));
        }
    }
    found
}

#[test]
fn a_tiny_receive_buffer_loses_packets_and_no_host() {
    let (ours, _peer) = pair();
    let (found, counts) = ours.block_on(|| async {
        let mut asker = Asker::open(false, 443, Duration::from_millis(200), Pace::default()).unwrap();
        asker.set_buffer(4 << 10).unwrap();
        let hosts = (0..=255).map(|last| Ipv4Addr::new(10, 99, 0, last));
        (ask(&mut asker, hosts).await, asker.counts())
    });
    assert!(found.iter().all(|(_, what)| matches!(what, What::Answered { is_open: false, .. })), "{found:?}");
    assert_eq!(found.len(), 256);
    assert!(counts.local_drops > 0, "{counts:?}");
}

/// The kernel counts TCP packets with a wrong checksum among those that it dropped in front of a raw IPv6 socket.
#[test]
fn what_comes_with_a_wrong_checksum_is_no_loss_of_ours_in_ipv6() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i tcp dport 443 drop");
    let spoiler = peer.run(|| Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::TCP)).unwrap());
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let spoil = std::thread::spawn(move || {
        let to = std::net::SocketAddr::from((std::net::Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1), 0));
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            spoiler.send_to(&[0x55; LENGTH], &to.into()).unwrap();
        }
    });
    let (found, counts) = ours.block_on(|| async {
        let mut asker = Asker::open(true, 443, Duration::from_millis(300), Pace::default()).unwrap();
        let host: std::net::IpAddr = "fd09::2".parse().unwrap();
        asker.submit(Peer::from(host), 0);
        (asker.next().await, asker.counts())
    });
    drop(stop);
    spoil.join().unwrap();
    let [Event { what: What::Lost(failure), .. }] = found[..] else { panic!("{found:?}") };
    assert_eq!((failure.reason, counts.packets, counts.local_drops), (Reason::ConnectTimeout, 1, 0));
}

/// An IPv4 packet around a segment.
fn packet(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 99, 6, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(segment);
    packet
}

/// Answers a SYN as the peer of it would, but for what `change` does to the answer: its ports, acknowledgement, flags.
fn answer(syn: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut segment = syn[..LENGTH].to_vec();
    segment[0..2].copy_from_slice(&syn[2..4]);
    segment[2..4].copy_from_slice(&syn[0..2]);
    let sequence = u32::from_be_bytes(syn[4..8].try_into().unwrap());
    segment[8..12].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    segment[13] = 0x12;
    change(&mut segment);
    segment
}

const OURS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// The script of a peer that answers the SYN to each host in another way; the last octet says which.
fn scripted(host: Ipv4Addr, syn: &[u8]) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let sealed = |from: Ipv4Addr, mut segment: Vec<u8>| {
        packet::seal(&mut segment, from, OURS);
        (from, segment)
    };
    let right = || sealed(host, answer(syn, |_| ()));
    match host.octets()[3] {
        1 => vec![right()],
        2 => vec![sealed(host, answer(syn, |answer| answer[11] ^= 1))],
        3 => vec![sealed(host, answer(syn, |answer| answer[1] ^= 1))],
        4 => vec![sealed(host, answer(syn, |answer| answer[13] = 0x10))],
        5 => vec![(host, {
            let mut wrong = right().1;
            wrong[16] ^= 0xff;
            wrong
        })],
        6 => vec![(host, right().1[..16].to_vec())],
        // A host that was not asked sends what another's answer would be, and one that was asked the answer of a third.
        7 => vec![
            sealed(Ipv4Addr::new(10, 99, 9, 9), answer(syn, |_| ())),
            sealed(Ipv4Addr::new(10, 99, 0, 2), answer(syn, |_| ())),
        ],
        // Twice, and a forged refusal before it.
        8 => vec![
            sealed(
                host,
                answer(syn, |answer| {
                    answer[13] = 0x14;
                    answer[8] ^= 0x40;
                }),
            ),
            right(),
            right(),
        ],
        _ => vec![],
    }
}

#[test]
fn only_the_answer_to_a_syn_of_ours_is_life() {
    let (ours, peer) = pair();
    // The kernel itself stays silent; what the script sends has another TTL.
    peer.sh("nft 'add chain inet t o { type filter hook output priority 0; }'");
    peer.sh("nft add rule inet t o ip ttl 64 tcp flags '&' rst == rst drop");
    let (questions, sending) = peer.run(|| {
        let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap();
        (open(), open())
    });
    sending.set_header_included_v4(true).unwrap();
    questions.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let script = std::thread::spawn(move || {
        let (mut questions, mut buffer, mut left) = (questions, [0; 200], 9);
        while left > 0 {
            let length = std::io::Read::read(&mut questions, &mut buffer).unwrap();
            let [from, to] =
                [12, 16].map(|at| Ipv4Addr::from(<[u8; 4]>::try_from(&buffer[at..at + 4]).unwrap()));
            if from != OURS || buffer[33] != 2 || length < 20 + LENGTH {
                continue;
            }
            left -= 1;
            for (from, segment) in scripted(to, &buffer[20..length]) {
                let to = std::net::SocketAddr::from((OURS, 0));
                sending.send_to(&packet(from, OURS, &segment), &to.into()).unwrap();
            }
        }
    });
    let (mut found, counts) = ours.block_on(|| async {
        let mut asker = Asker::open(false, 443, Duration::from_secs(2), Pace::default()).unwrap();
        let hosts = (1..=9).map(|last| Ipv4Addr::new(10, 99, 0, last));
        (ask(&mut asker, hosts).await, asker.counts())
    });
    script.join().unwrap();
    found.sort_by_key(|(host, _)| *host);
    let open: Vec<_> = found
        .iter()
        .filter(|(_, what)| matches!(what, What::Answered { is_open: true, .. }))
        .map(|(host, _)| host.octets()[3])
        .collect();
    assert_eq!(open, [1, 8], "{found:?}");
    let extra: Vec<_> = found
        .iter()
        .filter(|(_, what)| matches!(what, What::Extra { .. }))
        .map(|(host, _)| host.octets()[3])
        .collect();
    assert_eq!(extra, [8], "{found:?}");
    let silent = found
        .iter()
        .filter(|(_, what)| matches!(what, What::Lost(failure) if failure.reason == Reason::ConnectTimeout));
    assert_eq!(silent.count(), 7, "{found:?}");
    assert_eq!(counts.foreign, 8, "{counts:?}");
}

#[test]
fn a_tenth_lost_costs_few_more_packets_and_no_host() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i tcp dport 443 numgen inc mod 10 0 drop");
    let yaml =
        "{ targets: [10.99.0.0/22], edges: include, method: tcp/443, rate: max, passes: 9, timeout: 300ms }";
    let outcome = run::<Sweep>(&ours, yaml);
    check(&outcome, &[("alive", 1024), ("dead", 0)]);
    assert!(count(&outcome, "packets") <= 1024 * 115 / 100, "{outcome:?}");
}
