//! How the engine ends, and how one job leaves it: nothing new, then the grace, then what is left is cut off.
//!
//! The grace is kept by each run itself, see `task`: here runs are only told.

use tokio::time::timeout;

use super::{Summary, attempt::RESET, board::SlotId, control::Signal, engine::Engine, slot::Fate};
use crate::{event::Event, outcome::Cause};

impl Engine {
    /// A signal asks to end.
    pub(super) fn interrupt(&mut self, signal: Option<Signal>) {
        self.summary.signal = signal;
        let to_come = self.is_once() && !self.waiting.is_empty();
        self.summary.interrupted = !self.summary.daemon && (self.checks > 0 || to_come);
        self.stop();
    }

    /// Starts nothing more and tells every run to end.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.world.ends.cancel();
        self.outbox.push(Event::Stopping);
        self.heap.clear();
        if self.is_once() {
            self.skip_waiting(Cause::Shutdown);
        }
        self.waiting.clear();
        self.reloads.refuse("the runner is stopping");
        self.world.shared.listeners.let_go();
        let ids: Vec<_> = self.slots.keys().copied().collect();
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.wake = None;
            slot.drain();
            if let Some(nominal) = slot.queued.take() {
                self.skipped(id, nominal, Cause::Shutdown, 1);
            }
        }
    }

    /// Ends at once: connections are broken off, so that none looks finished, and runs are dropped where they stand.
    pub(super) async fn aborted(&mut self, signal: Option<Signal>) -> Summary {
        let services = self.slots.values().filter(|slot| slot.is_service());
        let cut: Vec<_> = services.flat_map(|slot| &slot.active).collect();
        for run in &cut {
            run.stop.cancel.cancel();
            run.stop.kill.cancel();
        }
        if !cut.is_empty() {
            let ended = async { while self.runs.join_next().await.is_some() {} };
            // Those that are not done by then are dropped as they are.
            let _ = timeout(RESET, ended).await;
        }
        self.runs.abort_all();
        self.kept_starts.save();
        self.summary.signal = self.summary.signal.or(signal);
        self.summary.cut_short = true;
        self.outbox.push(Event::Stopped);
        std::mem::take(&mut self.summary)
    }

    /// Waits until the sinks have taken the last event.
    pub(super) async fn last_words(&mut self) {
        self.kept_starts.save();
        self.outbox.push(Event::Stopped);
        while !self.outbox.is_empty() {
            self.outbox.flush().await;
        }
    }

    /// Takes a job out of the plan. A removed one drains, and its series go at once; a changed service only accepts nothing
    /// more, and a changed check with a bound comes to its end.
    pub(super) fn retire(&mut self, id: SlotId, fate: Fate) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.fate = Some(fate);
        slot.wake = None;
        slot.queued = None;
        slot.waits_for = None;
        match fate {
            Fate::Removed => {
                slot.drain();
                self.plan.remove(slot.name());
                self.world.board.leave(slot.name(), id);
                self.world.shared.registry.remove(slot.name());
                self.summary.jobs.remove(slot.name());
                self.outbox.push(Event::JobRemoved { job: slot.known_as.clone() });
            }
            Fate::Changed if slot.is_service() => {
                slot.active.iter().for_each(|run| run.stop.cancel.cancel());
            }
            Fate::Changed if slot.job.run_timeout.is_none() => slot.drain(),
            Fate::Changed => {}
        }
        if slot.active.is_empty() {
            self.slots.remove(&id);
        }
    }
}
