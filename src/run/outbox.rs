//! The engine's way to the sinks that never waits: what finds no room in the channel stands here until there is some.
//! Runs do not use it: they wait for room themselves, so that a slow sink slows them and not the engine. But a run tells
//! nothing before all is out that was told before its start.

use std::collections::VecDeque;

use tokio::sync::{
    mpsc::{Sender, error::TrySendError},
    watch,
};

use crate::{event::Event, meter::Counter};

/// Beyond it, what tells of the schedule and the clock only is dropped and counted, and no reload begins.
const LIMIT: usize = 65_536;

/// Events in order, and whom they are for.
#[derive(Debug)]
pub(super) struct Outbox {
    to: Sender<Event>,
    waiting: VecDeque<Event>,
    dropped: Counter,
    /// How many of those that waited are out.
    sent: watch::Sender<u64>,
}

/// The place in the order of events at which a run may begin to tell.
#[derive(Debug)]
pub(super) struct Turn {
    sent: watch::Receiver<u64>,
    after: u64,
}

impl Turn {
    /// Waits until all is out that was told before.
    pub(super) async fn comes(mut self) {
        // An engine that is gone has nothing more to tell.
        let _ = self.sent.wait_for(|sent| *sent >= self.after).await;
    }
}

impl Outbox {
    pub(super) fn new(to: Sender<Event>, dropped: Counter) -> Self {
        Self { to, waiting: VecDeque::new(), dropped, sent: watch::Sender::new(0) }
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
        let is_small =
            matches!(event, Event::NextRun { .. } | Event::RunSkipped { .. } | Event::ClockStepped { .. });
        if is_small && self.is_full() {
            self.dropped.inc();
        } else {
            self.waiting.push_back(event);
        }
    }

    /// When what starts now may tell of itself; `None`: at once.
    pub(super) fn turn(&self) -> Option<Turn> {
        let waiting = u64::try_from(self.waiting.len()).ok().filter(|waiting| *waiting > 0)?;
        let sent = self.sent.subscribe();
        let after = *sent.borrow() + waiting;
        Some(Turn { sent, after })
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= LIMIT
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
                    self.sent.send_modify(|sent| *sent += 1);
                }
            }
            Err(_) => self.waiting.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_starts_now_tells_nothing_before_what_was_told_before_it() {
        let (sender, mut events) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender, Counter::default());
        assert!(outbox.turn().is_none());
        for _ in 0..3 {
            outbox.push(Event::Stopping);
        }
        let turn = outbox.turn().unwrap();
        outbox.push(Event::Stopping);
        let mut comes = std::pin::pin!(turn.comes());
        for _ in 0..2 {
            assert!(tokio::time::timeout(std::time::Duration::from_secs(1), comes.as_mut()).await.is_err());
            events.recv().await;
            outbox.flush().await;
        }
        comes.await;
        assert!(!outbox.is_empty(), "it does not wait for what came later");
    }

    #[test]
    fn what_tells_of_the_schedule_is_dropped_and_counted_beyond_the_limit() {
        let (sender, _events) = mpsc::channel(1);
        let dropped = Counter::default();
        let mut outbox = Outbox::new(sender, dropped.clone());
        for _ in 0..LIMIT + 10 {
            outbox.push(Event::ClockStepped { seconds: 1.0 });
        }
        outbox.push(Event::Stopping);
        assert_eq!((dropped.value(), outbox.waiting.len()), (9, LIMIT + 1));
    }
}
