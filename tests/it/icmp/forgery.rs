//! Forged and broken answers: none of them may make a host alive or an echo answered.

use std::time::Duration;

use netjobs::{
    kind::{ping::Ping, sweep::Sweep},
    outcome::Reason,
};

use super::{
    check, count, number,
    responder::{Answer, Chance, Request, Responder},
    run, try_run,
};
use crate::netns::Namespace;

const HOSTS: [&str; 2] = ["10.9.0.2", "fd09::2"];

/// Runs a ping and a sweep in both families against a network that answers with nothing but what `forge` gives.
#[track_caller]
fn check_forged(forge: impl FnMut(&Request) -> Vec<Answer> + Send + 'static) {
    let foreign = check_unanswered(forge);
    assert!(foreign.iter().all(|count| *count > 0), "the forged answers were not counted: {foreign:?}");
}

/// The same where the kernel keeps some of them away; gives how many came through, in each family.
#[track_caller]
fn check_unanswered(forge: impl FnMut(&Request) -> Vec<Answer> + Send + 'static) -> [u64; 2] {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, forge);
    HOSTS.map(|host| {
        let yaml = format!("{{ host: '{host}', count: 5, interval: 10ms, timeout: 400ms }}");
        let ran = try_run::<Ping>(&ours, &yaml);
        let outcome = ran.result.unwrap();
        check(&outcome, &[("sent", 5), ("received", 0), ("lost", 5), ("duplicates", 0), ("late", 0)]);
        assert_eq!(outcome.reason, Some(Reason::Timeout));
        let outcome = run::<Sweep>(&ours, &format!("{{ targets: ['{host}'], timeout: 400ms, rate: max }}"));
        check(&outcome, &[("targets", 1), ("alive", 0), ("dead", 1), ("packets", 2)]);
        ran.foreign
    })
}

fn other(request: &Request) -> &'static str {
    if request.to.is_ipv4() { "10.9.0.3" } else { "fd09::3" }
}

#[test]
fn cases_18_and_24_an_answer_from_another_source_is_foreign() {
    check_forged(|request| vec![request.reply().from(other(request))]);
}

/// Case 24 of the sweep's list: who answers without having been asked is not found, and who was asked is not found by it.
#[test]
fn answers_from_outside_the_set_find_nobody() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        // The neighbour's answer; odd hosts answer for themselves, too.
        let neighbour = match request.to {
            std::net::IpAddr::V4(host) => std::net::Ipv4Addr::from(u32::from(host) ^ 128).to_string(),
            std::net::IpAddr::V6(host) => std::net::Ipv6Addr::from(u128::from(host) ^ 128).to_string(),
        };
        let own = request.packet[if request.to.is_ipv4() { 19 } else { 39 }] % 2 == 1;
        let forged = request.reply().from(&neighbour);
        if own { vec![forged, request.reply()] } else { vec![forged] }
    });
    for targets in ["10.9.7.0-127", "fd09::700-77f"] {
        let yaml = format!("{{ targets: ['{targets}'], timeout: 100ms, rate: max, passes: 1 }}");
        check(&run::<Sweep>(&ours, &yaml), &[("targets", 128), ("alive", 64), ("dead", 64)]);
    }
}

#[test]
fn case_19_an_answer_with_any_other_byte_is_foreign() {
    check_forged(|request| {
        // Mark, index, session, padding.
        let at = [8, 15, 16, 20, 24, 40, 63][request.number % 7];
        vec![request.reply().with(|message| message[at] ^= 1)]
    });
}

#[test]
fn case_20_an_answer_with_another_sequence_or_identifier_is_foreign() {
    check_forged(|request| {
        let at = [7, 6, 5, 4][request.number % 4];
        vec![request.reply().with(|message| message[at] ^= 1)]
    });
}

#[test]
fn case_21_a_truncated_or_lengthened_answer_is_foreign() {
    check_forged(|request| {
        let length = [9, 20, 63, 65, 1000][request.number % 5];
        vec![request.reply().with(|message| message.resize(length, 0))]
    });
}

/// Case 22 of the sweep's list. The kernel itself keeps wrong checksums of IPv6 away: they are silence, and no loss of ours.
#[test]
fn an_answer_with_a_wrong_checksum_is_foreign() {
    // The sum is wrong, or it is that of other bytes.
    let foreign = check_unanswered(|request| {
        let at = [2, 8, 30, 63][request.number % 4];
        vec![request.reply().spoil(at, 0x40)]
    });
    assert!(foreign[0] >= 5, "the forged answers were not counted: {foreign:?}");
}

/// Case 23 of the sweep's list: our own echo request, sent back, is no reply; and the request of somebody else is none.
#[test]
fn echo_requests_are_no_answers() {
    check_unanswered(|request| {
        let request_again = |message: &mut Vec<u8>| message[0] = request.message[0];
        let fresh = |message: &mut Vec<u8>| {
            request_again(message);
            message[4..].fill(7);
        };
        vec![request.reply().with(request_again), request.reply().with(fresh)]
    });
}

