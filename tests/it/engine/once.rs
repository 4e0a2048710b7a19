//! `once`: every job a case, in the order of `needs`, and an end whatever happens.

use std::sync::{Arc, Mutex};

use netjobs::{
    event::Event,
    exit::Code,
    outcome::{Cause, Outcome, Reason, Samples, Verdict},
    run::{Mode, Signal},
};
use tokio::time::{Instant, sleep};

use super::rig::*;

fn fails(name: &str) -> netjobs::job::Job {
    check(name, |_| Box::pin(async { Ok(Outcome::failed(Reason::Refused, "refused", Samples::default())) }))
}

#[tokio::test(start_paused = true)]
async fn checks_run_beside_each_other_after_their_needs_while_services_serve() {
    let begun = Instant::now();
    let jobs = vec![
        passes_after("last", secs(1)).needs(&["left", "right"]),
        passes_after("left", secs(5)).every("1h"),
        passes_after("right", secs(5)).cron("0 0 1 1 *"),
        serves("web"),
    ];
    let story = once(jobs).await;
    assert_eq!(begun.elapsed().as_secs(), 6);
    for name in ["last", "left", "right", "web"] {
        story.check_verdict(name, Verdict::Passed);
    }
    assert_eq!(story.summary.exit_code(), Code::Passed);
    let ended = |name: &'static str| move |event: &Event| matches!(event, Event::RunFinished(run) if &*run.job.name == name);
    assert!(story.places(ended("last")) < story.places(ended("web")), "services are judged at the end");
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_failed_job_is_skipped_with_a_record_of_its_own() {
    let jobs = vec![
        passes_after("third", secs(1)).needs(&["second"]),
        passes_after("second", secs(1)).needs(&["first"]),
        fails("first"),
        passes_after("free", secs(1)),
        passes_after("lost", secs(1)).needs(&["nobody"]),
    ];
    let story = once(jobs).await;
    story.check_verdict("first", Verdict::Failed);
    story.check_verdict("free", Verdict::Passed);
    let run = story.check_verdict("second", Verdict::Skipped);
    assert_eq!(run.message.as_deref(), Some("needs `first`, which has not passed"));
    story.check_verdict("third", Verdict::Skipped);
    let run = story.check_verdict("lost", Verdict::Skipped);
    assert_eq!(run.message.as_deref(), Some("needs `nobody`, which is not in the plan"));
    assert_eq!(story.skipped("third", Cause::Needs), 1);
    assert_eq!(story.summary.exit_code(), Code::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_circle_comes_to_an_end() {
    let jobs = vec![passes_after("a", secs(1)).needs(&["b"]), passes_after("b", secs(1)).needs(&["a"])];
    let story = once(jobs).await;
    story.check_verdict("a", Verdict::Skipped);
    story.check_verdict("b", Verdict::Skipped);
}

#[tokio::test(start_paused = true)]
async fn checks_wait_for_services_but_not_for_ever() {
    let slow = service("slow", |cx| {
        Box::pin(async move {
            sleep(secs(2)).await;
            cx.ready(vec![]);
            cx.cancelled().await;
            passed()
        })
    });
    let story = once(vec![passes_after("a", millis(1)), slow]).await;
    assert_eq!(story.run("a").started.to_string(), "2026-03-01T00:00:02Z");

    let silent = service("silent", |cx| {
        Box::pin(async move {
            cx.cancelled().await;
            passed()
        })
    });
    let story =
        once(vec![passes_after("a", millis(1)), passes_after("b", millis(1)).needs(&["silent"]), silent])
            .await;
    story.check_verdict("a", Verdict::Passed);
    story.check_verdict("b", Verdict::Skipped);
    let run = story.check_verdict("silent", Verdict::Failed);
    assert_eq!((run.reason, run.message.as_deref()), (Some(Reason::Timeout), Some("did not become ready")));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_is_a_failed_case_and_is_not_started_again() {
    let broken = service("web", |_| Box::pin(async { panic!("no") }));
    let story = once(vec![broken, passes_after("a", secs(5))]).await;
    story.check_verdict("web", Verdict::Errored);
    story.check_verdict("a", Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn what_a_service_expects_is_judged_at_the_end() {
    let counting = |name: &str| {
        service(name, |cx| {
            Box::pin(async move {
                cx.ready(vec![]);
                cx.cancelled().await;
                let mut samples = Samples::default();
                samples.count("tries", 3);
                Ok(Outcome::passed(samples))
            })
        })
    };
    let story =
        once(vec![counting("right").expect("tries", "3"), counting("wrong").expect("tries", "> 3")]).await;
    story.check_verdict("right", Verdict::Passed);
    let run = story.check_verdict("wrong", Verdict::Failed);
    assert_eq!(run.message.as_deref(), Some("tries: wanted > 3, measured 3"));
}

#[tokio::test(start_paused = true)]
async fn selected_jobs_bring_what_they_need() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let noting = |name: &'static str| {
        let ran = ran.clone();
        check(name, move |_| {
            ran.lock().unwrap().push(name);
            Box::pin(async { passed() })
        })
    };
    let jobs = vec![noting("db-ping").needs(&["net"]), noting("db-query"), noting("net"), noting("web")];
    let rig = Rig::new(Mode::Once { select: vec!["db-*".into()] }, jobs);
    rig.story().await;
    let mut ran = ran.lock().unwrap().clone();
    ran.sort_unstable();
    assert_eq!(ran, ["db-ping", "db-query", "net"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_leaves_a_record_for_every_job_and_its_own_code() {
    let patient = check("a", |cx| {
        Box::pin(async move {
            cx.cancelled().await;
            passed()
        })
    });
    let rig =
        Rig::new(Mode::Once { select: vec![] }, vec![patient, passes_after("b", secs(1)).needs(&["a"])]);
    sleep(secs(1)).await;
    rig.control.stop(Signal::Interrupt);
    let story = rig.story().await;
    let run = story.check_verdict("a", Verdict::Errored);
    assert_eq!(run.reason, Some(Reason::Cancelled));
    story.check_verdict("b", Verdict::Skipped);
    assert_eq!(story.summary.exit_code(), Code::Interrupted);
}
