//! Who comes first: jobs wait here until what they need is ready or has passed, and are let go when it is.

use super::{board::SlotId, engine::Engine};

impl Engine {
    /// Looks again at jobs that wait for what was written on the board.
    pub(super) fn release_touched(&mut self) {
        for name in self.world.board.take_touched() {
            if let Some(id) = self.plan.get(&name)
                && self.world.board.holds(&name)
            {
                self.settled(*id);
            }
            self.release(&name);
        }
    }

    /// Looks again at jobs that wait for a name.
    pub(super) fn release(&mut self, name: &str) {
        let now = self.timeline.now();
        for id in self.waiting.remove(name).unwrap_or_default() {
            let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.fate.is_none()) else { continue };
            slot.waits_for = None;
            if slot.is_service() {
                self.tend(id, now);
            } else {
                self.begin(id);
            }
        }
    }

    /// Starts a job that starts at once or catches up, as soon as what comes first is there.
    pub(super) fn begin(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(&id) else { return };
        if self.stopping || slot.fate.is_some() || slot.waits_for.is_some() {
            return;
        }
        let first =
            (slot.job.needs.iter()).find(|need| !slot.begun && !self.world.board.holds(need.as_str()));
        let first = match first {
            Some(need) => Some(need.shared()),
            None if self.is_once() && !slot.is_service() && !self.starting.is_empty() => Some("".into()),
            None => None,
        };
        let Some(name) = first else {
            let now = self.timeline.now();
            let owed = self.take_owed(id);
            let due = owed.and_then(|owed| self.slots.get(&id).map(|slot| slot.due(owed)));
            return self.launch(id, owed.unwrap_or(now), due.unwrap_or(now));
        };
        self.waiting.entry(name.clone()).or_default().push(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.waits_for = Some(name);
            slot.listeners.clear();
        }
    }
}
