//! The engine's state and its turn: what is due is started, what was touched is looked at, then it sleeps.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    task::{self, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Mode, Start, Summary, Timeline, World,
    board::{Board, SlotId},
    control::Commands,
    outbox::Outbox,
    reload::Reloads,
    slot::Slot,
    task::Ended,
};
use crate::{
    context::{Memory, Starts},
    event::{Event, JobRef},
    job::Job,
    net::listen::Listener,
    outcome::Cause,
};

/// The longest sleep, so that a step of the wall clock is noticed soon.
const NAP: Duration = Duration::from_secs(1);

/// A turn that comes later than this after the one before: the process was stopped or the machine asleep.
const STALL: SignedDuration = SignedDuration::from_secs(2);

/// After a start others may wait this long, so that a crowd shares a waking; one start alone is not late by it.
const REST: Duration = Duration::from_millis(2);

/// How many jobs one turn looks at, so that what ends or comes meanwhile need not wait for a crowd.
const CROWD: usize = 256;

/// All that the engine knows.
pub(super) struct Engine {
    pub(super) world: Arc<World>,
    pub(super) timeline: Timeline,
    pub(super) outbox: Outbox,
    pub(super) slots: HashMap<SlotId, Slot>,
    /// The plan in force, by name.
    pub(super) plan: BTreeMap<Arc<str>, SlotId>,
    next_slot: SlotId,
    pub(super) heap: BinaryHeap<Reverse<(Timestamp, SlotId)>>,
    /// Who waits for a name.
    pub(super) waiting: HashMap<Arc<str>, Vec<SlotId>>,
    pub(super) runs: JoinSet<Ended>,
    pub(super) owners: HashMap<task::Id, SlotId>,
    /// How many checks run.
    pub(super) checks: usize,
    /// `once`: services that run and are not ready yet.
    pub(super) starting: HashSet<SlotId>,
    pub(super) reloads: Reloads,
    pub(super) stopping: bool,
    pub(super) summary: Summary,
    pub(super) last_turn: Timestamp,
    /// Starts up to here were slept over, if they are still to come.
    pub(super) slept_until: Timestamp,
    /// Until where starts are dealt with, for a later process.
    pub(super) kept_starts: Starts,
    /// When the threads of runs were last woken.
    pub(super) last_beat: Instant,
}

impl Engine {
    /// An engine with its jobs in place, and what it listens to.
    pub(super) fn new(start: Start) -> (Self, Commands) {
        let timeline = Timeline::new(start.clock);
        let now = timeline.now();
        let world = World {
            shared: start.shared,
            board: Board::default(),
            events: start.events.clone(),
            dropped: start.dropped.clone(),
            mode: start.mode,
            grace: start.grace,
            drain_idle: start.drain_idle,
            runs: start.runs,
            ends: CancellationToken::new(),
        };
        let kept_starts = match world.mode {
            Mode::Daemon => Starts::of(world.shared.state.as_ref()),
            Mode::Once { .. } | Mode::AdHoc => Starts::default(),
        };
        let summary = Summary { daemon: world.mode == Mode::Daemon, ..Summary::default() };
        let mut engine = Self {
            world: Arc::new(world),
            timeline,
            outbox: Outbox::new(start.events, start.dropped),
            slots: HashMap::new(),
            plan: BTreeMap::new(),
            next_slot: 0,
            heap: BinaryHeap::new(),
            waiting: HashMap::new(),
            runs: JoinSet::new(),
            owners: HashMap::new(),
            checks: 0,
            starting: HashSet::new(),
            reloads: Reloads::new(start.loader),
            stopping: false,
            summary,
            last_turn: now,
            slept_until: now,
            kept_starts,
            last_beat: Instant::now(),
        };
        let set = engine.selected(start.set);
        let jobs = set.jobs.into_iter();
        let ids: Vec<_> = jobs
            .map(|job| {
                let memory = engine.memory_of(&job);
                engine.insert(job, vec![], memory)
            })
            .collect();
        let jobs: Vec<JobRef> = ids.iter().map(|id| engine.slots[id].known_as.clone()).collect();
        engine.outbox.push(Event::Started { jobs: jobs.clone() });
        for (name, why) in set.left_out {
            engine.outbox.push(Event::LeftOut { name, why });
        }
        for job in jobs {
            engine.outbox.push(Event::JobAdded { job });
        }
        let plan = &engine.plan;
        engine.kept_starts.forget_all_but(|job| plan.contains_key(job), now);
        engine.set_off(&ids);
        (engine, start.commands)
    }

