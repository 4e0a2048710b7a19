//! An engine that runs under a clock that follows tokio's paused one, and the story of what happened in it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use netjobs::{
    context::Shared,
    diagnostic::Report,
    event::{Event, Finished},
    job::Job,
    meter::{Counter, Registry},
    outcome::{Cause, Verdict},
    run::{Clock, Control, Mode, Reading, Set, Start, Summary, control, run},
    state::State,
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

pub(crate) use super::rooms::*;

/// The wall clock at the start of each test.
pub(crate) const DAWN: &str = "2026-03-01T00:00:00Z";

/// Follows tokio's clock, and can be set and put to sleep.
pub(crate) struct TestClock {
    start: Instant,
    slept: AtomicI64,
    set: AtomicI64,
    /// Nanoseconds that a reading takes, how many still take that, and what they took so far.
    cost: AtomicI64,
    left: AtomicI64,
    spent: AtomicI64,
}

impl Clock for TestClock {
    fn read(&self) -> Reading {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.spent.fetch_add(self.cost.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let slept = SignedDuration::from_millis(self.slept.load(Ordering::Relaxed));
        let spent = SignedDuration::from_nanos(self.spent.load(Ordering::Relaxed));
        let boot = SignedDuration::try_from(self.start.elapsed()).unwrap() + slept + spent;
        let set = SignedDuration::from_millis(self.set.load(Ordering::Relaxed));
        let wall = DAWN.parse::<Timestamp>().unwrap() + boot + set;
        Reading { boot: boot.try_into().unwrap(), wall }
    }
}

impl TestClock {
    fn new() -> Self {
        let zero = || AtomicI64::new(0);
        let (slept, set, cost, left, spent) = (zero(), zero(), zero(), zero(), zero());
        Self { start: Instant::now(), slept, set, cost, left, spent }
    }
    /// The machine sleeps: both clocks go on, timers do not.
    pub(crate) fn sleep(&self, time: Duration) {
        self.slept.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
    /// So many readings take time, and with them the work around them.
    pub(crate) fn costs(&self, cost: Duration, readings: i64) {
        self.cost.store(i64::try_from(cost.as_nanos()).unwrap(), Ordering::Relaxed);
        self.left.store(readings, Ordering::Relaxed);
    }
    /// Somebody sets the wall clock.
    pub(crate) fn step(&self, seconds: i64) {
        self.set.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

/// An engine that runs.
pub(crate) struct Rig {
    pub(crate) control: Control,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) dropped: Counter,
    /// What a reload will read.
    pub(crate) files: Arc<Mutex<std::result::Result<Vec<Job>, Report>>>,
    pub(crate) reads: Arc<AtomicUsize>,
    events: mpsc::Receiver<Event>,
    engine: JoinHandle<Summary>,
}

/// More events than any test makes.
const ROOM: usize = 1 << 20;

impl Rig {
    pub(crate) fn new(mode: Mode, jobs: Vec<Job>) -> Self {
        Self::with_room(mode, jobs, ROOM)
    }

    /// With an engine whose sinks take that many events before one is read.
    pub(crate) fn with_room(mode: Mode, jobs: Vec<Job>, room: usize) -> Self {
        Self::build(None, mode, jobs, room, TestClock::new(), None)
    }

    /// With runs that are elsewhere.
    pub(crate) fn on(runs: Option<Handle>, mode: Mode, jobs: Vec<Job>, room: usize) -> Self {
        Self::build(runs, mode, jobs, room, TestClock::new(), None)
    }

    /// A daemon that begins so many seconds after the first dawn, with what an earlier one kept.
    pub(crate) fn later(jobs: Vec<Job>, seconds: u64, state: Option<State>) -> Self {
        let clock = TestClock::new();
        clock.sleep(secs(seconds));
        Self::build(None, Mode::Daemon, jobs, ROOM, clock, state)
    }

    fn build(
        runs: Option<Handle>,
        mode: Mode,
        jobs: Vec<Job>,
        room: usize,
        clock: TestClock,
        state: Option<State>,
    ) -> Self {
        let (sender, events) = mpsc::channel(room);
        let (control, commands) = control();
        let clock = Arc::new(clock);
        let (files, reads) = (Arc::new(Mutex::new(Ok(vec![]))), Arc::new(AtomicUsize::new(0)));
        let shared = Shared::with_state(Registry::new(100_000), state);
        let dropped = Counter::default();
        let (read_from, count) = (files.clone(), reads.clone());
        let start = Start {
            set: Set { jobs, left_out: vec![] },
            shared: shared.clone(),
            events: sender,
            dropped: dropped.clone(),
            commands,
            loader: Some(Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                read_from.lock().unwrap().clone().map(|jobs| Set { jobs, left_out: vec![] })
            })),
            mode,
            grace: Duration::from_secs(30),
            drain_idle: Duration::from_secs(5),
            clock: clock.clone(),
            runs,
        };
        let engine = TaskTracker::new().spawn(run(start));
        Self { control, clock, shared, dropped, files, reads, events, engine }
    }

