//! Runs as the engine sees them: set going on their threads, taken note of when they end, and kept from holding up each
//! other.

use std::{future::ready, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::{self, JoinError},
    time::Instant,
};

use super::{
    board::SlotId,
    engine::Engine,
    slot::Active,
    task::{Ended, Run},
};
use crate::{
    context::Stop,
    outcome::{Reason, Verdict},
};

/// While checks go on, their threads are woken this often. tokio has one of them wait for sockets and timers, and where that
/// one is held up by a run, nobody waits for them until another is woken.
const BEAT: Duration = Duration::from_millis(5);

impl Engine {
    /// Starts a run.
    pub(super) fn launch(&mut self, id: SlotId, nominal: Timestamp, due: Timestamp) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.begun = true;
        let stop = Stop { drain_idle: self.world.drain_idle, ..Stop::default() };
        let run = Run {
            world: self.world.clone(),
            slot: id,
            job: slot.job.clone(),
            known_as: slot.known_as.clone(),
            meters: slot.meters.clone(),
            memory: slot.memory.clone(),
            nominal,
            due,
            stop: stop.clone(),
            listeners: std::mem::take(&mut slot.listeners),
            is_stuck: Arc::default(),
            turn: self.outbox.turn(),
            timeline: self.timeline.clone(),
        };
        let is_stuck = run.is_stuck.clone();
        // A start wakes one of the threads too.
        self.last_beat = Instant::now();
        let task = match &self.world.runs {
            Some(threads) => self.runs.spawn_on(run.go(), threads),
            None => self.runs.spawn(run.go()),
        };
        let task = task.id();
        self.owners.insert(task, id);
        slot.active.push(Active { task, stop, is_stuck });
        if !slot.is_service() {
            self.checks += 1;
        } else if self.is_once() {
            self.await_ready(id);
        }
    }

    /// Takes note of a run that has ended.
    pub(super) fn finished(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, ended),
            Err(error) => (error.id(), Ended::broken()),
        };
        let Some(id) = self.owners.remove(&task) else { return };
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.active.retain(|run| run.task != task);
        self.checks -= usize::from(!slot.is_service());
        self.summary.cut_short |= ended.killed && self.stopping;
        let (name, kept) = (slot.name().clone(), slot.fate.is_none());
        if kept {
            self.summary.jobs.insert(name, (ended.verdict, ended.reason));
        } else if slot.active.is_empty() {
            self.slots.remove(&id);
        }
        if !kept || self.stopping {
            return;
        }
        if self.slots[&id].is_service() {
            self.service_ended(id, &ended);
        } else {
            self.check_ended(id);
        }
    }

    /// Wakes the threads of runs, if it is time; returns how long to sleep where it would have been `pause`.
    pub(super) fn beat(&mut self, pause: Duration) -> Duration {
        let Some(threads) = self.world.runs.as_ref().filter(|_| !self.runs.is_empty()) else { return pause };
        if self.last_beat.elapsed() >= BEAT {
            self.last_beat = Instant::now();
            drop(threads.spawn(ready(())));
        }
        // Services alone have nothing that must come to the millisecond.
        if self.checks > 0 { pause.min(BEAT) } else { pause }
    }
}

impl Ended {
    /// A run whose own task broke.
    fn broken() -> Self {
        Self {
            verdict: Verdict::Errored,
            reason: Some(Reason::Bug),
            cancelled: false,
            killed: false,
            stays: false,
            ready_for: None,
        }
    }
}
