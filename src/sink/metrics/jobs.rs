//! The series that every job has, whatever its kind. Gauges appear with the first thing that they state.

use jiff::{SignedDuration, Timestamp};

use super::families::epoch_seconds;
use crate::{
    event::{Finished, JobRef},
    meter::{Counter, Gauge, Meters},
    outcome::{Cause, Metric, Reason, Verdict},
};

const RUNS: Metric = Metric::counter("netjobs_runs_total", &[], "Runs that ended, whatever they came to.");
const FAILURES: Metric =
    Metric::counter("netjobs_run_failures_total", &["reason"], "Runs that failed or errored, by reason.");
const SKIPPED: Metric =
    Metric::counter("netjobs_runs_skipped_total", &["cause"], "Starts that did not become runs, by cause.");
const UP: Metric =
    Metric::gauge("netjobs_job_up", &[], "Whether the last run passed; of a service: whether it is ready.");
const LAST_DURATION: Metric =
    Metric::gauge("netjobs_job_last_duration_seconds", &[], "How long the last run took.");
const LAST_SUCCESS: Metric =
    Metric::gauge("netjobs_job_last_success_timestamp_seconds", &[], "When a run last ended and had passed.");
const NEXT_RUN: Metric =
    Metric::gauge("netjobs_job_next_run_timestamp_seconds", &[], "When the next run starts.");
const RUNNING: Metric = Metric::gauge("netjobs_job_running", &[], "How many runs go on.");

/// All of them, in the order of the reference.
pub const EVERY_JOB: &[&Metric] =
    &[&RUNS, &FAILURES, &SKIPPED, &UP, &LAST_DURATION, &LAST_SUCCESS, &NEXT_RUN, &RUNNING];

/// One job's series.
#[derive(Debug)]
pub(super) struct JobSeries {
    /// The number of the job's first definition, and of the one that is in force.
    pub(super) first: u64,
    now: u64,
    meters: Meters,
    runs: Counter,
    running: Option<Gauge>,
    /// Whether it is a service that is ready.
    serves: bool,
}

impl JobSeries {
    pub(super) fn new(job: &JobRef, meters: Meters) -> Self {
        let runs = meters.counter(&RUNS, &[]);
        for reason in job.usual {
            meters.counter(&FAILURES, &[reason.as_str()]);
        }
        Self { first: job.id, now: job.id, meters, runs, running: None, serves: false }
    }

    /// Counts go on for a new definition; what the old one stated does not hold any more.
    pub(super) fn renew(&mut self, id: u64) {
        self.now = id;
        self.meters.clear(&NEXT_RUN);
        if self.serves {
            self.up(false);
        }
    }

    pub(super) fn started(&mut self) {
        self.running().add(1.0);
    }

    pub(super) fn ready(&mut self, job: &JobRef) {
        if job.id == self.now {
            self.serves = true;
            self.up(true);
        }
    }

    pub(super) fn closing(&mut self, job: &JobRef) {
        if job.id == self.now {
            self.serves = false;
            self.up(false);
        }
    }

    pub(super) fn next_run(&mut self, at: Option<Timestamp>) {
        match at {
            Some(at) => self.meters.gauge(&NEXT_RUN, &[]).set(epoch_seconds(at)),
            None => self.meters.clear(&NEXT_RUN),
        }
    }

    pub(super) fn skipped(&mut self, cause: Cause, count: u64) {
        self.meters.counter(&SKIPPED, &[cause.as_str()]).add(count);
    }

    pub(super) fn finished(&mut self, run: &Finished) {
        if run.verdict == Verdict::Skipped {
            return;
        }
        let running = self.running();
        running.set((running.value() - 1.0).max(0.0));
        self.runs.inc();
        let passed = run.verdict == Verdict::Passed;
        // The last run of an older definition is counted and says nothing of how the job stands.
        if run.job.id == self.now {
            self.serves = false;
            self.up(passed && !run.job.service);
        }
        self.meters.gauge(&LAST_DURATION, &[]).set(run.duration.as_secs_f64());
        if passed {
            let length = SignedDuration::try_from(run.duration).unwrap_or_default();
            let end = run.started.checked_add(length).unwrap_or(run.started);
            self.meters.gauge(&LAST_SUCCESS, &[]).set(epoch_seconds(end));
        } else {
            let reason = run.reason.unwrap_or(Reason::Bug);
            self.meters.counter(&FAILURES, &[reason.as_str()]).inc();
        }
    }

    fn up(&self, up: bool) {
        self.meters.gauge(&UP, &[]).set(if up { 1.0 } else { 0.0 });
    }

    fn running(&mut self) -> &Gauge {
        self.running.get_or_insert_with(|| self.meters.gauge(&RUNNING, &[]))
    }
}