    pub(crate) fn daemon(jobs: Vec<Job>) -> Self {
        Self::new(Mode::Daemon, jobs)
    }

    /// Waits for an event.
    pub(crate) async fn until(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        loop {
            let event = self.events.recv().await.expect("the engine goes on until the event comes");
            if is_it(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn until_ready(&mut self, name: &str) {
        self.until(|event| matches!(event, Event::JobReady { job, .. } if &*job.name == name)).await;
    }

    pub(crate) async fn until_finished(&mut self, name: &str) -> Finished {
        let is_it = |event: &Event| matches!(event, Event::RunFinished(run) if &*run.job.name == name);
        let Event::RunFinished(run) = self.until(is_it).await else { unreachable!("it is that event") };
        *run
    }

    /// Reloads this set.
    pub(crate) async fn reload(&self, jobs: Vec<Job>) -> netjobs::run::ReloadSummary {
        *self.files.lock().unwrap() = Ok(jobs);
        self.control.reload().await.expect("the set is right")
    }

    /// Lets a time pass, ends the engine, and returns all that happened.
    pub(crate) async fn stop_after(self, time: Duration) -> Story {
        sleep(time).await;
        self.control.stop(netjobs::run::Signal::Terminate);
        self.story().await
    }

    /// Waits for the engine's end; returns all that happened and was not waited for.
    pub(crate) async fn story(mut self) -> Story {
        let summary = self.engine.await.expect("the engine does not break");
        let mut events = Vec::new();
        while let Some(event) = self.events.recv().await {
            events.push(event);
        }
        Story { events, summary }
    }
}

/// Plays `once`.
pub(crate) async fn once(jobs: Vec<Job>) -> Story {
    Rig::new(Mode::Once { select: vec![] }, jobs).story().await
}

/// All that happened.
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
    pub(crate) summary: Summary,
}

impl Story {
    /// The finished runs of a job.
    pub(crate) fn runs(&self, name: &str) -> Vec<&Finished> {
        let finished = |event: &'_ Event| matches!(event, Event::RunFinished(run) if &*run.job.name == name);
        let runs = self.events.iter().filter(|event| finished(event));
        runs.filter_map(|event| if let Event::RunFinished(run) = event { Some(&**run) } else { None })
            .collect()
    }

    /// The only finished run of a job.
    #[track_caller]
    pub(crate) fn run(&self, name: &str) -> &Finished {
        let runs = self.runs(name);
        assert_eq!(runs.len(), 1, "runs of {name}: {runs:?}");
        runs[0]
    }

    #[track_caller]
    pub(crate) fn check_verdict(&self, name: &str, verdict: Verdict) -> &Finished {
        let run = self.run(name);
        assert_eq!(run.verdict, verdict, "{run:?}");
        run
    }

    /// How many starts of a job were skipped for a cause.
    pub(crate) fn skipped(&self, name: &str, cause: Cause) -> u64 {
        let count = |event: &Event| match event {
            Event::RunSkipped { job, cause: found, count, .. } if &*job.name == name && *found == cause => {
                *count
            }
            _ => 0,
        };
        self.events.iter().map(count).sum()
    }

    /// The places of events in the story.
    pub(crate) fn places(&self, is_it: impl Fn(&Event) -> bool) -> Vec<usize> {
        (0..self.events.len()).filter(|at| is_it(&self.events[*at])).collect()
    }

    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.places(is_it).len()
    }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
