//! Stand-in rooms: jobs that do what a test says. No real socket but where a test wants a port.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use netjobs::{
    context::Context,
    diagnostic::Report,
    job::Job,
    kind::{Error, Facts, Room, Running},
    net::listen::Listen,
    outcome::{Measure, Outcome, Samples, Unit},
    value::{Expect, JobName, Missed, Overlap, Retry, Schedule, Timespan, schedule::At},
};
use tokio::time::sleep;

pub(crate) type Result<T> = std::result::Result<T, Error>;
type Work = dyn for<'a> Fn(&'a Context) -> Running<'a> + Send + Sync;

/// A room that does what the test says.
#[derive(Clone)]
pub(crate) struct Stand {
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
        usual: &[],
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

#[expect(clippy::unnecessary_wraps, reason = "it is what a room returns")]
pub(crate) fn passed() -> Result<Outcome> {
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
pub(crate) fn check(
    name: &str,
    work: impl for<'a> Fn(&'a Context) -> Running<'a> + Send + Sync + 'static,
) -> Job {
    job(name, &CHECK, Arc::new(work))
}

/// A service.
pub(crate) fn service(
    name: &str,
    work: impl for<'a> Fn(&'a Context) -> Running<'a> + Send + Sync + 'static,
) -> Job {
    job(name, &SERVICE, Arc::new(work))
}

/// A check that passes after a time.
pub(crate) fn passes_after(name: &str, time: Duration) -> Job {
    check(name, move |_| {
        Box::pin(async move {
            sleep(time).await;
            passed()
        })
    })
}

/// A service that is ready at once and ends when it is cancelled.
pub(crate) fn serves(name: &str) -> Job {
    service(name, |cx| {
        Box::pin(async move {
            cx.ready(vec!["tcp://127.0.0.1:7".parse().unwrap()]);
            cx.cancelled().await;
            passed()
        })
    })
}

/// What the tests change of a job.
pub(crate) trait With: Sized {
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
pub(crate) fn expects_nothing(job: &mut Job) {
    job.expect = Some(Expect::default());
}

/// The same job with something to listen on, which the engine opens.
pub(crate) fn listening(job: Job, at: &str) -> Job {
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
