//! `once`: services start, each check runs one time after its needs, then the services stop and are judged.
//!
//! Nobody works out which needs can still come to hold: as soon as nothing is going on that could change anything, what
//! still waits is skipped. That covers needs that failed, needs that are not there, and circles.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Mode, Set, board::SlotId, engine::Engine, judge::Judgement, task};
use crate::{
    event::Event,
    job::Job,
    outcome::{Cause, Verdict},
    value::glob,
};

/// How long checks wait for services that do not say that they are ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
    /// The jobs that `once` shall run: the selected ones and what they need.
    pub(super) fn selected(&self, mut set: Set) -> Set {
        let Mode::Once { select } = &self.world.mode else { return set };
        if select.is_empty() {
            return set;
        }
        let by_name: HashMap<&str, &Job> = set.jobs.iter().map(|job| (job.name.as_str(), job)).collect();
        let matches = |job: &&Job| select.iter().any(|pattern| glob::fits(pattern, job.name.as_str()));
        let mut wanted: Vec<&Job> = set.jobs.iter().filter(matches).collect();
        let mut names = HashSet::new();
        while let Some(job) = wanted.pop() {
            if names.insert(job.name.clone()) {
                wanted.extend(job.needs.iter().filter_map(|need| by_name.get(need.as_str())));
            }
        }
        set.jobs.retain(|job| names.contains(&job.name));
        set
    }

    /// Lets checks wait for a service that was started, for a time.
    pub(super) fn await_ready(&mut self, id: SlotId) {
        self.starting.insert(id);
        let bound = self.timeline.now().saturating_add(READY_WITHIN).ok();
        self.wake_at(id, bound);
    }

    /// No longer waits for a service: it is ready, has ended, or took too long.
    pub(super) fn settled(&mut self, id: SlotId) {
        if self.starting.remove(&id) && self.starting.is_empty() {
            self.release("");
        }
    }

    /// Ends what can make no progress any more.
    pub(super) fn turn_once(&mut self) {
        if self.checks > 0 || !self.starting.is_empty() {
            return;
        }
        if self.waiting.is_empty() {
            self.stop();
        } else {
            self.skip_waiting(Cause::Needs);
        }
    }

    /// Skips all jobs that still wait, each with a finished record of its own.
    pub(super) fn skip_waiting(&mut self, cause: Cause) {
        let mut ids: Vec<SlotId> = self.waiting.drain().flat_map(|(_, ids)| ids).collect();
        ids.sort_unstable();
        let now = self.timeline.now();
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.done = true;
            let message = match (cause, slot.waits_for.take().filter(|need| !need.is_empty())) {
                (Cause::Needs, Some(need)) => {
                    format!("needs `{need}`, which {}", self.world.board.lack(&need))
                }
                _ => "the runner is stopping".to_owned(),
            };
            let judged = Judgement::skipped(message);
            self.summary.jobs.insert(slot.name().clone(), (Verdict::Skipped, None));
            let finished = task::record(&slot.known_as, now, now, judged);
            self.skipped(id, now, cause, 1);
            self.outbox.push(Event::RunFinished(Box::new(finished)));
        }
    }
}
