//! Forged and broken answers: none of them may make a host alive or an echo answered.

use netjobs::{
    kind::{ping::Ping, sweep::Sweep},
    outcome::Reason,
};

use super::{
    check, pair,
    peer::{Answer, OTHER, PEER, Scripted, after, reply, seal},
    run, try_run,
};

/// Runs a ping and a sweep against a peer that answers with nothing but what `forge` makes of an honest reply.
#[track_caller]
fn check_forged(mut forge: impl FnMut(usize, Vec<u8>) -> Vec<Answer> + Send + 'static) {
    let (ours, peer) = pair();
    let _scripted = Scripted::start(&peer, move |count, request| forge(count, reply(request)));
    let ran = try_run::<Ping>(&ours, "{ host: 10.9.0.2, count: 5, interval: 10ms, timeout: 300ms }");
    let outcome = ran.result.unwrap();
    check(&outcome, &[("sent", 5), ("received", 0), ("lost", 5), ("duplicates", 0), ("late", 0)]);
    assert_eq!(outcome.reason, Some(Reason::Timeout));
    assert!(ran.foreign > 0, "the forged answers were not counted");
    let outcome = run::<Sweep>(&ours, "{ targets: [10.9.0.2], method: icmp, timeout: 300ms, rate: max }");
    // Its station answers once.
    check(&outcome, &[("targets", 1), ("alive", 0), ("dead", 1), ("packets", 1 + 2)]);
}

fn at_once(message: Vec<u8>) -> Vec<Answer> {
    vec![Answer { message, ..after(0, &[0; 8]) }]
}

#[test]
fn cases_18_and_24_an_answer_from_another_source_is_foreign() {
    check_forged(|_, message| vec![Answer { from: OTHER, message, ..after(0, &[0; 8]) }]);
}

#[test]
fn case_19_an_answer_with_any_other_byte_is_foreign() {
    check_forged(|count, mut message| {
        // Mark, index, session, padding.
        let at = [8, 15, 16, 20, 24, 40, 63][count % 7];
        message[at] ^= 1;
        seal(&mut message);
        at_once(message)
    });
}

#[test]
fn case_20_an_answer_with_another_sequence_is_foreign() {
    check_forged(|_, mut message| {
        message[7] ^= 1;
        seal(&mut message);
        at_once(message)
    });
}

#[test]
fn case_21_a_truncated_or_lengthened_answer_is_foreign() {
    check_forged(|count, mut message| {
        message.resize([9, 20, 63, 65, 1000][count % 5], 0);
        seal(&mut message);
        at_once(message)
    });
}

#[test]
fn case_22_an_answer_with_a_wrong_checksum_is_foreign() {
    check_forged(|_, mut message| {
        message[2] ^= 0x40;
        at_once(message)
    });
}

#[test]
fn a_forger_beside_an_honest_host_changes_nothing() {
    let (ours, peer) = pair();
    let _scripted = Scripted::start(&peer, |_, request| {
        let mut forged = reply(request);
        forged[30] ^= 1;
        seal(&mut forged);
        let mut answers = at_once(forged.clone());
        answers.push(after(20, request));
        answers.push(Answer { from: PEER, message: forged, ..after(30, request) });
        answers
    });
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 5, interval: 60ms, timeout: 1s }");
    check(&outcome, &[("sent", 5), ("received", 5), ("lost", 0), ("duplicates", 0), ("late", 0)]);
    assert!(super::number(&outcome, "rtt_min") >= 0.020);
}
