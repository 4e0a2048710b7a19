//! Stand-in rooms, a clock that follows tokio's paused one, and an engine around them. No real socket, no real time.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use netjobs::{
    context::{Context, Shared},
    diagnostic::Report,
    event::{Event, Finished},
    job::Job,
    kind::{Error, Facts, Room, Running},
    meter::{Counter, Registry},
    net::listen::Listen,
    outcome::{Cause, Measure, Outcome, Samples, Unit, Verdict},
    run::{Clock, Control, Mode, Reading, Set, Start, Summary, control, run},
    value::{Expect, JobName, Missed, Overlap, Retry, Schedule, Timespan, schedule::At},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

pub type Result<T> = std::result::Result<T, Error>;
type Work = dyn for<'a> Fn(&'a Context) -> Running<'a> + Send + Sync;

/// A room that does what the test says.
#[derive(Clone)]
pub struct Stand {
    facts: &'static Facts,
    work: Arc<Work>,
    listens: Vec<Listen>,
}

const MEASURES: &[Measure] = &[Measure { name: "tries", unit: Unit::Count, own: None, help: "" }];

const fn facts(name: &'static str, service: bool) -> Facts {
    Facts {
        name,
        service,
        main: "",
        measures: MEASURES,
        metrics: &[],
        schema: |_| schemars::Schema::default(),
    }
}

static CHECK: Facts = facts("check", false);
static SERVICE: Facts = facts("service", true);

impl Room for Stand {
    fn facts(&self) -> &'static Facts {
        self.facts
    }
    fn check(&self, _: &mut Report) {}
    fn listens(&self) -> Vec<Listen> {
        self.listens.clone()
    }
    fn refers(&self) -> Vec<(String, &JobName)> {
        vec![]
    }
    fn longest(&self) -> Option<Duration> {
        None
    }
    fn is_unbounded(&self) -> bool {
        self.facts.service
    }
    fn run<'a>(&'a self, cx: &'a Context) -> Running<'a> {
        (self.work)(cx)
    }
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts.name)
    }
}

pub fn passed() -> Result<Outcome> {
    Ok(Outcome::passed(Samples::default()))
}

fn job(name: &str, facts: &'static Facts, work: Arc<Work>) -> Job {
    let at = (!facts.service).then_some(At::Start);
    Job {
        name: name.parse().unwrap(),
        schedule: Schedule {
            every: None,
            cron: None,
            timezone: TimeZone::UTC,
            at,
            jitter: Timespan::default(),
        },
        overlap: Overlap::Skip,
        missed: Missed::Skip,
        run_timeout: (!facts.service).then_some(Timespan::secs(30)),
        retry: Retry::default(),
        needs: vec![],
        expect: None,
        labels: Arc::new(BTreeMap::new()),
        open: None,
        room: Arc::new(Stand { facts, work, listens: vec![] }),
        identity: 0,
        place: "jobs/test.yaml:1".into(),
        base: Path::new(".").into(),
    }
}

/// A check that starts once, at start.
pub fn check(name: &str, work: impl for<'a> Fn(&'a Context) -> Running<'a> + Send + Sync + 'static) -> Job {
    job(name, &CHECK, Arc::new(work))
}

/// A service.
pub fn service(name: &str, work: impl for<'a> Fn(&'a Context) -> Running<'a> + Send + Sync + 'static) -> Job {
    job(name, &SERVICE, Arc::new(work))
}

/// A check that passes after a time.
pub fn passes_after(name: &str, time: Duration) -> Job {
    check(name, move |_| {
        Box::pin(async move {
            sleep(time).await;
            passed()
        })
    })
}

/// A service that is ready at once and ends when it is cancelled.
pub fn serves(name: &str) -> Job {
    service(name, |cx| {
        Box::pin(async move {
            cx.ready(vec!["tcp://127.0.0.1:7".parse().unwrap()]);
            cx.cancelled().await;
            passed()
        })
    })
}

