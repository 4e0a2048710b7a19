//! Reloads: all or nothing, and what is the same is left alone.

use std::{
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use netjobs::{
    diagnostic::Report,
    event::Event,
    outcome::{Metric, Outcome, Reason, Samples},
};
use tokio::time::sleep;

use super::rig::*;

static SEEN: Metric = Metric::counter("netjobs_test_total", &[], "A test.");

fn identity(wanted: u64) -> impl FnOnce(&mut netjobs::job::Job) {
    move |job| job.identity = wanted
}

#[tokio::test(start_paused = true)]
async fn a_reload_adds_removes_changes_and_keeps() {
    let mut rig = Rig::daemon(vec![serves("kept"), serves("changed"), serves("removed")]);
    for _ in 0..3 {
        rig.until(|event| matches!(event, Event::JobReady { .. })).await;
    }
    let summary =
        rig.reload(vec![serves("kept"), serves("changed").with(identity(1)), serves("added")]).await;
    assert_eq!(summary.added, ["added".into()]);
    assert_eq!(summary.removed, ["removed".into()]);
    assert_eq!((summary.changed, summary.kept), (vec!["changed".into()], 1));
    let story = rig.stop_after(secs(1)).await;
    assert_eq!(story.runs("kept")[0].duration.as_secs(), 1, "it ran on until the end");
    assert_eq!(story.runs("changed").len(), 2);
    let places = |is_it: fn(&Event) -> bool| story.places(is_it);
    let gone = places(|event| matches!(event, Event::JobRemoved { job } if &*job.name == "removed"));
    assert_eq!(gone.len(), 1);
    for name in ["added", "changed"] {
        assert_eq!(story.count(|event| matches!(event, Event::JobAdded { job } if &*job.name == name)), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_check_keeps_its_phase_and_its_run() {
    let jobs = || vec![passes_after("a", secs(20)).every("1m")];
    let mut rig = Rig::daemon(jobs());
    rig.until(|event| matches!(event, Event::RunStarted { .. })).await;
    sleep(secs(10)).await;
    assert_eq!(rig.reload(jobs()).await.kept, 1);
    let first = rig.until_finished("a").await;
    assert_eq!(first.duration.as_secs(), 20);
    let second = rig.until_finished("a").await;
    assert_eq!(second.scheduled.duration_since(first.scheduled).as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_set_changes_nothing() {
    let mut rig = Rig::daemon(vec![passes_after("a", millis(1)).every("1s")]);
    let mut report = Report::default();
    report.error("", "unknown kind `pnig`", None);
    *rig.files.lock().unwrap() = Err(report);
    let refused = rig.control.reload().await.unwrap_err();
    assert_eq!(refused.diagnostics[0].message, "unknown kind `pnig`");
    rig.until(|event| matches!(event, Event::ConfigRejected { .. })).await;
    let story = rig.stop_after(secs(10)).await;
    assert_eq!(story.runs("a").len(), 10);
}

#[tokio::test]
async fn a_port_that_is_taken_rejects_the_reload_and_names_the_job() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let mut rig = Rig::daemon(vec![listening(serves("old"), "127.0.0.1:0")]);
    rig.until_ready("old").await;
    let fresh = vec![listening(serves("free"), "127.0.0.1:0"), listening(serves("web"), &port)];
    *rig.files.lock().unwrap() = Ok(fresh.clone());
    let refused = rig.control.reload().await.unwrap_err();
    assert_eq!(refused.diagnostics.len(), 1);
    let message = &refused.diagnostics[0].message;
    assert!(message.contains("job `web`") && message.contains(&port), "{message}");
    drop(taken);
    assert_eq!(rig.reload(fresh).await.added.len(), 2);
    rig.until_ready("web").await;
}

#[tokio::test]
async fn a_changed_service_hands_its_listener_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    drop(taken);
    let mut rig = Rig::daemon(vec![listening(serves("a"), &at)]);
    rig.until_ready("a").await;
    for version in 1..20 {
        let summary = rig.reload(vec![listening(serves("a"), &at).with(identity(version))]).await;
        assert_eq!(summary.changed.len(), 1);
        TcpStream::connect(&at).expect("somebody always listens");
    }
    assert_eq!(rig.reload(vec![listening(serves("b"), &at)]).await.removed.len(), 1);
    rig.until_ready("b").await;
    TcpStream::connect(&at).expect("the new job took the port over");
}

#[tokio::test(start_paused = true)]
async fn the_old_run_of_a_changed_service_keeps_its_connections() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let lingering = move || {
        let seen = seen.clone();
        service("a", move |cx| {
            let seen = seen.clone();
            Box::pin(async move {
                cx.ready(vec![]);
                cx.cancelled().await;
                sleep(secs(100)).await;
                seen.lock().unwrap().push(cx.stop().drain.is_cancelled());
                passed()
            })
        })
    };
    let mut rig = Rig::daemon(vec![lingering()]);
    rig.until_ready("a").await;
    rig.reload(vec![lingering().with(identity(1))]).await;
    rig.until_ready("a").await;
    let old = rig.until_finished("a").await;
    assert_eq!(old.duration.as_secs(), 100, "no grace ends it");
    assert_eq!(*told.lock().unwrap(), [false]);
}

#[tokio::test(start_paused = true)]
async fn a_check_in_flight_is_not_cancelled_by_a_change() {
    let jobs = |version| vec![passes_after("a", secs(20)).with(identity(version))];
    let mut rig = Rig::daemon(jobs(0));
    rig.until(|event| matches!(event, Event::RunStarted { .. })).await;
    rig.reload(jobs(1)).await;
    let old = rig.until_finished("a").await;
    assert_eq!((old.verdict, old.duration.as_secs()), (netjobs::outcome::Verdict::Passed, 20));
}

#[tokio::test(start_paused = true)]
async fn a_removed_job_s_series_vanish_and_a_changed_one_s_stay() {
    let counting = |name: &str| {
        service(name, |cx| {
            Box::pin(async move {
                cx.meters().counter(&SEEN, &[]).inc();
                cx.ready(vec![]);
                cx.cancelled().await;
                passed()
            })
        })
    };
    let mut rig = Rig::daemon(vec![counting("gone"), counting("kept")]);
    rig.until_ready("kept").await;
    rig.reload(vec![counting("kept").with(identity(1))]).await;
    rig.until(|event| matches!(event, Event::JobRemoved { .. })).await;
    rig.until_ready("kept").await;
    let mut text = String::new();
    rig.shared.registry.render(&mut text);
    assert!(!text.contains("gone"), "{text}");
    assert!(text.contains("netjobs_test_total{job_name=\"kept\",kind=\"service\"} 2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_reloads_comes_to_few() {
    let rig = Rig::daemon(vec![]);
    *rig.files.lock().unwrap() = Ok(vec![serves("a")]);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (control, answered) = (rig.control.clone(), answered.clone());
        asking.spawn(async move {
            control.reload().await.unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
        });
    }
    while asking.join_next().await.is_some() {}
    assert_eq!(answered.load(Ordering::SeqCst), 100, "each one is answered");
    let reads = rig.reads.load(Ordering::SeqCst);
    assert!(reads < 20, "{reads} reads for 100 wishes");
    let story = rig.stop_after(secs(1)).await;
    story.check_verdict("a", netjobs::outcome::Verdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_breaks_is_a_refusal() {
    let mut rig = Rig::daemon(vec![passes_after("a", millis(1)).every("1s")]);
    let files = rig.files.clone();
    let poisoned = std::thread::spawn(move || {
        let _held = files.lock().unwrap();
        panic!("poison the lock, so that the loader panics");
    });
    assert!(poisoned.join().is_err());
    for _ in 0..2 {
        let refused = rig.control.reload().await.unwrap_err();
        assert!(refused.diagnostics[0].message.contains("defect"), "{refused:?}");
    }
    rig.until_finished("a").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_with_other_labels_keeps_its_counts_also_while_its_old_run_goes_on() {
    let labelled = |site: &str| {
        let labels = [("site".to_owned(), site.to_owned())];
        let failing = check("a", |cx| {
            Box::pin(async move {
                cx.meters().counter(&SEEN, &[]).inc();
                Ok(Outcome::failed(Reason::Refused, "nobody is there", Samples::default()))
            })
        });
        let counting = failing.with(|job| job.retry.attempts = netjobs::value::AtLeastOne(3));
        counting.with(identity(site.len() as u64)).with(|job| job.labels = Arc::new(labels.into()))
    };
    let mut rig = Rig::daemon(vec![labelled("lab")]);
    rig.until(|event| matches!(event, Event::RunStarted { .. })).await;
    rig.reload(vec![labelled("home")]).await;
    // Both runs try three times with pauses between; neither brings the old labels back.
    for _ in 0..2 {
        assert_eq!(rig.until_finished("a").await.attempts, 3);
    }
    let mut text = String::new();
    rig.shared.registry.render(&mut text);
    assert!(text.contains("site=\"home\"} 6") && !text.contains("site=\"lab\""), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_job_s_series_and_memory_never_return_though_its_run_goes_on() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lingering = |seen: &Arc<Mutex<Vec<Option<u32>>>>| {
        let seen = seen.clone();
        service("a", move |cx| {
            let seen = seen.clone();
            Box::pin(async move {
                seen.lock().unwrap().push(cx.recall());
                cx.ready(vec![]);
                cx.cancelled().await;
                sleep(secs(10)).await;
                cx.meters().counter(&SEEN, &[]).inc();
                cx.keep(&7_u32);
                passed()
            })
        })
    };
    let shown = |rig: &Rig| {
        let mut text = String::new();
        rig.shared.registry.render(&mut text);
        text
    };
    let mut rig = Rig::daemon(vec![lingering(&seen)]);
    rig.until_ready("a").await;
    rig.reload(vec![]).await;
    rig.until(|event| matches!(event, Event::JobRemoved { .. })).await;
    rig.until_finished("a").await;
    assert_eq!(shown(&rig), "");
    rig.reload(vec![lingering(&seen)]).await;
    rig.until_ready("a").await;
    rig.reload(vec![]).await;
    rig.reload(vec![lingering(&seen).with(identity(1))]).await;
    rig.until_ready("a").await;
    rig.until_finished("a").await;
    assert_eq!(shown(&rig), "", "the run of the job that was there before");
    rig.reload(vec![lingering(&seen).with(identity(2))]).await;
    rig.until_finished("a").await;
    assert!(shown(&rig).ends_with("} 1\n"), "a changed job's last run counts");
    rig.reload(vec![lingering(&seen).with(identity(3))]).await;
    rig.until_ready("a").await;
    assert_eq!(*seen.lock().unwrap(), [None, None, None, None, Some(7)], "only a changed job remembers");
}