    /// Puts a job into the plan, without starting it.
    pub(super) fn insert(&mut self, job: Job, listeners: Vec<Arc<Listener>>, memory: Memory) -> SlotId {
        self.next_slot += 1;
        let slot = Slot::new(self.next_slot, job, listeners, memory, &self.world.shared.registry);
        self.world.board.adopt(slot.name(), slot.id, slot.is_service());
        self.plan.insert(slot.name().clone(), slot.id);
        self.slots.insert(self.next_slot, slot);
        self.next_slot
    }

    /// Does all that is due; returns how long to sleep then.
    pub(super) fn turn(&mut self) -> Duration {
        // Whoever has ended must not look like a run that still goes on to the start that follows.
        while let Some(ended) = self.runs.try_join_next_with_id() {
            self.finished(ended);
        }
        if self.stopping {
            return NAP;
        }
        if let Some(step) = self.timeline.step() {
            self.clock_stepped(step);
        }
        let now = self.timeline.now();
        if now.duration_since(self.last_turn) > STALL {
            self.slept_until = now;
        }
        self.last_turn = now;
        self.release_touched();
        let mut rest = Duration::ZERO;
        for _ in 0..CROWD {
            let Some(Reverse((at, id))) = self.heap.peek().copied().filter(|Reverse((at, _))| *at <= now)
            else {
                break;
            };
            self.heap.pop();
            if self.slots.get(&id).is_some_and(|slot| slot.wake == Some(at)) {
                self.attend(id, now);
                rest = REST;
            }
        }
        if self.is_once() {
            self.turn_once();
        }
        self.kept_starts.save_in_time(now);
        let Some(Reverse((at, _))) = self.heap.peek() else { return NAP };
        let next: Duration = at.duration_since(self.timeline.now()).try_into().unwrap_or_default();
        // What is left of a crowd waits for no rest.
        if next.is_zero() { next } else { next.clamp(rest, NAP) }
    }

    fn attend(&mut self, id: SlotId, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.wake = None;
        let service = slot.is_service();
        if self.is_once() {
            self.settled(id);
        } else if service {
            self.tend(id, now);
        } else {
            self.start_due(id, now);
        }
    }

    /// Has the engine look at a job again; `None`: not before something happens to it.
    pub(super) fn wake_at(&mut self, id: SlotId, wake: Option<Timestamp>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.wake = wake;
            self.heap.extend(wake.map(|at| Reverse((at, id))));
        }
    }

    /// Says that starts did not become runs.
    pub(super) fn skipped(&mut self, id: SlotId, scheduled: Timestamp, cause: Cause, count: u64) {
        let Some(slot) = self.slots.get(&id) else { return };
        let job = slot.known_as.clone();
        self.outbox.push(Event::RunSkipped { job, scheduled, cause, count });
    }

    pub(super) fn is_once(&self) -> bool {
        matches!(self.world.mode, Mode::Once { .. })
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether there is nothing left to do.
    pub(super) fn is_over(&self) -> bool {
        let idle = self.runs.is_empty();
        let spent = || self.waiting.is_empty() && self.slots.values().all(|slot| slot.wake.is_none());
        idle && (self.stopping || self.world.mode == Mode::AdHoc && spent())
    }
}
