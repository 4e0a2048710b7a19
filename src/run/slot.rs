//! One job's place in the engine: its timetable, its runs, and what it waits for. Decides nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::task;

use super::board::SlotId;
use crate::{
    context::{Memory, Stop},
    event::JobRef,
    job::Job,
    meter::{Meters, Registry},
    net::listen::Listener,
    plan::Timetable,
    value::schedule::At,
};

/// A run that goes on.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) task: task::Id,
    pub(super) stop: Stop,
    /// Whether it was given up and what it does has not returned.
    pub(super) is_stuck: Arc<AtomicBool>,
}

/// Why a job is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A reload put another definition in its place.
    Changed,
    /// A reload took it away.
    Removed,
}

/// A job and its state.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) job: Arc<Job>,
    pub(super) known_as: JobRef,
    pub(super) meters: Meters,
    pub(super) memory: Memory,
    pub(super) table: Timetable,
    /// When a service opens and for how long; `None`: always.
    pub(super) window: Option<(Timetable, Duration)>,
    /// The next nominal start of a check, or the next opening of a service.
    pub(super) next: Option<Timestamp>,
    /// The start that it catches up with as soon as what it needs is there.
    pub(super) owed: Option<Timestamp>,
    /// The last nominal start that was dealt with.
    pub(super) last: Option<Timestamp>,
    /// When the engine must look at it; an entry of the heap with another time is stale.
    pub(super) wake: Option<Timestamp>,
    pub(super) active: Vec<Active>,
    /// The start that waits for the run before it.
    pub(super) queued: Option<Timestamp>,
    /// The name that it waits for: a need, or nothing for all services that are still starting.
    pub(super) waits_for: Option<Arc<str>>,
    /// Whether its needs have held once; a later failure stops no service.
    pub(super) begun: bool,
    /// Whether it has nothing left to do.
    pub(super) done: bool,
    /// When a broken service starts again, and after what pause.
    pub(super) again: Option<Timestamp>,
    pub(super) pause: Duration,
    /// What a reload opened for its first run.
    pub(super) listeners: Vec<Arc<Listener>>,
    pub(super) fate: Option<Fate>,
}

impl Slot {
    pub(super) fn new(
        id: SlotId,
        job: Job,
        listeners: Vec<Arc<Listener>>,
        memory: Memory,
        registry: &Arc<Registry>,
    ) -> Self {
        let (name, labels, facts) = (job.name.shared(), job.labels.clone(), job.room.facts());
        let texts = labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
        let meters = registry.job(&name, facts.name, texts);
        Self {
            id,
            meters,
            memory,
            known_as: JobRef {
                id,
                name,
                kind: facts.name,
                service: facts.service,
                usual: facts.usual,
                labels,
            },
            table: Timetable::new(&job.name, &job.schedule),
            window: job.open.as_ref().map(|open| (Timetable::new(&job.name, &open.schedule), open.length.0)),
            job: Arc::new(job),
            next: None,
            owed: None,
            last: None,
            wake: None,
            active: vec![],
            queued: None,
            waits_for: None,
            begun: false,
            done: false,
            again: None,
            pause: Duration::ZERO,
            listeners,
            fate: None,
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.known_as.name
    }

    pub(super) fn is_service(&self) -> bool {
        self.known_as.service
    }

    /// Whether it has a start that comes as soon as its needs hold.
    pub(super) fn starts_at_once(&self) -> bool {
        self.is_service() || self.job.schedule.at == Some(At::Start)
    }

    /// Whether a run goes on that nobody has told to end.
    pub(super) fn is_running(&self) -> bool {
        self.active.iter().any(|run| !run.stop.cancel.is_cancelled())
    }

    /// Whether a run of it holds a thread and does not give it back.
    pub(super) fn is_stuck(&self) -> bool {
        self.active.iter().any(|run| run.is_stuck.load(Ordering::Relaxed))
    }

    /// When a scheduled start is due: its nominal time and its jitter.
    pub(super) fn due(&self, nominal: Timestamp) -> Timestamp {
        nominal.saturating_add(self.table.delay(nominal)).unwrap_or(nominal)
    }

    /// Tells its runs to end: nothing new, then the grace.
    pub(super) fn drain(&self) {
        for run in &self.active {
            run.stop.cancel.cancel();
            run.stop.drain.cancel();
        }
    }

    /// Whether the window is open now, and until when; a service without one is open for ever.
    pub(super) fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let Some((table, length)) = &self.window else { return Some(Timestamp::MAX) };
        let earliest = now.saturating_sub(*length).unwrap_or(Timestamp::MIN);
        let opened = table.last(earliest, now)?;
        opened.saturating_add(*length).ok()
    }
}
