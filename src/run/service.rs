//! Services: they run while their window is open, and start again when they break.

use std::time::Duration;

use jiff::Timestamp;

use super::{Mode, board::SlotId, engine::Engine, task::Ended};
use crate::event::Event;

/// The pauses before a broken service starts again: doubled each time, up to the longest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

impl Engine {
    /// Brings a service to where it should be: open or closed, and plans when to look again.
    pub(super) fn tend(&mut self, id: SlotId, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if self.world.mode != Mode::Daemon {
            if !slot.begun {
                self.begin(id);
            }
            return;
        }
        let until = slot.open_until(now).filter(|until| *until > now);
        if until.is_none() {
            if slot.is_running() {
                // Whoever needs it must not take it for ready while its last connections end.
                self.world.board.set_ready(slot.name(), id, None);
                self.outbox.push(Event::JobClosing { job: slot.known_as.clone() });
            }
            slot.drain();
            slot.again = None;
            slot.pause = Duration::ZERO;
        } else if !slot.done && !slot.is_running() && slot.again.is_none_or(|at| at <= now) {
            slot.again = None;
            self.begin(id);
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let opening = slot.window.as_ref().and_then(|(table, _)| table.after(now));
        if slot.next != opening {
            slot.next = opening;
            self.outbox.push(Event::NextRun { job: slot.known_as.clone(), at: opening });
        }
        let closing = until.filter(|until| *until < Timestamp::MAX);
        let wake = [opening, closing, slot.again].into_iter().flatten().min();
        self.wake_at(id, wake);
    }

    /// Decides what becomes of a service whose run has ended.
    pub(super) fn service_ended(&mut self, id: SlotId, ended: &Ended) {
        self.settled(id);
        let now = self.timeline.now();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if ended.stays || self.world.mode != Mode::Daemon {
            slot.done = true;
        } else if !ended.cancelled {
            let fresh = ended.ready_for.is_some_and(|held| held >= LONGEST);
            slot.pause = if fresh { SHORTEST } else { (slot.pause * 2).clamp(SHORTEST, LONGEST) };
            slot.again = now.saturating_add(slot.pause).ok();
            self.tend(id, now);
        }
    }
}