/// Case 25 of the sweep's list: random bytes behind a right header, and as a header.
#[test]
fn random_bytes_are_no_answers() {
    let mut chance = Chance(25);
    check_unanswered(move |request| {
        let mut random = |least: usize, most: usize| -> Vec<u8> {
            let length = least + chance.below(most - least);
            std::iter::repeat_with(|| chance.next().to_le_bytes()[0]).take(length).collect()
        };
        let (message, payload, header) = (random(0, 1400), random(0, 1400), random(24, 60));
        let header_too = move |packet: &mut Vec<u8>| {
            for (to, byte) in packet[1..].iter_mut().zip(header) {
                *to = byte;
            }
        };
        let with_payload = |message: &mut Vec<u8>| {
            message.truncate(8);
            message.extend(payload);
        };
        vec![request.answer(message), request.reply().with(with_payload), request.reply().raw(header_too)]
    });
}

/// Case 25 of the sweep's list: what carries IP options or an IPv6 extension header is an answer like another, a forged one no
/// more than another.
#[test]
fn options_and_extension_headers_make_no_difference() {
    let ours = Namespace::new();
    let responder = Responder::start(&ours, |request| vec![request.reply().options()]);
    for host in HOSTS {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 3, interval: 1ms }}"));
        check(&outcome, &[("received", 3), ("lost", 0), ("duplicates", 0), ("ttl", 64)]);
    }
    drop(responder);
    check_forged(|request| vec![request.reply().with(|message| message[30] ^= 1).options()]);
}

#[test]
fn a_forger_beside_an_honest_host_changes_nothing() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        let forged = || request.reply().with(|message| message[30] ^= 1);
        vec![forged(), request.reply().after(20), forged().after(30)]
    });
    for host in HOSTS {
        let yaml = format!("{{ host: '{host}', count: 5, interval: 60ms, timeout: 1s }}");
        let outcome = run::<Ping>(&ours, &yaml);
        check(&outcome, &[("sent", 5), ("received", 5), ("lost", 0), ("duplicates", 0), ("late", 0)]);
        assert!(number(&outcome, "rtt_min") >= 0.020);
    }
}

/// A forged answer to a request by somebody who sees it, and who has seen those before.
fn forge(chance: &mut Chance, request: &Request, earlier: &[Request]) -> Answer {
    let reply = request.reply();
    let (at, bits) = (4 + chance.below(60), 1u8 << chance.below(8));
    let flip = |message: &mut Vec<u8>| message[at] ^= bits;
    match chance.below(9) {
        0 => reply.with(flip),
        1 => reply.with(flip).options(),
        2 => reply.from(other(request)),
        3 => reply.spoil(2 + chance.below(62), bits),
        4 => reply.with(|message| message.truncate(4 + chance.below(60))),
        5 => reply.with(|message| message.resize(65 + chance.below(1200), 0x5a)),
        6 => reply.with(|message| message[8..].fill_with(|| chance.next().to_le_bytes()[0])),
        7 => reply.with(|message| message[4..8].fill_with(|| chance.next().to_le_bytes()[0] | 1)),
        // What another host was asked, with the right mark for that one.
        _ => {
            let stranger = earlier
                .get(chance.below(earlier.len().max(1)))
                .filter(|known| known.to != request.to && known.from == request.from);
            stranger.map_or_else(
                || request.reply().with(flip),
                |known| known.reply().from(&request.to.to_string()),
            )
        }
    }
}

/// Cases 18 to 25 of the sweep's list: of so many forged answers none makes a host alive. `NETJOBS_FORGED=1000000` by hand.
#[test]
fn not_one_of_many_forged_answers_is_believed() {
    let wanted: u64 = std::env::var("NETJOBS_FORGED").map_or(40_000, |text| text.parse().unwrap());
    let ours = Namespace::new();
    let (mut chance, mut earlier) = (Chance(wanted), vec![]);
    let _responder = Responder::start(&ours, move |request| {
        if earlier.len() == 300 {
            earlier.remove(0);
        }
        let one = |index: u64| forge(&mut chance, request, &earlier).after(Duration::from_micros(index * 20));
        let answers = (0..100).map(one).collect();
        earlier.push(request.clone());
        answers
    });
    let (mut forged, mut foreign) = (0, 0);
    for _ in 0..wanted.div_ceil(40_000) {
        for targets in ["10.9.7.1-200", "fd09::701-7c8"] {
            let yaml = format!("{{ targets: ['{targets}'], timeout: 100ms, passes: 1 }}");
            let ran = try_run::<Sweep>(&ours, &yaml);
            let outcome = ran.result.unwrap();
            check(&outcome, &[("targets", 200), ("alive", 0), ("dead", 200)]);
            forged += count(&outcome, "packets") * 100;
            foreign += ran.foreign;
        }
    }
    println!("{forged} forged answers, {foreign} of them kept away by us and the rest by the kernel");
    assert!(foreign > forged / 2, "{foreign} of {forged}");
}
