//! The closed set of events that the engine emits: the whole interface between `run/` and `sink/`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    diagnostic::Report,
    outcome::{Cause, Detail, Notice, Reason, Sample, Samples, Verdict},
};

/// A job as sinks know it.
#[derive(Clone, Debug)]
pub struct JobRef {
    /// Tells its definitions apart: a later one of the same name has a greater number. What an old run of a changed or
    /// removed job still tells has the old one.
    pub id: u64,
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: &'static str,
    /// Whether it runs until it is cancelled.
    pub service: bool,
    /// Why runs of its kind usually fail.
    pub usual: &'static [Reason],
    /// Its own labels.
    pub labels: Arc<BTreeMap<String, String>>,
}

/// A comparison of `expect` as it was judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The measurement's name.
    pub name: String,
    /// `ipv4` or `ipv6` where a run holds one set of samples for each.
    pub family: Option<&'static str>,
    /// What was wanted, such as `<= 5%`.
    pub wanted: String,
    /// What was measured; `None` where the measurement does not exist in this run.
    pub measured: Option<Sample>,
    /// Whether it holds.
    pub held: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The job.
    pub job: JobRef,
    /// `NAME@scheduled-time`: the same on every runner.
    pub run_id: String,
    /// When it should have started.
    pub scheduled: Timestamp,
    /// When it started.
    pub started: Timestamp,
    /// From start to end, all attempts and pauses.
    pub duration: Duration,
    /// From the scheduled to the real start.
    pub start_lag: Duration,
    /// The verdict, judged.
    pub verdict: Verdict,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// A sentence for people: what went wrong.
    pub message: Option<String>,
    /// What the operator can do about it.
    pub hint: Option<String>,
    /// How many times it was tried.
    pub attempts: u32,
    /// What was measured.
    pub samples: Vec<Samples>,
    /// Each comparison of `expect`, the kind's own included.
    pub expectations: Vec<Judged>,
    /// The kind's own record.
    pub detail: Detail,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The runner runs this many jobs.
    Started {
        /// Every job of the plan, in file order.
        jobs: Vec<JobRef>,
    },
    /// The files are read anew; what comes of it is `ConfigReloaded` or `ConfigRejected`.
    ConfigReading,
    /// The runner starts and accepts nothing more, and drains.
    Stopping,
    /// The runner has stopped; the last event.
    Stopped,
    /// A job came into the plan, at start or by a reload, or a reload changed it.
    JobAdded {
        /// The job.
        job: JobRef,
    },
    /// A job left the plan. Its last run may still end, which is nobody's affair but the log's.
    JobRemoved {
        /// The job.
        job: JobRef,
    },
    /// A service serves.
    JobReady {
        /// The job.
        job: JobRef,
        /// Its addresses, as endpoints with their true ports.
        addresses: Vec<String>,
    },
    /// A service accepts nothing more, since its window is over, and drains.
    JobClosing {
        /// The job.
        job: JobRef,
    },
    /// When a job will start next; `None`: never again.
    NextRun {
        /// The job.
        job: JobRef,
        /// The start.
        at: Option<Timestamp>,
    },
    /// A run started.
    RunStarted {
        /// The job.
        job: JobRef,
        /// The run.
        run_id: String,
    },
    /// A run ended.
    RunFinished(Box<Finished>),
    /// A run was given up, and the call in which it is stuck has not returned: its thread is lost until then, and the job
    /// starts no other run.
    RunStuck {
        /// The job.
        job: JobRef,
        /// The run.
        run_id: String,
    },
    /// A run that was stuck has returned.
    RunReturned {
        /// The job.
        job: JobRef,
        /// The run.
        run_id: String,
    },
    /// Starts that did not become runs.
    RunSkipped {
        /// The job.
        job: JobRef,
        /// The first of them.
        scheduled: Timestamp,
        /// Why.
        cause: Cause,
        /// How many.
        count: u64,
    },
    /// A job's verdict is another than at its last run.
    StateChanged {
        /// The job.
        job: JobRef,
        /// The verdict before; `None` at the first run.
        from: Option<Verdict>,
        /// The verdict now.
        to: Verdict,
        /// Why.
        reason: Option<Reason>,
    },
    /// Something happened inside a run.
    Notice {
        /// The job.
        job: JobRef,
        /// The run.
        run_id: Arc<str>,
        /// What.
        notice: Notice,
    },
    /// A job was left out of the plan.
    LeftOut {
        /// Its name.
        name: Arc<str>,
        /// Why, a sentence.
        why: String,
    },
    /// A new set of jobs is in force.
    ConfigReloaded {
        /// Names of jobs that came.
        added: Vec<Arc<str>>,
        /// Names of jobs that went.
        removed: Vec<Arc<str>>,
        /// Names of jobs that are others now.
        changed: Vec<Arc<str>>,
        /// How many stayed as they were.
        kept: usize,
    },
    /// A new set of jobs was refused and the old one goes on.
    ConfigRejected {
        /// What is wrong with it.
        report: Report,
    },
    /// The wall clock was set.
    ClockStepped {
        /// Seconds; negative: backward.
        seconds: f64,
    },
}