/// What the tests change of a job.
pub trait With: Sized {
    fn every(self, period: &str) -> Self;
    fn cron(self, text: &str) -> Self;
    fn needs(self, names: &[&str]) -> Self;
    fn expect(self, name: &str, text: &str) -> Self;
    fn with(self, change: impl FnOnce(&mut Job)) -> Self;
}

impl With for Job {
    fn every(self, period: &str) -> Self {
        self.with(|job| {
            job.schedule.every = Some(period.parse().unwrap());
            job.schedule.at = None;
        })
    }
    fn cron(self, text: &str) -> Self {
        self.with(|job| {
            job.schedule.cron = Some(text.parse().unwrap());
            job.schedule.at = None;
        })
    }
    fn needs(self, names: &[&str]) -> Self {
        self.with(|job| job.needs = names.iter().map(|name| name.parse().unwrap()).collect())
    }
    fn expect(self, name: &str, text: &str) -> Self {
        self.with(|job| {
            job.expect.get_or_insert_default().0.push((name.into(), vec![text.parse().unwrap()]));
        })
    }
    fn with(mut self, change: impl FnOnce(&mut Job)) -> Self {
        change(&mut self);
        self
    }
}

/// Expects nothing at all.
pub fn nothing() -> Option<Expect> {
    Some(Expect::default())
}

/// The wall clock at the start of each test.
pub const DAWN: &str = "2026-03-01T00:00:00Z";

/// Follows tokio's clock, and can be set and put to sleep.
pub struct TestClock {
    start: Instant,
    slept: AtomicI64,
    set: AtomicI64,
}

impl Clock for TestClock {
    fn read(&self) -> Reading {
        let slept = SignedDuration::from_millis(self.slept.load(Ordering::Relaxed));
        let boot = SignedDuration::try_from(self.start.elapsed()).unwrap() + slept;
        let set = SignedDuration::from_millis(self.set.load(Ordering::Relaxed));
        let wall = DAWN.parse::<Timestamp>().unwrap() + boot + set;
        Reading { boot: boot.try_into().unwrap(), wall }
    }
}

