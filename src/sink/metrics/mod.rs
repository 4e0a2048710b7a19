//! The metrics: what events say of each job, in `meter`'s registry, and the families of the whole process, in
//! `prometheus`'s. `render` is both as one text. Series of the kinds themselves are counted by their rooms.

mod families;
mod jobs;

mod process;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use prometheus::{Encoder, IntCounter, TextEncoder};

use super::Sink;
use crate::{
    event::{Event, JobRef},
    meter::{Counter, Registry, relay::RELAYS},
    outcome::Verdict,
};
use families::Families;
pub use jobs::EVERY_JOB;
use jobs::JobSeries;

/// What `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Families,
    process: process::Process,
    /// Lines that the log lost; the log's queue counts here.
    pub log_dropped: Counter,
    /// Events that found no place in the channel to the sinks; the engine counts here.
    pub events_dropped: Counter,
    /// Files of state that could not be written; the state's thread counts here.
    pub state_failed: Counter,
    /// Held while a scrape brings the process's families up to date.
    scrape: Mutex<()>,
}

impl Metrics {
    /// The metrics of this process, around the registry of its jobs.
    pub fn new(registry: Arc<Registry>) -> Result<Arc<Self>, prometheus::Error> {
        let families = Families::new()?;
        let process = process::Process::new(&families.registry)?;
        Ok(Arc::new(Self {
            registry,
            families,
            process,
            log_dropped: Counter::default(),
            events_dropped: Counter::default(),
            state_failed: Counter::default(),
            scrape: Mutex::new(()),
        }))
    }

    /// The sink that keeps them; one a process.
    pub fn sink(self: &Arc<Self>) -> Keeper {
        Keeper { metrics: self.clone(), jobs: HashMap::new() }
    }

    /// Everything in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.registry.render(&mut text);
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        mirror(&self.families.log_dropped, self.log_dropped.value());
        mirror(&self.families.events_dropped, self.events_dropped.value());
        mirror(&self.families.state_failed, self.state_failed.value());
        mirror(&self.families.series_dropped, self.registry.dropped());
        mirror(&self.families.relay_fallbacks, RELAYS.fallbacks.load(Ordering::Relaxed));
        self.families.relays(&RELAYS);
        self.process.read();
        let mut bytes = Vec::new();
        if TextEncoder::new().encode(&self.families.registry.gather(), &mut bytes).is_ok() {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }
}

fn mirror(family: &IntCounter, value: u64) {
    family.inc_by(value.saturating_sub(family.get()));
}

/// Turns events into series.
#[derive(Debug)]
pub struct Keeper {
    metrics: Arc<Metrics>,
    jobs: HashMap<Arc<str>, JobSeries>,
}

impl Sink for Keeper {
    fn event(&mut self, event: &Event) {
        let families = &self.metrics.families;
        match event {
            Event::Started { jobs } => {
                families.config_taken();
                for job in jobs {
                    self.add(job);
                }
            }
            Event::ConfigReloaded { .. } => families.config_taken(),
            Event::ConfigRejected { .. } => families.config_rejected(),
            Event::ClockStepped { .. } => families.clock_steps.inc(),
            Event::JobAdded { job } => self.add(job),
            Event::JobRemoved { job } => {
                self.jobs.remove(&job.name);
            }
            Event::RunFinished(run) => {
                if run.verdict != Verdict::Skipped {
                    families.observe(run);
                }
                self.job(&run.job, |series| series.finished(run));
            }
            Event::JobReady { job, .. } => self.job(job, |series| series.ready(job)),
            Event::JobClosing { job } => self.job(job, |series| series.closing(job)),
            Event::NextRun { job, at } => self.job(job, |series| series.next_run(*at)),
            Event::RunStarted { job, .. } => self.job(job, JobSeries::started),
            Event::RunSkipped { job, cause, count, .. } => {
                self.job(job, |series| series.skipped(*cause, *count));
            }
            Event::RunStuck { .. }
            | Event::RunReturned { .. }
            | Event::StateChanged { .. }
            | Event::Notice { .. }
            | Event::LeftOut { .. }
            | Event::ConfigReading
            | Event::Stopping
            | Event::Stopped => {}
        }
    }
}

impl Keeper {
    /// A job that is there already goes on with its counts. One that the engine has removed meanwhile gets no series.
    fn add(&mut self, job: &JobRef) {
        match self.jobs.get_mut(&job.name) {
            Some(known) => known.renew(job.id),
            None => {
                if let Some(meters) = self.metrics.registry.find(&job.name) {
                    self.jobs.insert(job.name.clone(), JobSeries::new(job, meters));
                }
            }
        }
    }

    /// What the last run of a removed job still tells belongs to no series, also not to those of a later job of its name.
    fn job(&mut self, job: &JobRef, act: impl FnOnce(&mut JobSeries)) {
        if let Some(series) = self.jobs.get_mut(&job.name).filter(|series| series.first <= job.id) {
            act(series);
        }
    }
}

#[cfg(test)]
mod tests;
