//! Starts that came while no runner ran: `missed: once` catches up with them at the next one's start, where `--state` keeps
//! until where they were dealt with.

use jiff::Timestamp;

use super::{board::SlotId, engine::Engine, starts::SMALL_STEP};
use crate::value::Missed;

impl Engine {
    /// Counts what a job missed before it came into the plan, and has it owe one run; returns until where its starts are
    /// dealt with.
    pub(super) fn resume(&mut self, id: SlotId, now: Timestamp) -> Timestamp {
        let Some(slot) = self.slots.get(&id) else { return now };
        let name = slot.name().clone();
        if slot.job.missed != Missed::Once {
            self.kept_starts.forget(&name);
            return now;
        }
        let schedule = slot.table.fingerprint();
        let Some(last) = self.kept_starts.last(&name, schedule) else {
            // Of a job or a schedule that was not known there is nothing to catch up with.
            self.kept_starts.note(&name, schedule, now);
            return now;
        };
        if last > now {
            // The clock was set back; where by much, it may still come to the truth.
            let is_repeat = slot.table.is_daily() && last.duration_since(now) < SMALL_STEP;
            self.set_last(id, last);
            return if is_repeat { last } else { now };
        }
        self.set_last(id, last);
        let Some(missed) = self.missed(id, last, now) else { return last };
        self.count_missed(id, &missed, true);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.owed = Some(missed.last);
        }
        missed.last
    }

    fn set_last(&mut self, id: SlotId, last: Timestamp) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.last = Some(last);
        }
    }

    /// A start is dealt with: it becomes a run, or is left out for a reason.
    pub(super) fn dealt_with(&mut self, id: SlotId, nominal: Timestamp) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.last = Some(nominal);
        if slot.job.missed == Missed::Once {
            self.kept_starts.note(slot.name(), slot.table.fingerprint(), nominal);
        }
    }

    /// The start that a job is to catch up with as soon as what it needs is there.
    pub(super) fn take_owed(&mut self, id: SlotId) -> Option<Timestamp> {
        let slot = self.slots.get_mut(&id)?;
        let owed = slot.owed.take()?;
        // A later one may have come while it waited.
        if slot.last.is_none_or(|last| last < owed) {
            self.dealt_with(id, owed);
        }
        Some(owed)
    }
}