impl TestClock {
    /// The machine sleeps: both clocks go on, timers do not.
    pub fn sleep(&self, time: Duration) {
        self.slept.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
    /// Somebody sets the wall clock.
    pub fn step(&self, seconds: i64) {
        self.set.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

/// An engine that runs.
pub struct Rig {
    pub control: Control,
    pub clock: Arc<TestClock>,
    pub shared: Arc<Shared>,
    pub dropped: Counter,
    /// What a reload will read.
    pub files: Arc<Mutex<std::result::Result<Vec<Job>, Report>>>,
    pub reads: Arc<AtomicUsize>,
    events: mpsc::Receiver<Event>,
    engine: JoinHandle<Summary>,
}

/// More events than any test makes.
const ROOM: usize = 1 << 20;

impl Rig {
    pub fn new(mode: Mode, jobs: Vec<Job>) -> Self {
        Self::with_room(mode, jobs, ROOM)
    }

    /// With an engine whose sinks take that many events before one is read.
    pub fn with_room(mode: Mode, jobs: Vec<Job>, room: usize) -> Self {
        let (sender, events) = mpsc::channel(room);
        let (control, commands) = control();
        let (slept, set) = (AtomicI64::new(0), AtomicI64::new(0));
        let clock = Arc::new(TestClock { start: Instant::now(), slept, set });
        let (files, reads) = (Arc::new(Mutex::new(Ok(vec![]))), Arc::new(AtomicUsize::new(0)));
        let (shared, dropped) = (Shared::new(Registry::new(100_000)), Counter::default());
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
        };
        let engine = TaskTracker::new().spawn(run(start));
        Self { control, clock, shared, dropped, files, reads, events, engine }
    }

    pub fn daemon(jobs: Vec<Job>) -> Self {
        Self::new(Mode::Daemon, jobs)
    }

    /// Waits for an event.
    pub async fn until(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        loop {
            let event = self.events.recv().await.expect("the engine goes on until the event comes");
            if is_it(&event) {
                return event;
            }
        }
    }

    pub async fn until_ready(&mut self, name: &str) {
        self.until(|event| matches!(event, Event::JobReady { job, .. } if &*job.name == name)).await;
    }

    pub async fn until_finished(&mut self, name: &str) -> Finished {
        let is_it = |event: &Event| matches!(event, Event::RunFinished(run) if &*run.job.name == name);
        let Event::RunFinished(run) = self.until(is_it).await else { unreachable!("it is that event") };
        *run
    }

    /// Reloads this set.
    pub async fn reload(&self, jobs: Vec<Job>) -> netjobs::run::ReloadSummary {
        *self.files.lock().unwrap() = Ok(jobs);
        self.control.reload().await.expect("the set is right")
    }

    /// Lets a time pass, ends the engine, and returns all that happened.
    pub async fn stop_after(self, time: Duration) -> Story {
        sleep(time).await;
        self.control.stop(netjobs::run::Signal::Terminate);
        self.story().await
    }

    /// Waits for the engine's end; returns all that happened and was not waited for.
    pub async fn story(mut self) -> Story {
        let summary = self.engine.await.expect("the engine does not break");
        let mut events = Vec::new();
        while let Some(event) = self.events.recv().await {
            events.push(event);
        }
        Story { events, summary }
    }
}

/// Plays `once`.
pub async fn once(jobs: Vec<Job>) -> Story {
    Rig::new(Mode::Once { select: vec![] }, jobs).story().await
}

/// All that happened.
pub struct Story {
    pub events: Vec<Event>,
    pub summary: Summary,
}

impl Story {
    /// The finished runs of a job.
    pub fn runs(&self, name: &str) -> Vec<&Finished> {
        let finished = |event: &'_ Event| matches!(event, Event::RunFinished(run) if &*run.job.name == name);
        let runs = self.events.iter().filter(|event| finished(event));
        runs.filter_map(|event| if let Event::RunFinished(run) = event { Some(&**run) } else { None })
            .collect()
    }

    /// The only finished run of a job.
    #[track_caller]
    pub fn run(&self, name: &str) -> &Finished {
        let runs = self.runs(name);
        assert_eq!(runs.len(), 1, "runs of {name}: {runs:?}");
        runs[0]
    }

    #[track_caller]
    pub fn check_verdict(&self, name: &str, verdict: Verdict) -> &Finished {
        let run = self.run(name);
        assert_eq!(run.verdict, verdict, "{run:?}");
        run
    }

    /// How many starts of a job were skipped for a cause.
    pub fn skipped(&self, name: &str, cause: Cause) -> u64 {
        let count = |event: &Event| match event {
            Event::RunSkipped { job, cause: found, count, .. } if &*job.name == name && *found == cause => {
                *count
            }
            _ => 0,
        };
        self.events.iter().map(count).sum()
    }

    /// The places of events in the story.
    pub fn places(&self, is_it: impl Fn(&Event) -> bool) -> Vec<usize> {
        (0..self.events.len()).filter(|at| is_it(&self.events[*at])).collect()
    }

    pub fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.places(is_it).len()
    }
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The same job with something to listen on, which the engine opens.
pub fn listening(job: Job, at: &str) -> Job {
    let serve: Arc<Work> = Arc::new(|cx| {
        Box::pin(async move {
            cx.ready(cx.all_listeners().iter().filter_map(|listener| listener.endpoint()).collect());
            cx.cancelled().await;
            passed()
        })
    });
    let listens = vec![Listen { path: "listen".into(), bind: at.parse().unwrap() }];
    job.with(|job| job.room = Arc::new(Stand { facts: &SERVICE, work: serve, listens }))
}
