//! What jobs came to lately, and how each stands now, for the HTTP side. In memory and bounded; nothing here decides.
//!
//! Health: a scheduled job is stale when a start of it came due and neither became a run nor was left out on purpose for
//! three of its periods, and at least a minute; and when a run of it has been stuck in a call for three periods. Time counts from the arrival of the engine's word, on the monotonic
//! clock, so that a step of the wall clock makes nothing stale. A job that starts once has no period and is never stale.

mod job;
mod recent;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Sink, record};
use crate::{
    event::{Event, JobRef},
    outcome::Verdict,
};
use job::Job;
pub use job::{Row, State};
use recent::Recent;

/// A handle on the history; clones see the same one.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    started: Option<Timestamp>,
    stopped: bool,
    jobs: BTreeMap<Arc<str>, Job>,
    recent: Recent,
    reload: Option<(Timestamp, bool)>,
}

impl History {
    /// An empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sink that fills it.
    pub fn sink(&self) -> Keeper {
        Keeper(self.clone())
    }

    /// Every job in name order.
    pub fn rows(&self) -> Vec<Row> {
        let inner = self.lock();
        inner.jobs.iter().map(|(name, job)| job.row(name)).collect()
    }

    /// `/api/v1/jobs`.
    pub fn jobs(&self) -> Value {
        json!({ "jobs": self.rows().iter().map(Row::to_json).collect::<Value>() })
    }

    /// `/api/v1/jobs/NAME/runs`, the newest first; `None` where there is no such job.
    pub fn runs(&self, job: &str) -> Option<Value> {
        let inner = self.lock();
        inner.jobs.get(job)?;
        let runs: Value = inner.recent.of(job).collect();
        Some(json!({ "job_name": job, "runs": runs }))
    }

    /// `/api/v1/status`.
    pub fn status(&self) -> Value {
        let (rows, stale, waiting) = (self.rows(), self.stale(), self.not_ready());
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        let inner = self.lock();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": inner.started.map(record::instant),
            "jobs": {
                "all": rows.len(),
                "passed": count(Some(Verdict::Passed)),
                "failed": count(Some(Verdict::Failed)),
                "errored": count(Some(Verdict::Errored)),
                "unknown": count(None),
                "running": rows.iter().filter(|row| row.running > 0).count(),
            },
            "stale": stale,
            "not_ready": waiting,
            "config": {
                "last_reload": inner.reload.map(|(time, _)| record::instant(time)),
                "last_reload_successful": inner.reload.map(|(_, successful)| successful),
            },
        })
    }

    /// Names of the stale jobs.
    pub fn stale(&self) -> Vec<Arc<str>> {
        self.names(Job::is_stale)
    }

    /// Names of the jobs that only a new process can be expected to help: for three of their periods a run has been stuck in
    /// a call that does not return, or a start has not come. One whose run is only long is stale and not among them.
    pub fn wedged(&self) -> Vec<Arc<str>> {
        self.names(Job::is_wedged)
    }

    /// Names of the services that do not serve though they should.
    pub fn not_ready(&self) -> Vec<Arc<str>> {
        self.names(Job::should_serve)
    }

    /// How many jobs there are, and the names of those that do not stand well.
    pub fn standing(&self) -> (usize, Vec<Arc<str>>) {
        let all = self.lock().jobs.len();
        (all, self.names(|job| job.state() == State::Ill))
    }

    /// Whether the runner runs: it has started and nobody has asked it to stop.
    pub fn is_running(&self) -> bool {
        let inner = self.lock();
        inner.started.is_some() && !inner.stopped
    }

    fn names(&self, holds: impl Fn(&Job) -> bool) -> Vec<Arc<str>> {
        let inner = self.lock();
        inner.jobs.iter().filter(|(_, job)| holds(job)).map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills a history from events.
#[derive(Debug)]
pub struct Keeper(History);

impl Sink for Keeper {
    fn event(&mut self, event: &Event) {
        let mut inner = self.0.lock();
        match event {
            Event::Started { jobs } => {
                let now = Timestamp::now();
                inner.started = Some(now);
                inner.reload = Some((now, true));
                for job in jobs {
                    inner.add(job);
                }
            }
            Event::Stopping | Event::Stopped => inner.stopped = true,
            Event::JobAdded { job } => inner.add(job),
            Event::JobRemoved { job } => {
                inner.jobs.remove(&job.name);
                inner.recent.remove(&job.name);
            }
            Event::ConfigReloaded { .. } => inner.reload = Some((Timestamp::now(), true)),
            Event::ConfigRejected { .. } => inner.reload = Some((Timestamp::now(), false)),
            Event::JobReady { job, addresses } => {
                if let Some(known) = inner.job(job) {
                    known.ready(job, addresses);
                }
            }
            Event::JobClosing { job } => {
                if let Some(known) = inner.job(job) {
                    known.closing(job);
                }
            }
            Event::NextRun { job, at } => {
                if let Some(known) = inner.job(job) {
                    known.next_run(*at);
                }
            }
            Event::RunStarted { job, .. } => {
                if let Some(known) = inner.job(job) {
                    known.started();
                }
            }
            Event::RunStuck { job, .. } => {
                if let Some(known) = inner.job(job) {
                    known.stuck(true);
                }
            }
            Event::RunReturned { job, .. } => {
                if let Some(known) = inner.job(job) {
                    known.stuck(false);
                }
            }
            Event::RunSkipped { job, cause, .. } => {
                if let Some(known) = inner.job(job) {
                    known.skipped(*cause);
                }
            }
            Event::RunFinished(run) => {
                if let Some(known) = inner.job(&run.job) {
                    known.finished(run);
                    inner.recent.push(&run.job.name, record::run_fields(run).into());
                }
            }
            _ => {}
        }
    }
}

impl Inner {
    /// A changed job keeps what is known of it.
    fn add(&mut self, job: &JobRef) {
        match self.jobs.get_mut(&job.name) {
            Some(known) => known.is_now(job),
            None => {
                self.jobs.insert(job.name.clone(), Job::new(job));
            }
        }
    }

    /// The entry to which a job's event belongs; none where the job is removed, or a later one has its name.
    fn job(&mut self, job: &JobRef) -> Option<&mut Job> {
        self.jobs.get_mut(&job.name).filter(|known| known.first <= job.id)
    }
}

#[cfg(test)]
mod tests;
