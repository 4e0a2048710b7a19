//! What routers and hosts say of probes, what a line does that breaks in the middle, and whom nobody may blame.

use std::{process::Command, time::Duration};

use netjobs::{
    context::testing::context,
    kind::{Kind, ping::Ping, sweep::Sweep},
    outcome::{Detail, Notice, Outcome, Reason},
};

use super::{check, count, notices, pair, responder::Responder, run, spec, try_run};
use crate::netns::Namespace;

const HOSTS: [&str; 2] = ["10.9.0.2", "fd09::2"];

/// The reasons that a record gives, host by host.
fn reasons(outcome: &Outcome) -> Vec<&'static str> {
    let Detail::Hosts(list) = &outcome.detail else { panic!("no hosts: {outcome:?}") };
    let mut reasons = vec![];
    list.each(&mut |host| reasons.push(host.reason.unwrap_or("")));
    reasons
}

/// Asks one host for each type and code, of which each gets that error; checks what is made of them.
#[track_caller]
fn check_codes(network: &str, offender: &'static str, codes: &'static [(u8, u8, Reason)], quoted: usize) {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, move |request| {
        let last = request.packet[if request.to.is_ipv4() { 19 } else { 39 }];
        let (kind, code, _) = codes[usize::from(last) - 1];
        vec![request.error(offender, kind, code, quoted)]
    });
    let hosts: Vec<_> = (1..=codes.len()).map(|number| format!("'{network}{number:x}'")).collect();
    let hosts = hosts.join(", ");
    let yaml = format!("{{ targets: [{hosts}], passes: 1, rate: max, timeout: 2s, report: all }}");
    let outcome = run::<Sweep>(&ours, &yaml);
    let wanted: Vec<_> = codes.iter().map(|(_, _, reason)| reason.as_str()).collect();
    assert_eq!(reasons(&outcome), wanted, "{quoted} bytes quoted");
}

/// Case 30 of the sweep's list, and of its case 25 the quotes of 8 bytes: each code of `ICMPv6` has its reason.
#[test]
fn each_code_of_icmpv6_has_its_reason_however_little_is_quoted() {
    const CODES: &[(u8, u8, Reason)] = &[
        (1, 0, Reason::NetUnreachable),
        (1, 1, Reason::AdminProhibited),
        (1, 2, Reason::NetUnreachable),
        (1, 3, Reason::HostUnreachable),
        (1, 4, Reason::PortUnreachable),
        (1, 5, Reason::AdminProhibited),
        (1, 6, Reason::AdminProhibited),
        (2, 0, Reason::TooBig),
        (3, 0, Reason::TtlExceeded),
        (3, 1, Reason::TtlExceeded),
    ];
    for quoted in [8, 64] {
        check_codes("fd09::1:", "fd09:1::1", CODES, quoted);
    }
}

/// Cases 25 and 28 of the sweep's list: each code of ICMP has its reason, also where the quote is as short as RFC 792 has it.
#[test]
fn each_code_of_icmp_has_its_reason_however_little_is_quoted() {
    const CODES: &[(u8, u8, Reason)] = &[
        (3, 0, Reason::NetUnreachable),
        (3, 1, Reason::HostUnreachable),
        (3, 3, Reason::PortUnreachable),
        (3, 6, Reason::NetUnreachable),
        (3, 9, Reason::AdminProhibited),
        (3, 10, Reason::AdminProhibited),
        (3, 11, Reason::NetUnreachable),
        (3, 13, Reason::AdminProhibited),
        (11, 0, Reason::TtlExceeded),
    ];
    for quoted in [8, 64] {
        check_codes("10.9.7.", "10.9.1.1", CODES, quoted);
    }
}

/// Case 25 of the sweep's list: errors that quote too little, another probe or nothing are about nobody of ours.
#[test]
fn an_error_that_quotes_no_probe_of_ours_blames_nobody() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        let (offender, kind, header) =
            if request.to.is_ipv4() { ("10.9.1.1", 3, 20) } else { ("fd09:1::1", 1, 40) };
        let error = |quoted| request.error(offender, kind, 1, quoted);
        let id = 8 + header + 4;
        vec![
            error(7),
            error(0),
            error(64).with(|message| message.truncate(8)),
            error(64).with(|message| message[id] ^= 1),
            // Of a number that none has; its neighbour's may be on its way as well.
            error(64).with(|message| message[id + 2] ^= 0x80),
            // Another destination.
            error(64).with(|message| message[8 + header - 1] ^= 1),
            // A reply, not a request.
            error(64).with(|message| message[8 + header] ^= 8),
        ]
    });
    for host in HOSTS {
        let yaml = format!("{{ host: '{host}', count: 3, interval: 10ms, timeout: 200ms }}");
        let outcome = run::<Ping>(&ours, &yaml);
        check(&outcome, &[("sent", 3), ("lost", 3)]);
        assert_eq!(outcome.reason, Some(Reason::Timeout), "{host}");
    }
}

