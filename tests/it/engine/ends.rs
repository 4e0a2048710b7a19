//! How it ends: nothing new, then the grace, then force; and at once when told twice.

use std::sync::{Arc, Mutex};

use netjobs::{
    event::Event,
    exit::Code,
    outcome::{Reason, Verdict},
    run::{Mode, Signal},
};
use tokio::time::{Instant, sleep};

use super::rig::*;

#[tokio::test(start_paused = true)]
async fn an_idle_runner_ends_at_once() {
    let rig = Rig::daemon(vec![serves("a"), passes_after("b", millis(1)).every("1h")]);
    sleep(secs(5)).await;
    let begun = Instant::now();
    let story = rig.stop_after(secs(0)).await;
    assert!(begun.elapsed() <= millis(100), "{:?}", begun.elapsed());
    assert!(matches!(story.events.last(), Some(Event::Stopped)));
    assert_eq!(story.summary.exit_code(), Code::Passed);
}

#[tokio::test(start_paused = true)]
async fn runs_are_cancelled_drained_and_at_the_grace_killed() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    let stubborn = service("a", move |cx| {
        let seen = seen.clone();
        Box::pin(async move {
            cx.ready(vec![]);
            let stop = cx.stop().clone();
            let begun = Instant::now();
            stop.cancel.cancelled().await;
            seen.lock().unwrap().push(("cancel", begun.elapsed().as_secs()));
            stop.drain.cancelled().await;
            seen.lock().unwrap().push(("drain", begun.elapsed().as_secs()));
            stop.kill.cancelled().await;
            seen.lock().unwrap().push(("kill", begun.elapsed().as_secs()));
            assert_eq!(stop.drain_idle, secs(5));
            passed()
        })
    });
    let story = Rig::daemon(vec![stubborn]).stop_after(secs(10)).await;
    assert_eq!(*steps.lock().unwrap(), [("cancel", 10), ("drain", 10), ("kill", 40)]);
    assert_eq!(story.run("a").duration.as_secs(), 40);
    assert_eq!(story.summary.exit_code(), Code::Terminated, "the drain was cut short");
}

#[tokio::test(start_paused = true)]
async fn a_deaf_run_is_cut_off_after_the_grace() {
    let deaf =
        check("a", |_| Box::pin(async { std::future::pending().await })).with(|job| job.run_timeout = None);
    let begun = Instant::now();
    let story = Rig::daemon(vec![deaf]).stop_after(secs(1)).await;
    assert!(begun.elapsed() <= millis(31_200), "{:?}", begun.elapsed());
    let run = story.check_verdict("a", Verdict::Errored);
    assert_eq!(run.reason, Some(Reason::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_at_once() {
    let deaf = service("a", |_| Box::pin(async { std::future::pending().await }));
    let rig = Rig::daemon(vec![deaf]);
    sleep(secs(1)).await;
    let begun = Instant::now();
    rig.control.stop(Signal::Interrupt);
    sleep(secs(1)).await;
    let story = rig.stop_after(secs(0)).await;
    assert!(begun.elapsed() <= millis(1100));
    assert_eq!(story.summary.exit_code(), Code::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_a_service_started_are_waited_for() {
    let done = Arc::new(Mutex::new(false));
    let seen = done.clone();
    let working = service("a", move |cx| {
        let seen = seen.clone();
        Box::pin(async move {
            cx.ready(vec![]);
            cx.spawn(async move {
                sleep(secs(12)).await;
                *seen.lock().unwrap() = true;
            });
            cx.cancelled().await;
            passed()
        })
    });
    let story = Rig::daemon(vec![working]).stop_after(secs(2)).await;
    assert!(*done.lock().unwrap());
    assert_eq!(story.run("a").duration.as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_the_command_line_that_a_signal_ends_has_passed() {
    let story = Rig::new(Mode::AdHoc, vec![serves("a")]).stop_after(secs(3)).await;
    assert_eq!(story.summary.exit_code(), Code::Passed);
    let patient = check("a", |cx| {
        Box::pin(async move {
            cx.cancelled().await;
            passed()
        })
    });
    let story = Rig::new(Mode::AdHoc, vec![patient]).stop_after(secs(3)).await;
    assert_eq!(story.summary.exit_code(), Code::Terminated, "a check was interrupted");
}
