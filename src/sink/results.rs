//! What each job of a run of the program came to, in file order: what JUnit and TAP files are made of.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    escape::{peer, sentence},
    units::Units,
};
use crate::{
    event::{Event, Finished, JobRef},
    outcome::{Cause, Reason, Verdict},
};

/// Jobs in file order, each with its last run.
#[derive(Debug, Default)]
pub(super) struct Cases {
    jobs: Vec<JobRef>,
    known: HashSet<Arc<str>>,
    runs: HashMap<Arc<str>, Finished>,
    skips: HashMap<Arc<str>, Cause>,
}

/// What a job came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) job: &'a JobRef,
    /// `None`: it did not run.
    pub(super) run: Option<&'a Finished>,
    skip: Option<Cause>,
}

impl Cases {
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Started { jobs } => jobs.iter().for_each(|job| self.add(job)),
            Event::JobAdded { job } => self.add(job),
            Event::RunFinished(run) => {
                self.add(&run.job);
                self.runs.insert(run.job.name.clone(), Finished::clone(run));
            }
            Event::RunSkipped { job, cause, .. } => {
                self.add(job);
                self.skips.insert(job.name.clone(), *cause);
            }
            _ => {}
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Case<'_>> {
        self.jobs.iter().map(|job| Case {
            job,
            run: self.runs.get(&job.name),
            skip: self.skips.get(&job.name).copied(),
        })
    }

    fn add(&mut self, job: &JobRef) {
        if self.known.insert(job.name.clone()) {
            self.jobs.push(job.clone());
        }
    }
}

impl Case<'_> {
    /// A job that did not run counts as skipped.
    pub(super) fn verdict(&self) -> Verdict {
        self.run.map_or(Verdict::Skipped, |run| run.verdict)
    }

    /// Seconds that it took.
    pub(super) fn seconds(&self) -> f64 {
        self.run.map_or(0.0, |run| run.duration.as_secs_f64())
    }

    /// The closed word for why it did not pass.
    pub(super) fn word(&self) -> &'static str {
        let reason = self.run.and_then(|run| run.reason).map(Reason::as_str);
        reason.or(self.skip.map(Cause::as_str)).unwrap_or("not_run")
    }

    /// A sentence about why it did not pass.
    pub(super) fn message(&self) -> String {
        let said = self.run.and_then(|run| run.message.as_deref());
        said.map_or_else(|| self.word().to_owned(), |message| sentence(message).into_owned())
    }
}

/// A failed comparison as people read it: `loss: wanted <= 5%, measured 25%`.
pub(super) fn failed_expectations(run: &Finished, units: &Units) -> Vec<String> {
    let failed = run.expectations.iter().filter(|judged| !judged.held);
    let line = |judged: &crate::event::Judged| {
        let family = judged.family.map(|family| format!(" ({family})")).unwrap_or_default();
        let measured = judged.measured.as_ref();
        let measured = measured.map(|sample| units.show(run.job.kind, &judged.name, sample));
        let measured = measured.unwrap_or_else(|| "nothing".into());
        format!("{}{family}: wanted {}, measured {measured}", peer(&judged.name), peer(&judged.wanted))
    };
    failed.map(line).collect()
}