/// Case 27 of the sweep's list: that nobody listens on the port of another program's datagrams is no word on our echoes.
#[test]
fn errors_of_another_programs_datagrams_blame_no_probe() {
    let ours = Namespace::new();
    let _responder = Responder::all(&ours, |request| match (request.to.is_ipv4(), request.protocol) {
        (true, 17) => vec![request.error("10.9.0.2", 3, 3, 8)],
        (false, 17) => vec![request.error("fd09::2", 1, 4, 8)],
        // About a datagram that begins as our echo does, so to speak.
        (true, _) if request.is_echo() => {
            vec![request.error("10.9.0.2", 3, 3, 8).with(|message| message[17] = 17)]
        }
        (false, _) if request.is_echo() => {
            vec![request.error("fd09::2", 1, 4, 8).with(|message| message[14] = 17)]
        }
        _ => vec![],
    });
    for host in HOSTS {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("while :; do echo x >/dev/udp/{host}/9; sleep 0.005; done 2>/dev/null")]);
        let _datagrams = ours.spawn(command);
        let yaml = format!("{{ host: '{host}', count: 20, interval: 10ms, timeout: 200ms }}");
        let outcome = run::<Ping>(&ours, &yaml);
        check(&outcome, &[("sent", 20), ("lost", 20)]);
        assert_eq!(outcome.reason, Some(Reason::Timeout), "{host}");
    }
}

/// Case 31 of the sweep's list: a router that says only so many errors a second leaves the rest to their timeouts, and delays
/// nobody.
#[test]
fn where_errors_are_limited_the_rest_time_out() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        let said = request.number < 10;
        if said { vec![request.error("10.9.1.1", 3, 1, 28)] } else { vec![] }
    });
    let started = tokio::time::Instant::now();
    let outcome =
        run::<Sweep>(&ours, "{ targets: [10.9.7.1-100], passes: 1, rate: max, timeout: 1s, report: all }");
    let took = started.elapsed();
    check(&outcome, &[("targets", 100), ("alive", 0), ("dead", 100), ("unreachable", 10), ("packets", 100)]);
    let silent = reasons(&outcome).iter().filter(|reason| **reason == "timeout").count();
    assert_eq!(silent, 90);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// Case 34 of the sweep's list: nothing is sent to a broadcast address, and who answers for a network of which we do not know
/// that it ends there is not the host that was asked.
#[test]
fn a_broadcast_finds_nobody() {
    let (ours, peer) = pair();
    peer.sh("echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts");
    let ran = try_run::<Ping>(&ours, "{ host: 10.9.0.255, count: 2, interval: 10ms, timeout: 100ms }");
    let outcome = ran.result.unwrap();
    check(&outcome, &[("sent", 0), ("received", 0)]);
    assert_eq!(outcome.reason, Some(Reason::AdminProhibited));
    let yaml = "{ targets: [10.9.0.2, 10.9.0.255], timeout: 100ms, report: all }";
    assert_eq!(reasons(&run::<Sweep>(&ours, yaml)), ["", "admin_prohibited"]);
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        ["10.77.0.1", "10.77.0.2", "10.77.0.3"].map(|host| request.reply().from(host)).into()
    });
    let yaml = "{ targets: [10.77.0.0/24], exclude: [10.77.0.4-254], edges: include, rate: max, passes: 1, timeout: 200ms, report: all }";
    let outcome = run::<Sweep>(&ours, yaml);
    check(&outcome, &[("targets", 5), ("alive", 3), ("dead", 2)]);
    assert_eq!(reasons(&outcome), ["timeout", "", "", "", "timeout"]);
}

