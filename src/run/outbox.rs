//! The engine's way to the sinks that never waits: what finds no room in the channel stands here until there is some.
//! Runs do not use it: they wait for room themselves, so that a slow sink slows them and not the engine. But a run tells
//! nothing before all is out that was told before its start.

use std::collections::VecDeque;

use tokio::sync::{
    mpsc::{Sender, error::TrySendError},
    oneshot,
};

use crate::{event::Event, meter::Counter};

/// Beyond it, what tells of the schedule and the clock only is dropped and counted, and no reload begins.
const LIMIT: usize = 65_536;

/// Events in order, and whom they are for.
#[derive(Debug)]
pub(super) struct Outbox {
    to: Sender<Event>,
    waiting: VecDeque<Waiting>,
    dropped: Counter,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    /// Dropped with it: each wakes the one run that was started behind it, and no other of the thousands that may wait.
    turns: Vec<oneshot::Sender<()>>,
}

/// The place in the order of events at which a run may begin to tell.
#[derive(Debug)]
pub(super) struct Turn(oneshot::Receiver<()>);

impl Turn {
    /// Waits until all is out that was told before.
    pub(super) async fn comes(self) {
        // Nothing is ever sent: its other end goes when the event before it is out, or the engine is gone.
        let _ = self.0.await;
    }
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
        let is_small =
            matches!(event, Event::NextRun { .. } | Event::RunSkipped { .. } | Event::ClockStepped { .. });
        if is_small && self.is_full() {
            self.dropped.inc();
        } else {
            self.waiting.push_back(Waiting { event, turns: vec![] });
        }
    }

    /// When what starts now may tell of itself; `None`: at once.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        let last = self.waiting.back_mut()?;
        let (comes, turn) = oneshot::channel();
        last.turns.push(comes);
        Some(Turn(turn))
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= LIMIT
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for room and sends what waits, as far as there is some. May be cancelled at any point.
    pub(super) async fn flush(&mut self) {
        let Ok(mut permit) = self.to.reserve().await else { return self.waiting.clear() };
        while let Some(next) = self.waiting.pop_front() {
            permit.send(next.event);
            match self.to.try_reserve() {
                Ok(another) => permit = another,
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{self, Wake, Waker},
    };

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

    /// Thousands may wait while sinks are slow: each event that wakes all of them would cost more than all runs.
    #[tokio::test]
    async fn an_event_that_goes_out_wakes_those_alone_whose_turn_it_is() {
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (sender, mut events) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender, Counter::default());
        outbox.push(Event::Stopping);
        let mut waiting: Vec<_> = (0..3)
            .map(|_| {
                outbox.push(Event::Stopping);
                Box::pin(outbox.turn().unwrap().comes())
            })
            .collect();
        let heard: Vec<_> = waiting.iter().map(|_| Arc::new(Woken(AtomicUsize::new(0)))).collect();
        for (turn, woken) in waiting.iter_mut().zip(&heard) {
            let waker = Waker::from(woken.clone());
            assert!(turn.as_mut().poll(&mut task::Context::from_waker(&waker)).is_pending());
        }
        for out in 1..=3 {
            events.recv().await;
            outbox.flush().await;
            let woken: Vec<_> = heard.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect();
            assert_eq!(woken, (0..3).map(|turn| usize::from(turn < out)).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn what_waits_goes_out_at_once_as_far_as_there_is_room() {
        let (sender, mut events) = mpsc::channel(3);
        let mut outbox = Outbox::new(sender, Counter::default());
        for _ in 0..10 {
            outbox.push(Event::Stopping);
        }
        while events.try_recv().is_ok() {}
        outbox.flush().await;
        assert_eq!((events.len(), outbox.waiting.len()), (3, 4));
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
