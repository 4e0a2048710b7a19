//! Starts of checks: what is due becomes a run, or is left out and counted, by `overlap`, `missed` and `needs`.

use jiff::{SignedDuration, Timestamp, ToSpan};

use super::{board::SlotId, engine::Engine};
use crate::{
    event::Event,
    outcome::Cause,
    value::{Missed, Overlap},
};

/// A start that was slept over still takes place if it is not later than this.
const LATE: SignedDuration = SignedDuration::from_secs(5);

/// A clock set back by less than this repeats no start that belongs to one local time of the day.
pub(super) const SMALL_STEP: SignedDuration = SignedDuration::from_hours(3);

/// The most runs of one job at a time with `overlap: allow`.
const ALLOWED: usize = 1000;

/// Starts of a job that nobody was there for.
pub(super) struct Missing {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
}

impl Engine {
    /// Sets jobs going that were put into the plan: services first.
    pub(super) fn set_off(&mut self, ids: &[SlotId]) {
        let now = self.timeline.now();
        let (services, checks): (Vec<_>, Vec<_>) = ids.iter().partition(|id| self.slots[id].is_service());
        for id in services {
            self.tend(id, now);
        }
        for id in checks {
            if self.is_once() {
                self.begin(id);
                continue;
            }
            let dealt = self.resume(id, now);
            if self.slots[&id].starts_at_once() || self.slots[&id].owed.is_some() {
                self.begin(id);
            }
            self.plan_next(id, dealt);
        }
    }

    /// Plans a check's next start: the first later than a moment.
    pub(super) fn plan_next(&mut self, id: SlotId, after: Timestamp) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let next = slot.table.after(after);
        if slot.next != next {
            slot.next = next;
            self.outbox.push(Event::NextRun { job: slot.known_as.clone(), at: next });
        }
        let wake = next.map(|next| slot.due(next));
        self.wake_at(id, wake);
    }

    /// Tells that the wall clock was set, and plans all jobs anew.
    pub(super) fn clock_stepped(&mut self, step: SignedDuration) {
        self.outbox.push(Event::ClockStepped { seconds: step.as_secs_f64() });
        let now = self.timeline.now();
        // The step is no sleep: what it jumped over is dealt with job by job.
        self.last_turn = now;
        self.slept_until = now;
        self.heap.clear();
        for id in self.starting.clone() {
            self.await_ready(id);
        }
        if self.is_once() {
            return;
        }
        let ids: Vec<_> = self.plan.values().copied().collect();
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.again = slot.again.and_then(|again| again.checked_add(step).ok());
            if slot.is_service() {
                self.tend(id, now);
            } else {
                self.plan_after_step(id, now, step);
            }
        }
    }

    /// Plans anew after the wall clock was set. What it jumped over forward was missed, unless the boot clock counts the
    /// period; a local time that came before a small step back does not come again.
    pub(super) fn plan_after_step(&mut self, id: SlotId, now: Timestamp, step: SignedDuration) {
        let Some(slot) = self.slots.get(&id) else { return };
        if slot.table.follows_wall_clock() && slot.next.is_some_and(|next| next <= now) {
            return self.start_due(id, now);
        }
        let back = step.is_negative() && slot.table.is_daily();
        let last = slot.last.filter(|last| back && last.duration_since(now) < SMALL_STEP);
        self.plan_next(id, last.map_or(now, |last| last.max(now)));
    }

    /// Starts all that is due of a check, and plans the next start.
    pub(super) fn start_due(&mut self, id: SlotId, now: Timestamp) {
        let Some(next) = self.slots.get(&id).and_then(|slot| slot.next) else { return };
        let mut dealt = next.saturating_sub(1.nanosecond()).unwrap_or(next);
        // A clock that was set back, and now forward again, misses nothing twice.
        if let Some(last) = self.slots.get(&id).and_then(|slot| slot.last).filter(|last| *last <= now) {
            dealt = dealt.max(last);
        }
        if next <= self.slept_until {
            dealt = self.catch_up(id, dealt, now);
        }
        while let Some(slot) = self.slots.get(&id)
            && let Some(nominal) = slot.table.after(dealt)
            && slot.due(nominal) <= now
        {
            self.start(id, nominal);
            dealt = nominal;
        }
        self.plan_next(id, dealt);
    }

    /// Deals with starts that were slept over: the last may still take place, the others are counted. Returns the last
    /// nominal start that it dealt with.
    fn catch_up(&mut self, id: SlotId, dealt: Timestamp, now: Timestamp) -> Timestamp {
        let (Some(slot), Some(missed)) = (self.slots.get(&id), self.missed(id, dealt, now)) else {
            return dealt;
        };
        let runs = now.duration_since(slot.due(missed.last)) <= LATE || slot.job.missed == Missed::Once;
        self.count_missed(id, &missed, runs);
        if runs {
            self.start(id, missed.last);
        }
        missed.last
    }

    /// The starts of a job that are due and later than what was dealt with.
    pub(super) fn missed(&self, id: SlotId, dealt: Timestamp, now: Timestamp) -> Option<Missing> {
        let slot = self.slots.get(&id)?;
        // What jitter may still hold back is looked at one by one.
        let horizon = now.saturating_sub(slot.table.jitter()).unwrap_or(now);
        let is_due = |nominal: &Timestamp| slot.due(*nominal) <= now;
        let (mut count, mut last) = (slot.table.count(dealt, horizon), slot.table.last(dealt, horizon));
        while let Some(nominal) = slot.table.after(last.unwrap_or(dealt)).filter(is_due) {
            (count, last) = (count + 1, Some(nominal));
        }
        let last = last?;
        Some(Missing { first: slot.table.after(dealt).unwrap_or(last), last, count })
    }

    /// Counts starts that were missed, but for the last one if that becomes a run.
    pub(super) fn count_missed(&mut self, id: SlotId, missed: &Missing, last_runs: bool) {
        let count = missed.count - u64::from(last_runs);
        if count > 0 {
            self.skipped(id, missed.first, Cause::Missed, count);
        }
    }

    /// One scheduled start: a run, or a reason why not.
    fn start(&mut self, id: SlotId, nominal: Timestamp) {
        self.dealt_with(id, nominal);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let due = slot.due(nominal);
        if slot.job.needs.iter().any(|need| !self.world.board.holds(need.as_str())) {
            return self.skipped(id, nominal, Cause::Needs, 1);
        }
        if slot.active.is_empty() {
            return self.launch(id, nominal, due);
        }
        match slot.job.overlap {
            // Each would hold one more thread.
            Overlap::Allow if slot.is_stuck() => self.skipped(id, nominal, Cause::Overlap, 1),
            Overlap::Allow if slot.active.len() < ALLOWED => self.launch(id, nominal, due),
            Overlap::Allow => self.skipped(id, nominal, Cause::Limit, 1),
            Overlap::Queue if slot.queued.is_none() => slot.queued = Some(nominal),
            Overlap::Skip | Overlap::Queue => self.skipped(id, nominal, Cause::Overlap, 1),
            Overlap::Replace => {
                slot.drain();
                if let Some(older) = slot.queued.replace(nominal) {
                    self.skipped(id, older, Cause::Overlap, 1);
                }
            }
        }
    }

    /// Starts what waited for the end of a check's run.
    pub(super) fn check_ended(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.active.is_empty()) else { return };
        if let Some(nominal) = slot.queued.take() {
            let due = slot.due(nominal);
            self.launch(id, nominal, due);
        }
    }
}
