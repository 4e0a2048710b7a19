//! One attempt: the room's own work behind a fence. A panic becomes a message, a deadline is kept, and whoever is told to
//! end has the grace and no more.

use std::{any::Any, future::pending, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{Mode, observer::Watcher, task::Run};
use crate::{
    context::{Context, Parts, Stop},
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

/// How long a room has to return once its deadline has passed, and once it was told that nothing is waited for any more.
/// Together they stay well below the 50 ms by which a run may outlive its deadline.
const SETTLE: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_millis(10);

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
        let (limit, overdue, draining, killed) = (None, false, false, false);
        Self { run, watcher, deadline, stop, limit, overdue, draining, killed }
    }

    /// Runs the room to its end, or to the end of patience.
    /// Returns what was found, and whether the grace had ended before.
    pub(super) async fn make(mut self, listeners: Vec<Arc<Listener>>) -> (Found, bool) {
        let mut room = self.spawn(listeners);
        loop {
            tokio::select! {
                biased;
                Some(joined) = room.join_next() => return (self.returned(joined), self.killed && !self.overdue),
                () = self.watcher.told() => {
                    if let Some(ready) = self.watcher.take_ready() {
                        self.run.tell(ready).await;
                    }
                }
                () = until(self.deadline), if !self.overdue => {
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
                        return if self.overdue { (Found::Overdue(None), false) } else { (Found::Cut, true) };
                    }
                    self.killed = true;
                    self.stop.kill.cancel();
                    self.limit = Some(Instant::now() + if self.overdue { LAST } else { RESET });
                }
            }
        }
    }

    /// Sets the room to work on a task of its own, whose panic is its own.
    fn spawn(&self, listeners: Vec<Arc<Listener>>) -> JoinSet<Result<Outcome, kind::Error>> {
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
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let found = room.run(&cx).await;
            // What the room has left behind is told to end; a service's connections are waited for.
            stop.cancel.cancel();
            if service {
                stop.drain.cancel();
                cx.drained().await;
            }
            found
        });
        tasks
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
