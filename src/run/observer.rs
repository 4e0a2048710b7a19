//! The engine's side of a run's context: hears what the run tells, answers what it asks. Never waits.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc::error::TrySendError, watch},
    time::Instant,
};

use super::{World, board::SlotId};
use crate::{
    context::Observer,
    event::{Event, JobRef},
    outcome::{Notice, Verdict},
    value::Endpoint,
};

/// Stands between one run and the engine.
#[derive(Debug)]
pub(super) struct Watcher {
    world: Arc<World>,
    job: JobRef,
    slot: SlotId,
    run_id: Arc<str>,
    /// Addresses that sinks have not heard of yet.
    news: Mutex<Option<Vec<Endpoint>>>,
    told: Notify,
    /// When it first said so.
    since: OnceLock<Instant>,
}

impl Watcher {
    pub(super) fn new(world: Arc<World>, job: JobRef, slot: SlotId, run_id: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            world,
            job,
            slot,
            run_id,
            news: Mutex::default(),
            told: Notify::new(),
            since: OnceLock::new(),
        })
    }

    /// Waits until the service has said that it is ready.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    /// How long the service has been ready; `None`: it never was.
    pub(super) fn ready_for(&self) -> Option<Duration> {
        self.since.get().map(Instant::elapsed)
    }

    /// The event for what the service has said, once.
    pub(super) fn take_ready(&self) -> Option<Event> {
        let addresses = self.news.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Some(Event::JobReady { job: self.job.clone(), addresses })
    }
}

impl Observer for Watcher {
    fn notice(&self, notice: Notice) {
        let events = &self.world.events;
        if !self.has_room() {
            return self.world.dropped.inc();
        }
        let event = Event::Notice { job: self.job.clone(), run_id: self.run_id.clone(), notice };
        if let Err(TrySendError::Full(_)) = events.try_send(event) {
            self.world.dropped.inc();
        }
    }

    /// Half of the room is kept for what runs come to, so that one that talks much holds up no other. Nobody waits for a hub
    /// that is gone.
    fn has_room(&self) -> bool {
        let events = &self.world.events;
        events.capacity() >= events.max_capacity() / 2 || events.is_closed()
    }

    fn ready(&self, addresses: Vec<Endpoint>) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(addresses.clone());
        self.world.board.set_ready(&self.job.name, self.slot, Some(addresses));
        let _ = self.since.set(Instant::now());
        self.told.notify_one();
    }

    fn verdict_of(&self, job: &str) -> Option<Verdict> {
        self.world.board.verdict_of(job)
    }

    fn address_of(&self, job: &str) -> Option<Endpoint> {
        self.world.board.address_of(job)
    }

    fn is_out(&self, check: &str) -> watch::Receiver<bool> {
        self.world.board.is_out(check)
    }
}
