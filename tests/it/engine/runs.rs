//! What becomes of one run: retries, deadlines, panics, expectations.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use netjobs::{
    event::Event,
    kind::Error,
    outcome::{Notice, Outcome, Reason, Sample, Samples, Verdict},
    value::{AtLeastOne, Timespan},
};
use tokio::time::{Instant, sleep};

use super::rig::*;

/// A check that fails until its nth try.
fn passes_on_try(name: &str, wanted: u32) -> netjobs::job::Job {
    let tries = Arc::new(AtomicU32::new(0));
    check(name, move |_| {
        let tries = tries.clone();
        Box::pin(async move {
            let mut samples = Samples::default();
            let nth = tries.fetch_add(1, Ordering::SeqCst) + 1;
            samples.count("tries", u64::from(nth));
            if nth < wanted {
                Ok(Outcome::failed(Reason::Refused, "refused", samples))
            } else {
                Ok(Outcome::passed(samples))
            }
        })
    })
}

fn three_attempts(job: &mut netjobs::job::Job) {
    job.retry.attempts = AtLeastOne(3);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_tried_again_before_it_fails() {
    let story = once(vec![
        passes_on_try("third", 3).with(three_attempts),
        passes_on_try("fourth", 4).with(three_attempts),
    ])
    .await;
    let run = story.check_verdict("third", Verdict::Passed);
    assert_eq!((run.attempts, run.duration), (3, secs(3)), "pauses of one and two seconds");
    let run = story.check_verdict("fourth", Verdict::Failed);
    assert_eq!((run.attempts, run.reason), (3, Some(Reason::Refused)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_expectation_is_tried_again_too() {
    let story = once(vec![passes_on_try("a", 1).expect("tries", "3").with(three_attempts)]).await;
    let run = story.check_verdict("a", Verdict::Passed);
    assert_eq!(run.attempts, 3);
    assert_eq!(run.expectations[0].measured, Some(Sample::Count(3)));
}

#[tokio::test(start_paused = true)]
async fn what_is_expected_can_be_a_failure() {
    let story = once(vec![
        passes_on_try("same", 9).expect("reason", "refused"),
        passes_on_try("other", 9).expect("reason", "timeout"),
        passes_on_try("anything", 9).with(expects_nothing),
    ])
    .await;
    story.check_verdict("same", Verdict::Passed);
    let run = story.check_verdict("other", Verdict::Failed);
    assert_eq!(run.message.as_deref(), Some("refused; reason: wanted timeout, measured refused"));
    story.check_verdict("anything", Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn no_run_outlives_its_deadline_by_fifty_milliseconds() {
    let deaf = check("deaf", |_| Box::pin(async { std::future::pending().await }));
    let heeding = check("heeding", |cx| {
        Box::pin(async move {
            cx.cancelled().await;
            let mut samples = Samples::default();
            samples.count("tries", 7);
            Ok(Outcome::passed(samples))
        })
    });
    let bound = |job: &mut netjobs::job::Job| job.run_timeout = Some(Timespan::secs(3));
    let story = once(vec![deaf.with(bound).with(three_attempts), heeding.with(bound)]).await;
    for name in ["deaf", "heeding"] {
        let run = story.check_verdict(name, Verdict::Failed);
        assert_eq!((run.reason, run.attempts), (Some(Reason::Timeout), 1));
        assert!(run.duration >= secs(3) && run.duration <= millis(3050), "{:?}", run.duration);
        assert_eq!(run.message.as_deref(), Some("did not end within its `run_timeout` of 3s"));
    }
    assert_eq!(story.run("heeding").samples[0].find("tries"), Some(&Sample::Count(7)), "what it had is kept");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_verdict_and_the_others_go_on() {
    let broken = check("broken", |_| Box::pin(async { panic!("index out of bounds") })).every("1s");
    let story =
        Rig::daemon(vec![broken, passes_after("whole", millis(1)).every("1s")]).stop_after(secs(10)).await;
    assert_eq!((story.runs("broken").len(), story.runs("whole").len()), (10, 10));
    let run = story.runs("broken")[0];
    assert_eq!((run.verdict, run.reason), (Verdict::Errored, Some(Reason::Bug)));
    assert_eq!(run.message.as_deref(), Some("a defect of this program: index out of bounds"));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_look_is_errored_and_says_what_to_do() {
    let lacking = check("a", |_| {
        let hint = Some("be root".into());
        Box::pin(async {
            Err(Error::Cannot { reason: Reason::Permission, message: "no raw socket".into(), hint })
        })
    });
    let story = once(vec![lacking]).await;
    let run = story.check_verdict("a", Verdict::Errored);
    assert_eq!((run.reason, run.hint.as_deref()), (Some(Reason::Permission), Some("be root")));
    assert_eq!(story.summary.exit_code(), netjobs::exit::Code::Permission);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_verdict_is_told_once() {
    let story = Rig::daemon(vec![passes_on_try("a", 4).every("1s")]).stop_after(secs(10)).await;
    let changes: Vec<_> = story
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StateChanged { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [(None, Verdict::Failed), (Some(Verdict::Failed), Verdict::Passed)]);
}

#[tokio::test(start_paused = true)]
async fn notices_never_wait_and_what_finds_no_room_is_counted() {
    let chatty = check("a", |cx| {
        Box::pin(async move {
            for _ in 0..100 {
                cx.notice(Notice::Warning { message: "hm".into() });
            }
            passed()
        })
    });
    let rig = Rig::with_room(netjobs::run::Mode::AdHoc, vec![chatty], 10);
    let (dropped, begun) = (rig.dropped.clone(), Instant::now());
    sleep(secs(1)).await;
    let mut rig = rig;
    rig.until_finished("a").await;
    assert!(dropped.value() >= 90, "{}", dropped.value());
    assert!(begun.elapsed() <= secs(2));
}

#[tokio::test(start_paused = true)]
async fn one_job_of_the_command_line_runs_once_and_all_is_over() {
    let rig = Rig::new(netjobs::run::Mode::AdHoc, vec![passes_after("a", secs(1))]);
    let story = rig.story().await;
    story.check_verdict("a", Verdict::Passed);
    assert!(matches!(story.events.last(), Some(Event::Stopped)));
    assert_eq!(story.summary.exit_code(), netjobs::exit::Code::Passed);
}

#[tokio::test(start_paused = true)]
async fn time_that_a_slow_sink_takes_is_no_time_of_the_run() {
    let quick =
        |name: &str| passes_after(name, secs(2)).with(|job| job.run_timeout = Some(Timespan::secs(3)));
    let mut rig = Rig::with_room(netjobs::run::Mode::AdHoc, vec![quick("a"), quick("b"), quick("c")], 1);
    sleep(secs(100)).await;
    for _ in 0..3 {
        let is_it = |event: &Event| matches!(event, Event::RunFinished(_));
        let Event::RunFinished(run) = rig.until(is_it).await else { unreachable!("it is that event") };
        assert_eq!((run.verdict, run.duration), (Verdict::Passed, secs(2)), "{run:?}");
    }
}
