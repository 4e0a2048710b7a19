//! The engine's way to the sinks that never waits: what finds no room in the channel stands here until there is some.
//! Runs do not use it: they wait for room themselves, so that a slow sink slows them and not the engine.

use std::collections::VecDeque;

use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::{event::Event, meter::Counter};

/// Beyond it, what tells of the schedule only is dropped and counted.
const LIMIT: usize = 65_536;

/// Events in order, and whom they are for.
#[derive(Debug)]
pub(super) struct Outbox {
    to: Sender<Event>,
    waiting: VecDeque<Event>,
    dropped: Counter,
}

impl Outbox {
    pub(super) fn new(to: Sender<Event>, dropped: Counter) -> Self {
        Self { to, waiting: VecDeque::new(), dropped }
    }

    /// Sends at once where there is room and nothing waits before it.
    pub(super) fn push(&mut self, event: Event) {
        let event = if self.waiting.is_empty() {
            match self.to.try_send(event) {
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        if self.waiting.len() >= LIMIT && matches!(event, Event::NextRun { .. } | Event::RunSkipped { .. }) {
            self.dropped.inc();
        } else {
            self.waiting.push_back(event);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends what waits, as far as there is room; returns when one more is out. May be cancelled at any point.
    pub(super) async fn flush(&mut self) {
        match self.to.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            }
            Err(_) => self.waiting.clear(),
        }
    }
}
