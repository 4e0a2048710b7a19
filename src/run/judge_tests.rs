//! What runs come to under every form of `expect`.

use super::*;
use crate::kind::Error;

const MEASURES: &[Measure] = &[
    Measure { name: "received", unit: Unit::Count, own: Some("> 0"), help: "" },
    Measure { name: "loss", unit: Unit::Ratio, own: None, help: "" },
    Measure { name: "rtt", unit: Unit::Seconds, own: None, help: "" },
    Measure { name: "up", unit: Unit::Flag, own: None, help: "" },
];

fn expect(entries: &[(&str, &str)]) -> Expect {
    Expect(entries.iter().map(|(name, text)| ((*name).to_owned(), vec![text.parse().unwrap()])).collect())
}

fn samples(received: u64, loss: f64) -> Samples {
    let mut samples = Samples::default();
    samples.count("received", received);
    samples.push("loss", Sample::Number(loss));
    samples.push("rtt", Sample::Number(0.012_345_6));
    samples.push("up", Sample::Flag(true));
    samples
}

/// What a room returns that could look.
type Looked = Result<Outcome, Error>;

/// What a ping finds: it has no opinion but for the reason of what went wrong.
#[expect(clippy::unnecessary_wraps, reason = "it is what a room returns")]
fn pinged(received: u64, loss: f64) -> Looked {
    let reason = (loss > 0.0).then_some(Reason::Timeout);
    Ok(Outcome { reason, ..Outcome::passed(samples(received, loss)) })
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a room returns")]
fn refused() -> Looked {
    Ok(Outcome::failed(Reason::Refused, "connect db:1: refused", Samples::default()))
}

fn denied() -> Result<Outcome, Error> {
    Err(Error::Cannot {
        reason: Reason::Permission,
        message: "no raw socket".into(),
        hint: Some("be root".into()),
    })
}

#[track_caller]
fn check(
    found: Result<Outcome, Error>,
    given: Option<&[(&str, &str)]>,
    verdict: Verdict,
    reason: Option<Reason>,
) -> Judgement {
    let given = given.map(expect);
    let judged = judge(found, MEASURES, given.as_ref());
    assert_eq!((judged.verdict, judged.reason), (verdict, reason), "{judged:?}");
    judged
}

use Verdict::{Errored, Failed, Passed};

#[test]
fn a_kind_s_own_expectations_stand_where_nothing_replaces_them() {
    check(pinged(4, 0.0), None, Passed, None);
    check(pinged(0, 1.0), None, Failed, Some(Reason::Timeout));
    check(pinged(0, 1.0), Some(&[("rtt", "< 1s")]), Failed, Some(Reason::Timeout));
    check(pinged(0, 1.0), Some(&[("received", "0")]), Passed, None);
}

#[test]
fn an_own_failure_of_the_room_stays_beside_other_expectations() {
    let judged = check(refused(), Some(&[("received", "> 0")]), Failed, Some(Reason::Refused));
    assert_eq!(judged.message.unwrap(), "connect db:1: refused; received: wanted > 0, not measured");
}

#[test]
fn expecting_nothing_passes_all_but_what_could_not_look() {
    check(pinged(0, 1.0), Some(&[]), Passed, None);
    check(refused(), Some(&[]), Passed, None);
    check(denied(), Some(&[]), Errored, Some(Reason::Permission));
}

#[test]
fn a_reason_or_verdict_can_be_what_is_expected() {
    check(refused(), Some(&[("reason", "refused")]), Passed, None);
    check(refused(), Some(&[("reason", "timeout")]), Failed, Some(Reason::Refused));
    check(pinged(0, 1.0), Some(&[("verdict", "failed")]), Passed, None);
    check(pinged(4, 0.0), Some(&[("verdict", "failed")]), Failed, Some(Reason::Expectation));
    check(pinged(4, 0.0), Some(&[("reason", "refused")]), Failed, Some(Reason::Expectation));
    check(denied(), Some(&[("reason", "permission")]), Passed, None);
    let judged = check(denied(), Some(&[("reason", "refused")]), Errored, Some(Reason::Permission));
    assert_eq!(judged.hint.as_deref(), Some("be root"));
    check(refused(), Some(&[("reason", "refused"), ("loss", "0")]), Failed, Some(Reason::Refused));
}

#[test]
fn a_broken_expectation_says_name_wanted_and_measured() {
    let judged = check(pinged(4, 0.0), Some(&[("rtt", "< 10ms")]), Failed, Some(Reason::Expectation));
    assert_eq!(judged.message.unwrap(), "rtt: wanted < 10ms, measured 12.346ms");
    let judged = check(pinged(3, 0.25), Some(&[("loss", "<= 5%")]), Failed, Some(Reason::Timeout));
    assert_eq!(judged.message.unwrap(), "loss: wanted <= 5%, measured 25%");
    let own = judged.expectations.iter().find(|judged| judged.name == "received").unwrap();
    assert!(own.held && own.measured == Some(Sample::Count(3)));
}

#[test]
fn a_measurement_that_does_not_exist_fails_its_comparison() {
    check(pinged(4, 0.0), Some(&[("jitter", "!= 5")]), Failed, Some(Reason::Expectation));
}

#[test]
fn each_family_is_judged_by_itself() {
    let mut outcome = pinged(4, 0.0).unwrap();
    outcome.samples[0].family = Some("ipv4");
    outcome.samples.push(Samples { family: Some("ipv6"), ..samples(2, 0.5) });
    let judged = check(Ok(outcome), Some(&[("loss", "0")]), Failed, Some(Reason::Expectation));
    assert_eq!(judged.message.unwrap(), "loss (ipv6): wanted 0, measured 50%");
    assert_eq!(judged.expectations.len(), 4);
}
