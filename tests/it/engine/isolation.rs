//! What one run cannot do to the others: hold them up, talk them down, break them.

use std::{
    sync::{Arc, RwLock},
    thread,
    time::Duration,
};

use netjobs::{
    cli::runtime,
    event::Event,
    outcome::{Notice, Reason, Verdict},
    run::{Mode, Signal},
    sink::{Sink, history::History},
};
use tokio::time::timeout;

use super::rig::*;

/// On a busy machine a start may be as late as this; behind a run that holds its thread it would never come.
const BUSY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 50 });

/// A check that waits for the gate in a call that blocks its thread.
fn stuck(name: &str, gate: &Arc<RwLock<()>>) -> netjobs::job::Job {
    let gate = gate.clone();
    let job = check(name, move |_| {
        let gate = gate.clone();
        Box::pin(async move {
            drop(gate.read());
            passed()
        })
    });
    job.every("100ms").with(|job| job.run_timeout = Some("200ms".parse().unwrap()))
}

/// Fault case 66: as many runs as there are cores are stuck in a call; the others start on time, the stuck ones start
/// nothing more and are named, and run again once the call returns.
#[test]
fn runs_that_are_stuck_in_a_call_hold_up_no_other() {
    let runtimes = runtime::build().unwrap();
    let gate = Arc::new(RwLock::new(()));
    let names: Vec<Arc<str>> = (0..thread::available_parallelism().unwrap().get())
        .map(|number| format!("stuck-{number}").into())
        .collect();
    let mut jobs: Vec<_> = names.iter().map(|name| stuck(name, &gate)).collect();
    jobs.push(passes_after("quick", millis(1)).every("20ms"));
    let shut = gate.write().unwrap();
    runtimes.block_on(async {
        let mut rig = Rig::on(Some(runtimes.runs()), Mode::Daemon, jobs, 1 << 20);
        let (history, mut lags, mut starts, mut told) = (History::new(), vec![], 0, 0);
        let mut keeper = history.sink();
        let all_wedged = rig.until(|event| {
            keeper.event(event);
            match event {
                Event::RunFinished(run) if &*run.job.name == "quick" => lags.push(run.start_lag),
                Event::RunStarted { job, .. } if &*job.name != "quick" => starts += 1,
                Event::RunStuck { .. } => told += 1,
                _ => {}
            }
            history.wedged().len() == names.len()
        });
        timeout(secs(30), all_wedged).await.expect("all that are stuck count as wedged");
        assert_eq!(history.wedged(), names);
        assert_eq!(history.stale(), names);
        assert_eq!((starts, told), (names.len(), names.len()), "a stuck job holds one thread");
        lags.sort_unstable();
        assert!(lags.len() > 20 && lags[lags.len() / 2] < BUSY, "{lags:?}");
        drop(shut);
        for name in &names {
            let passed = rig.until(|event| {
                keeper.event(event);
                matches!(event, Event::RunFinished(run) if run.job.name == *name && run.verdict == Verdict::Passed)
            });
            timeout(secs(30), passed).await.expect("it runs again");
        }
        assert!(history.wedged().is_empty());
    });
}

/// A runner with a stuck run ends all the same, and so does its process.
#[test]
fn a_stuck_run_does_not_keep_the_runner_from_ending() {
    let gate = Arc::new(RwLock::new(()));
    let shut = gate.write().unwrap();
    let runtimes = runtime::build().unwrap();
    runtimes.block_on(async {
        let mut rig = Rig::on(Some(runtimes.runs()), Mode::Daemon, vec![stuck("stuck", &gate)], 1 << 20);
        rig.until(|event| matches!(event, Event::RunStuck { .. })).await;
        rig.control.stop(Signal::Terminate);
        let stopped = rig.until(|event| {
            assert!(!matches!(event, Event::RunReturned { .. }), "it is stuck still");
            matches!(event, Event::Stopped)
        });
        timeout(secs(20), stopped).await.expect("nobody waits for it");
    });
    runtimes.end();
    drop(shut);
}

/// Fault case 67: what panics in a task of a run, or while its room is dropped, ends that run alone, counts as a defect,
/// and the next run starts.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_or_a_destructor_ends_that_run_alone() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }
    fn breaks() {
        panic!("in a task");
    }
    let in_task = check("task", |cx| {
        Box::pin(async move {
            let _ = cx.spawn(async { breaks() }).await;
            passed()
        })
    });
    let in_drop = check("drop", |_| {
        Box::pin(async {
            let _bomb = Bomb;
            tokio::task::yield_now().await;
            passed()
        })
    });
    let serves = service("service", |_| Box::pin(async { panic!("in a service") }));
    let jobs =
        vec![in_task.every("1s"), in_drop.every("1s"), serves, passes_after("well", millis(1)).every("1s")];
    let story = Rig::daemon(jobs).stop_after(millis(5500)).await;
    for name in ["task", "drop"] {
        let runs = story.runs(name);
        assert!(runs.len() >= 5, "{name}: {runs:?}");
        assert!(
            runs.iter().all(|run| (run.verdict, run.reason) == (Verdict::Errored, Some(Reason::Bug))),
            "{runs:?}"
        );
    }
    assert!(story.runs("service").len() >= 2 && story.runs("service")[0].reason == Some(Reason::Bug));
    assert!(
        story.runs("well").len() >= 5 && story.runs("well").iter().all(|run| run.verdict == Verdict::Passed)
    );
}

/// Fault case 67: a run that floods the sinks loses its own words, each counted, and no other waits for it.
#[tokio::test(start_paused = true)]
async fn a_run_that_floods_the_sinks_loses_its_own_notices_only() {
    const NOTICES: usize = 10_000;
    let floods = check("floods", |cx| {
        Box::pin(async move {
            for _ in 0..NOTICES {
                cx.notice(Notice::Remark { message: "again".into() });
            }
            passed()
        })
    });
    // Nobody reads before the end.
    let rig = Rig::with_room(Mode::Daemon, vec![floods, passes_after("quick", millis(1)).every("1s")], 64);
    let dropped = rig.dropped.clone();
    let story = rig.stop_after(millis(4500)).await;
    let told = story.count(|event| matches!(event, Event::Notice { .. }));
    assert!(told <= 32, "half of the room is kept: {told}");
    assert_eq!(told as u64 + dropped.value(), NOTICES as u64);
    assert!(story.runs("quick").len() >= 4);
    assert!(story.runs("quick").iter().all(|run| run.start_lag < millis(10)));
}

/// Fault case 44: a deadline that passed while the process did not run is no verdict on an answer that came in time.
#[test]
fn a_deadline_that_passes_while_nothing_runs_fails_no_run_that_is_done() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let waits = check("waits", |_| {
        Box::pin(async {
            // As long as the process is starved nobody looks at either; then both are over.
            tokio::time::sleep(millis(50)).await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            passed()
        })
    });
    let waits = waits.with(|job| job.run_timeout = Some("100ms".parse().unwrap()));
    let story = runtime.block_on(async {
        let mut rig = Rig::daemon(vec![waits]);
        rig.until(|event| matches!(event, Event::RunStarted { .. })).await;
        tokio::task::yield_now().await;
        // The only thread does nothing else meanwhile.
        let (_sender, receiver) = std::sync::mpsc::sync_channel::<()>(0);
        let _ = receiver.recv_timeout(millis(400));
        let run = rig.until_finished("waits").await;
        drop(rig.stop_after(Duration::ZERO).await);
        run
    });
    assert_eq!(story.verdict, Verdict::Passed, "{story:?}");
}
