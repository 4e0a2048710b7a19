//! Tests of the `ipc` kind with children that misbehave: shells, since the test's own program is no child. The right
//! child is tested with the built program.

use super::*;
use crate::{
    context::testing::context,
    outcome::{Reason, Sample, Verdict},
};

fn shell(script: &str) -> Program {
    Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into(), "child".into()] }
}

async fn run(yaml: &str, script: &str) -> Outcome {
    let spec: Ipc = serde_yaml::from_str(yaml).unwrap();
    let (cx, _) = context(vec![], None);
    spec.run_with(&cx, &shell(script)).await.unwrap()
}

#[track_caller]
fn check(outcome: &Outcome, reason: Reason, child_exit: u64) {
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(reason)), "{outcome:?}");
    assert_eq!(outcome.samples[0].find("child_exit"), Some(&Sample::Count(child_exit)), "{outcome:?}");
}

/// Fault case 52: the child dies in the middle of a message.
#[tokio::test]
async fn case_52_a_child_that_dies_in_a_message_is_closed_with_its_status() {
    check(&run("{}", "head -c 30 >/dev/null; exit 3").await, Reason::Closed, 3);
    check(&run("{}", "head -c 30 >/dev/null; kill -9 $$").await, Reason::Closed, 137);
    check(&run("{ via: unix_stream }", "exit 4").await, Reason::Closed, 4);
    check(&run("{ via: unix_datagram }", "exit 5").await, Reason::Closed, 5);
}

/// Fault case 52: the child takes nothing, so that the queue fills.
#[tokio::test(start_paused = true)]
async fn case_52_a_full_queue_is_a_timeout_and_the_child_is_killed() {
    let outcome = run("{ size: 16MiB }", "exec sleep 1000").await;
    check(&outcome, Reason::Timeout, 137);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_never_comes_is_a_timeout() {
    check(&run("{ via: unix_stream }", "exec sleep 1000").await, Reason::Timeout, 137);
    check(&run("{ via: unix_datagram }", "exec sleep 1000").await, Reason::Timeout, 137);
}

#[tokio::test]
async fn a_wrong_answer_is_a_mismatch() {
    let outcome = run("{}", "exec cat <&0 >&0").await;
    check(&outcome, Reason::Mismatch, 0);
}

#[tokio::test]
async fn a_cancelled_run_ends_its_child() {
    let spec: Ipc = serde_yaml::from_str("{}").unwrap();
    let (cx, _) = context(vec![], None);
    cx.stop().cancel.cancel();
    let outcome = spec.run_with(&cx, &shell("exec sleep 1000")).await.unwrap();
    check(&outcome, Reason::Cancelled, 137);
}

#[tokio::test]
async fn a_program_that_is_not_there_means_that_we_cannot_look() {
    let spec: Ipc = serde_yaml::from_str("{}").unwrap();
    let (cx, _) = context(vec![], None);
    let program = Program { path: "/nonexistent/child".into(), arguments: vec![] };
    let error = spec.run_with(&cx, &program).await.unwrap_err();
    assert!(error.to_string().starts_with("start the child /nonexistent/child: "), "{error}");
}

#[test]
fn sizes_and_numbers_have_bounds() {
    for (yaml, path) in
        [("{ size: 0B }", "size"), ("{ size: 17MiB }", "size"), ("{ messages: 1000001 }", "messages")]
    {
        let spec: Ipc = serde_yaml::from_str(yaml).unwrap();
        let mut report = Report::default();
        spec.check(&mut report);
        assert_eq!(report.diagnostics.first().map(|found| found.path.as_str()), Some(path), "{yaml}");
    }
}
