//! Services: ready when they say so, started again when they break, open in their window, ended in order.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
};

use jiff::tz::TimeZone;
use netjobs::{
    event::Event,
    job::Open,
    kind::Error,
    outcome::{Outcome, Reason, Samples, Verdict},
    sink::{Sink, history::History},
    value::{Schedule, Timespan},
};
use tokio::time::{Instant, sleep};

use super::rig::*;

#[tokio::test(start_paused = true)]
async fn a_broken_service_starts_again_after_a_pause_that_doubles() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = starts.clone();
    let broken = service("a", move |_| {
        seen.lock().unwrap().push(Instant::now());
        Box::pin(async { Err(Error::Cannot { reason: Reason::Io, message: "broke".into(), hint: None }) })
    });
    let story =
        Rig::daemon(vec![broken, passes_after("b", millis(1)).every("1s")]).stop_after(secs(130)).await;
    let starts = starts.lock().unwrap();
    let pauses: Vec<_> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(story.runs("b").len(), 130, "the others go on");
    assert!(story.runs("a").iter().all(|run| run.verdict == Verdict::Errored));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ends_uncancelled_is_errored_and_one_that_has_done_its_work_stays_ended() {
    let failing = service("failing", |cx| {
        Box::pin(async move {
            cx.ready(vec![]);
            Ok(Outcome::failed(Reason::Reset, "upstream gone", Samples::default()))
        })
    });
    let done = service("done", |cx| {
        Box::pin(async move {
            cx.ready(vec![]);
            sleep(secs(1)).await;
            passed()
        })
    });
    let story = Rig::daemon(vec![failing, done]).stop_after(secs(20)).await;
    let run = story.runs("failing")[0];
    assert_eq!((run.verdict, run.reason), (Verdict::Errored, Some(Reason::Reset)));
    assert_eq!(run.message.as_deref(), Some("ended by itself: upstream gone"));
    story.check_verdict("done", Verdict::Passed);
}

/// Case 45 of the forward's list, and fault case 49.
#[tokio::test]
async fn a_port_that_is_taken_stops_nobody_else_and_is_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("127.0.0.1:{}", taken.local_addr().unwrap().port());
    let mut rig = Rig::daemon(vec![listens("a", &listen), serves("b")]);
    let (mut ready, mut ended) = (false, None);
    rig.until(|event| {
        match event {
            Event::JobReady { job, .. } => ready |= &*job.name == "b",
            Event::RunFinished(run) if &*run.job.name == "a" => ended = Some(run.clone()),
            _ => {}
        }
        ready && ended.is_some()
    })
    .await;
    let run = ended.unwrap();
    assert_eq!((run.verdict, run.reason), (Verdict::Errored, Some(Reason::AddressInUse)));
    assert!(run.message.unwrap().starts_with("bind "));
    drop(taken);
    rig.until_ready("a").await;
}

#[tokio::test(start_paused = true)]
async fn needs_are_waited_for_at_the_start_and_never_again() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = order.clone();
        move || order.lock().unwrap().push(name)
    };
    let (migrated, served, asked) = (note("migrated"), note("served"), note("asked"));
    let migrate = check("migrate", move |_| {
        migrated();
        Box::pin(async {
            sleep(secs(5)).await;
            passed()
        })
    });
    let serve = service("serve", move |cx| {
        served();
        Box::pin(async move {
            sleep(secs(3)).await;
            cx.ready(vec!["tcp://127.0.0.1:9".parse().unwrap()]);
            cx.cancelled().await;
            passed()
        })
    });
    let ask = check("ask", move |cx| {
        asked();
        let address = cx.address_of("serve").map(|address| address.to_string());
        Box::pin(async move {
            assert_eq!(address.as_deref(), Some("tcp://127.0.0.1:9"));
            passed()
        })
    });
    let jobs = vec![ask.needs(&["serve"]), serve.needs(&["migrate"]), migrate];
    let story = Rig::daemon(jobs).stop_after(secs(20)).await;
    assert_eq!(*order.lock().unwrap(), ["migrated", "served", "asked"]);
    assert_eq!(story.run("ask").started.to_string(), "2026-03-01T00:00:08Z");
    story.check_verdict("ask", Verdict::Passed);
    story.check_verdict("serve", Verdict::Passed);
}

/// Open for ten minutes of each hour.
fn has_window(job: &mut netjobs::job::Job) {
    let cron = Some("10 * * * *".parse().unwrap());
    let schedule =
        Schedule { every: None, cron, timezone: TimeZone::UTC, at: None, jitter: Timespan::default() };
    job.open = Some(Open { schedule, length: Timespan::secs(600) });
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_window_is_over_is_not_up_while_it_drains() {
    let draining = service("a", |cx| {
        Box::pin(async move {
            cx.ready(vec![]);
            cx.cancelled().await;
            sleep(secs(20)).await;
            passed()
        })
    });
    let mut rig = Rig::daemon(vec![draining.with(has_window)]);
    let history = History::new();
    let mut keeper = history.sink();
    let mut stands = vec![];
    // The engine tells that it closes, and 20 s later that it has ended.
    rig.until(|event| {
        keeper.event(event);
        let (ready, missing) = (history.rows()[0].ready.is_some(), !history.not_ready().is_empty());
        match event {
            Event::JobReady { .. } => stands.push(("ready", ready, missing)),
            Event::JobClosing { .. } => stands.push(("closing", ready, missing)),
            Event::RunFinished(run) => stands.push(("ended", ready, run.duration < secs(620))),
            _ => {}
        }
        matches!(event, Event::RunFinished(_))
    })
    .await;
    assert_eq!(stands, [("ready", true, false), ("closing", false, false), ("ended", false, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_window_opens_and_closes_a_service() {
    let window = serves("a").with(has_window);
    let story = Rig::daemon(vec![window]).stop_after(secs(2 * 3600)).await;
    let spans: Vec<_> =
        story.runs("a").iter().map(|run| (run.started.to_string(), run.duration.as_secs())).collect();
    let wanted = [("2026-03-01T00:10:00Z".to_owned(), 600), ("2026-03-01T01:10:00Z".to_owned(), 600)];
    assert_eq!(spans, wanted);
    let next = story.places(|event| matches!(event, Event::NextRun { at: Some(_), .. }));
    assert_eq!(next.len(), 3, "each opening is told, the coming one too");
}

/// A service that listens, is ready, and ends when it is cancelled.
fn listens(name: &str, at: &str) -> netjobs::job::Job {
    listening(serves(name), at)
}
