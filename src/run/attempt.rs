//! One attempt: the room's own work behind a fence. A panic becomes a message, a deadline is kept, and whoever is told to
//! end has the grace and no more.

use std::{
    any::Any,
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinError,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Mode, observer::Watcher, task::Run};
use crate::{
    context::{Context, Parts, Stop},
    event::Event,
    kind,
    net::listen::Listener,
    outcome::Outcome,
};

/// What an attempt found, before it is judged.
pub(super) enum Found {
    /// What the room returned.
    Returned(Result<Outcome, kind::Error>),
    /// The deadline passed; what the room still returned when it was told so.
    Overdue(Option<Result<Outcome, kind::Error>>),
    /// The room panicked.
    Panicked(String),
    /// It was told to end and did not.
    Cut,
}

/// A room at work, on a task of its own.
pub(super) type Room = AbortOnDropHandle<Result<Outcome, kind::Error>>;

/// How long a room has to return once its deadline has passed, and once it was told that nothing is waited for any more.
/// Together they stay well below the 50 ms by which a run may outlive its deadline.
const SETTLE: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_millis(10);

/// A deadline that is noticed so much later passed while the process did not run.
const STARVED: Duration = Duration::from_millis(50);

/// A room that has not let go of its thread so long after it was given up is stuck in a call.
const STUCK: Duration = Duration::from_secs(1);

/// How long a room has to reset what is left when the grace is over.
pub(super) const RESET: Duration = Duration::from_millis(100);

/// An attempt that goes on.
pub(super) struct Attempt<'a> {
    run: &'a Run,
    watcher: &'a Arc<Watcher>,
    deadline: Option<Instant>,
    /// Its own, below the run's: a deadline ends the attempt alone.
    stop: Stop,
    /// When patience ends next; what then follows depends on `killed`.
    limit: Option<Instant>,
    overdue: bool,
    /// How often the deadline may still be put off.
    second_looks: u8,
    draining: bool,
    killed: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(run: &'a Run, watcher: &'a Arc<Watcher>, deadline: Option<Instant>) -> Self {
        let stop = Stop {
            cancel: run.stop.cancel.child_token(),
            drain: run.stop.drain.child_token(),
            kill: run.stop.kill.child_token(),
            drain_idle: run.stop.drain_idle,
        };
        Self {
            run,
            watcher,
            deadline,
            stop,
            limit: None,
            overdue: false,
            second_looks: 1,
            draining: false,
            killed: false,
        }
    }

    /// Runs the room to its end, or to the end of patience.
    /// Returns what was found, whether the grace had ended before, and the room, if it was given up.
    pub(super) async fn make(mut self, listeners: Vec<Arc<Listener>>) -> (Found, bool, Option<Room>) {
        let mut room = self.spawn(listeners);
        loop {
            tokio::select! {
                biased;
                joined = &mut room => return (self.returned(joined), self.killed && !self.overdue, None),
                () = self.watcher.told() => {
                    if let Some(ready) = self.watcher.take_ready() {
                        self.run.tell(ready).await;
                    }
                }
                () = until(self.deadline), if !self.overdue => {
                    let late = self.deadline.is_some_and(|deadline| deadline.elapsed() > STARVED);
                    if late && self.second_looks > 0 {
                        // Nobody has looked yet at what came in time.
                        self.second_looks -= 1;
                        self.deadline = Some(Instant::now() + SETTLE);
                        continue;
                    }
                    self.overdue = true;
                    self.stop.cancel.cancel();
                    self.limit = Some(Instant::now() + SETTLE);
                }
                () = self.stop.drain.cancelled(), if !self.draining && !self.overdue => {
                    self.draining = true;
                    self.limit = Some(Instant::now() + self.run.world.grace);
                }
                () = until(self.limit) => {
                    if self.killed {
                        let given_up = Some(room);
                        return if self.overdue {
                            (Found::Overdue(None), false, given_up)
                        } else {
                            (Found::Cut, true, given_up)
                        };
                    }
                    self.killed = true;
                    self.stop.kill.cancel();
                    self.limit = Some(Instant::now() + if self.overdue { LAST } else { RESET });
                }
            }
        }
    }

    /// Sets the room to work on a task of its own, whose panic is its own.
    fn spawn(&self, listeners: Vec<Arc<Listener>>) -> Room {
        let (run, world) = (self.run, &self.run.world);
        let cx = Context::new(Parts {
            shared: world.shared.clone(),
            meters: run.meters.clone(),
            memory: run.memory.clone(),
            name: run.known_as.name.clone(),
            stop: self.stop.clone(),
            deadline: self.deadline,
            listeners,
            observer: self.watcher.clone(),
            base: run.job.base.clone(),
            ad_hoc: world.mode == Mode::AdHoc,
        });
        let (room, stop, service) = (run.job.room.clone(), self.stop.clone(), run.is_service());
        AbortOnDropHandle::new(Handle::current().spawn(async move {
            let found = room.run(&cx).await;
            // What the room has left behind is told to end; a service's connections are waited for.
            stop.cancel.cancel();
            if service {
                stop.drain.cancel();
                cx.drained().await;
            } else if cx.is_broken() {
                std::panic::resume_unwind(Box::new("a task of the run panicked"));
            }
            found
        }))
    }

    fn returned(&self, joined: Result<Result<Outcome, kind::Error>, JoinError>) -> Found {
        match joined {
            Ok(result) if self.overdue => Found::Overdue(Some(result)),
            Ok(result) => Found::Returned(result),
            Err(error) => match error.try_into_panic() {
                Ok(payload) => Found::Panicked(words(payload.as_ref())),
                Err(_) => Found::Cut,
            },
        }
    }
}

impl Run {
    /// Waits for a room that was given up to let go of its thread: until then its job must not take another.
    pub(super) async fn reclaim(&self, mut room: Room) {
        room.abort();
        if self.world.mode != Mode::Daemon {
            return;
        }
        tokio::select! {
            _ = &mut room => return,
            () = self.world.ends.cancelled() => return,
            () = sleep(STUCK) => {}
        }
        self.is_stuck.store(true, Ordering::Relaxed);
        self.tell(Event::RunStuck { job: self.known_as.clone(), run_id: self.id() }).await;
        tokio::select! {
            _ = &mut room => {}
            () = self.world.ends.cancelled() => return,
        }
        self.tell(Event::RunReturned { job: self.known_as.clone(), run_id: self.id() }).await;
    }
}

/// Waits for an instant, for ever where there is none.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// What a panic said.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it gave no message".to_owned())
}
