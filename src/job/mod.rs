//! Jobs: what is left of job files once they are read and checked.

pub mod common;
pub mod load;
pub mod schema;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    kind::Room,
    value::{Expect, JobName, Missed, Overlap, Retry, Schedule, Timespan},
};

/// One entry of a job file, read, checked and complete.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name, unique over all files.
    pub name: JobName,
    /// When it starts; services start with the runner.
    pub schedule: Schedule,
    /// What a start does while the previous run still goes.
    pub overlap: Overlap,
    /// What becomes of missed starts.
    pub missed: Missed,
    /// The bound of one run, attempts and pauses included; `None` for services and `wait`.
    pub run_timeout: Option<Timespan>,
    /// How often a run tries again.
    pub retry: Retry,
    /// Jobs that come first, those that its endpoints name included.
    pub needs: Vec<JobName>,
    /// What must hold; `None`: the kind's own expectations only.
    pub expect: Option<Expect>,
    /// Extra labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// When a service is open; `None`: always.
    pub open: Option<Open>,
    /// The kind and its parameters.
    pub room: Arc<dyn Room>,
    /// A hash of name, kind and value tree: the job is the same when this is.
    pub identity: u64,
    /// Where it stands: `jobs/lan.yaml:7`.
    pub place: String,
    /// The folder of its file, where relative paths start.
    pub base: Arc<Path>,
}

/// The window in which a service runs.
#[derive(Clone, Debug)]
pub struct Open {
    /// When it opens.
    pub schedule: Schedule,
    /// How long it stays open.
    pub length: Timespan,
}
