//! What all runs together came to, for the program's exit code.

use std::{collections::HashMap, sync::Arc};

use super::control::Signal;
use crate::outcome::{Reason, Verdict};

/// What became of the jobs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The last verdict of each job, with its reason.
    pub jobs: HashMap<Arc<str>, (Verdict, Option<Reason>)>,
    /// Whether it ran until a signal, so that verdicts say nothing about how it ended.
    pub daemon: bool,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Whether the signal came while a check was going on or still to come.
    pub interrupted: bool,
    /// Whether something was ended by force when the grace was over, or by a second signal.
    pub cut_short: bool,
    /// Events that a sink was told and nobody read.
    pub unread: u64,
}

impl Summary {
    /// How many jobs came to a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.jobs.values().filter(|(found, _)| *found == verdict).count()
    }

    /// Whether every job passed.
    pub fn all_passed(&self) -> bool {
        self.jobs.values().all(|(verdict, _)| *verdict == Verdict::Passed)
    }

    /// Whether some job lacked a right, and every one that did not pass either did so too or was skipped.
    pub fn only_lacked_rights(&self) -> bool {
        let mut lacking =
            self.jobs.values().filter(|(verdict, _)| !matches!(verdict, Verdict::Passed | Verdict::Skipped));
        let one = |(_, reason): &(Verdict, Option<Reason>)| *reason == Some(Reason::Permission);
        lacking.next().is_some_and(one) && lacking.all(one)
    }
}