/// Runs a spec while shell scripts run at their times, in milliseconds.
fn run_while<K: Kind + 'static>(
    namespace: &Namespace,
    yaml: &str,
    scripts: &[(u64, String)],
) -> (Outcome, Vec<Notice>) {
    let (spec, scripts): (K, _) = (spec(yaml), scripts.to_vec());
    namespace.block_on(move || async move {
        let (cx, recorder) = context(vec![], Some(Duration::from_mins(1)));
        let break_it = async {
            let start = tokio::time::Instant::now();
            for (at, script) in scripts {
                tokio::time::sleep_until(start + Duration::from_millis(at)).await;
                let status =
                    tokio::process::Command::new("sh").args(["-ec", &script]).status().await.unwrap();
                assert!(status.success(), "{script}");
            }
        };
        let (outcome, ()) = tokio::join!(spec.run(&cx), break_it);
        (outcome.unwrap(), notices(&recorder))
    })
}

/// The reasons of echoes in their order; none for those that were answered.
fn answers(said: &[Notice]) -> Vec<Option<Reason>> {
    let mut found: Vec<_> = said
        .iter()
        .filter_map(|notice| match notice {
            Notice::Answer { sequence, reason, .. } => Some((*sequence, *reason)),
            _ => None,
        })
        .collect();
    found.sort_unstable_by_key(|(sequence, _)| *sequence);
    found.into_iter().map(|(_, reason)| reason).collect()
}

/// Case 37 of the sweep's list, and fault case 13 for echoes: while the link is down there is no route and nothing is lost that
/// was not sent; once it is up again, answers come.
#[test]
fn a_link_that_goes_down_and_up_has_its_reason_and_recovers() {
    let (ours, _peer) = pair();
    let link = ours.sh("ip -o route get 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/'");
    let link = link.trim();
    let scripts = [(600, format!("ip link set {link} down")), (1500, format!("ip link set {link} up"))];
    let yaml = "{ host: 10.9.0.2, count: 40, interval: 75ms, timeout: 500ms }";
    let (outcome, said) = run_while::<Ping>(&ours, yaml, &scripts);
    let (sent, received, lost) =
        (count(&outcome, "sent"), count(&outcome, "received"), count(&outcome, "lost"));
    assert_eq!(sent, received + lost);
    assert!(sent < 40 && received >= 20, "{outcome:?}");
    let reasons = answers(&said);
    assert_eq!(reasons.len(), 40);
    assert!(reasons.contains(&Some(Reason::NoRoute)), "{reasons:?}");
    assert_eq!((reasons[0], reasons[39]), (None, None), "{reasons:?}");
}

/// Case 37 of the sweep's list: an address to send from that goes away is a reason, and comes back.
#[test]
fn a_source_that_is_removed_has_its_reason_and_recovers() {
    let (ours, _peer) = pair();
    let link = ours.sh("ip -o route get 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/'");
    let link = link.trim();
    ours.sh(&format!("ip addr add 10.9.0.77/24 dev {link}"));
    let scripts = [
        (600, format!("ip addr del 10.9.0.77/24 dev {link}")),
        (1500, format!("ip addr add 10.9.0.77/24 dev {link}")),
    ];
    let yaml = "{ host: 10.9.0.2, count: 40, interval: 75ms, timeout: 300ms, source: 10.9.0.77 }";
    let (outcome, said) = run_while::<Ping>(&ours, yaml, &scripts);
    let reasons = answers(&said);
    assert!(count(&outcome, "sent") < 40 && count(&outcome, "received") >= 20, "{outcome:?}");
    assert!(reasons.contains(&Some(Reason::NoInterface)), "{reasons:?}");
    assert_eq!((reasons[0], reasons[39]), (None, None), "{reasons:?}");
}

/// Case 37 of the sweep's list: what is up again within the passes is alive, whichever end of the link was down.
#[test]
fn a_sweep_over_a_link_that_goes_down_and_up_finds_everybody() {
    let (ours, peer) = pair();
    peer.sh("ip route add local 10.9.0.128/25 dev lo");
    let link = ours.sh("ip -o route get 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/'");
    let link = link.trim();
    let scripts = [(150, format!("ip link set {link} down")), (400, format!("ip link set {link} up"))];
    let yaml = "{ targets: [10.9.0.129-228], passes: 3, timeout: 1s }";
    let (outcome, _) = run_while::<Sweep>(&ours, yaml, &scripts);
    check(&outcome, &[("targets", 100), ("alive", 100), ("dead", 0)]);
}
