//! How one job stands: its last outcome, what goes on, what comes next, and whether a start is overdue.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    event::{Finished, JobRef},
    outcome::{Cause, Reason, Verdict, seconds},
    sink::{
        escape::{peer, sentence},
        record::instant,
    },
};

/// No job is stale sooner after a start came due.
const PATIENCE: Duration = Duration::from_mins(1);
/// Nor before so many periods.
const PERIODS: u32 = 3;

#[derive(Debug)]
pub(super) struct Job {
    /// The number of the job's first definition, and of the one that is in force.
    pub(super) first: u64,
    now: u64,
    kind: &'static str,
    service: bool,
    labels: Arc<BTreeMap<String, String>>,
    last: Option<Last>,
    running: u64,
    next_run: Option<Timestamp>,
    /// Between the last two starts that were announced.
    period: Option<Duration>,
    /// The first start that has not become a run yet.
    due: Option<Instant>,
    ready: Option<Vec<String>>,
    /// Whether its window is over and it drains.
    closing: bool,
    /// Since when a run that was given up has not returned.
    stuck: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Last {
    verdict: Verdict,
    reason: Option<Reason>,
    message: Option<String>,
    started: Timestamp,
    duration: Duration,
}

/// What is said of a job in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The last run passed, or the service serves.
    Well,
    /// The last run did not pass, or a service that should serve does not.
    Ill,
    /// Nothing is known yet.
    Unknown,
}

/// How a job stands, for people and programs.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: &'static str,
    /// Whether it is a service.
    pub service: bool,
    /// Its own labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// In one word.
    pub state: State,
    /// What the last run came to.
    pub verdict: Option<Verdict>,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// A sentence about it, escaped.
    pub message: Option<String>,
    /// When the last run that ended had started.
    pub last_started: Option<Timestamp>,
    /// How long it took.
    pub last_duration: Option<Duration>,
    /// How many runs go on.
    pub running: u64,
    /// When the next run starts.
    pub next_run: Option<Timestamp>,
    /// Where the service serves; `None` while it does not.
    pub ready: Option<Vec<String>>,
    /// Whether a start is overdue.
    pub stale: bool,
}

impl Job {
    pub(super) fn new(job: &JobRef) -> Self {
        Self {
            first: job.id,
            now: job.id,
            kind: job.kind,
            service: job.service,
            labels: job.labels.clone(),
            last: None,
            running: 0,
            next_run: None,
            period: None,
            due: None,
            ready: None,
            closing: false,
            stuck: None,
        }
    }

    /// Takes over what a reload changed: the outcomes stay, but nothing is due or ready of what was.
    pub(super) fn is_now(&mut self, job: &JobRef) {
        let (first, last, running) = (self.first, self.last.take(), self.running);
        *self = Self { first, last, running, ..Self::new(job) };
    }

    pub(super) fn ready(&mut self, job: &JobRef, addresses: &[String]) {
        if job.id != self.now {
            return;
        }
        self.ready = Some(addresses.iter().map(|address| peer(address).into_owned()).collect());
    }

    pub(super) fn closing(&mut self, job: &JobRef) {
        if job.id == self.now {
            (self.ready, self.closing) = (None, true);
        }
    }

    pub(super) fn next_run(&mut self, at: Option<Timestamp>) {
        let gap = at.zip(self.next_run).map(|(at, before)| at.duration_since(before));
        if let Some(Ok(gap)) = gap.map(Duration::try_from)
            && !gap.is_zero()
        {
            self.period = Some(gap);
        }
        self.next_run = at;
        let now = Instant::now();
        if self.due.is_none_or(|due| due > now) {
            let wait =
                at.map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
            self.due = wait.and_then(|wait| now.checked_add(wait));
        }
    }

    /// The start that was due has come; one that is announced already for later stays.
    pub(super) fn started(&mut self) {
        self.running += 1;
        self.settle();
    }

    /// A start that was left out on purpose is no sign of a wedged runner; one for which the last run still goes is.
    pub(super) fn skipped(&mut self, cause: Cause) {
        if cause != Cause::Overlap {
            self.settle();
        }
    }

    pub(super) fn finished(&mut self, run: &Finished) {
        self.running = self.running.saturating_sub(1);
        // The last run of an older definition says nothing of how the job stands.
        if run.job.id != self.now {
            return;
        }
        (self.ready, self.closing) = (None, false);
        self.settle();
        self.last = Some(Last {
            verdict: run.verdict,
            reason: run.reason,
            message: run.message.as_deref().map(|message| sentence(message).into_owned()),
            started: run.started,
            duration: run.duration,
        });
    }

    /// A run holds a thread and does not return, or has done so.
    pub(super) fn stuck(&mut self, stuck: bool) {
        self.stuck = stuck.then(Instant::now);
    }

    /// Whether it has been stuck for three periods, or a start has not come though no run is in its way.
    pub(super) fn is_wedged(&self) -> bool {
        self.is_stuck() || (self.is_overdue() && self.running == 0)
    }

    pub(super) fn is_stale(&self) -> bool {
        self.is_stuck() || self.is_overdue()
    }

    fn is_stuck(&self) -> bool {
        let bound = self.period.map_or(PATIENCE, |period| period.saturating_mul(PERIODS));
        self.stuck.is_some_and(|since| since.elapsed() > bound)
    }

    fn is_overdue(&self) -> bool {
        let Some((due, period)) = self.due.zip(self.period) else { return false };
        due.elapsed() > PATIENCE.max(period.saturating_mul(PERIODS))
    }

    /// A service that is down; not one that has ended well or whose window is over or has not come.
    pub(super) fn should_serve(&self) -> bool {
        let ended =
            self.last.as_ref().is_some_and(|last| last.verdict == Verdict::Passed) && self.running == 0;
        let later = self.running == 0 && self.due.is_some_and(|due| due > Instant::now());
        self.service && self.ready.is_none() && !self.closing && !ended && !later
    }

    pub(super) fn row(&self, name: &Arc<str>) -> Row {
        let last = self.last.as_ref();
        Row {
            name: name.clone(),
            kind: self.kind,
            service: self.service,
            labels: self.labels.clone(),
            state: self.state(),
            verdict: last.map(|last| last.verdict),
            reason: last.and_then(|last| last.reason),
            message: last.and_then(|last| last.message.clone()),
            last_started: last.map(|last| last.started),
            last_duration: last.map(|last| last.duration),
            running: self.running,
            next_run: self.next_run,
            ready: self.ready.clone(),
            stale: self.is_stale(),
        }
    }

    pub(super) fn state(&self) -> State {
        match &self.last {
            _ if self.ready.is_some() => State::Well,
            Some(last) if last.verdict == Verdict::Passed => State::Well,
            Some(last) if last.verdict != Verdict::Skipped => State::Ill,
            _ => State::Unknown,
        }
    }

    fn settle(&mut self) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.due = None;
        }
    }
}

impl Row {
    /// An entry of `/api/v1/jobs`.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "job_name": self.name,
            "kind": self.kind,
            "service": self.service,
            "labels": *self.labels,
            "verdict": self.verdict.map(Verdict::as_str),
            "reason": self.reason.map(Reason::as_str),
            "message": self.message,
            "last_started": self.last_started.map(instant),
            "last_duration_seconds": self.last_duration.map(seconds),
            "running": self.running,
            "next_run": self.next_run.map(instant),
            "ready": self.ready,
            "stale": self.stale,
        })
    }
}
