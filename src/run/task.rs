//! One run, as a task of its own: attempts and the pauses between them, judged, told to the sinks. What may go wrong inside
//! an attempt stays inside it, see `attempt`.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Mode, Timeline, World,
    attempt::{Attempt, Found, Room},
    board::{Change, SlotId},
    judge::{Judgement, judge},
    observer::Watcher,
    outbox::Turn,
};
use crate::{
    context::{Memory, Shared, Stop},
    event::{Event, Finished, JobRef},
    job::Job,
    kind,
    meter::Meters,
    net::{self, listen::Listener},
    outcome::{Outcome, Reason, Verdict},
};

/// A run that is about to start.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) slot: SlotId,
    pub(super) job: Arc<Job>,
    pub(super) known_as: JobRef,
    pub(super) meters: Meters,
    pub(super) memory: Memory,
    /// Its nominal start, which is its identity.
    pub(super) nominal: Timestamp,
    /// The nominal start and its jitter.
    pub(super) due: Timestamp,
    pub(super) stop: Stop,
    /// What a reload opened for it; otherwise it opens its own.
    pub(super) listeners: Vec<Arc<Listener>>,
    /// Whether it was given up and what it does has not returned.
    pub(super) is_stuck: Arc<AtomicBool>,
    /// When it may begin to tell; `None`: at once.
    pub(super) turn: Option<Turn>,
    pub(super) timeline: Timeline,
}

/// What the engine needs to know of a run that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    pub(super) reason: Option<Reason>,
    /// Whether it was told to end.
    pub(super) cancelled: bool,
    /// Whether it was cut off when the grace was over.
    pub(super) killed: bool,
    /// Whether it is a service that has done its work.
    pub(super) stays: bool,
    /// How long a service was ready.
    pub(super) ready_for: Option<Duration>,
}

/// A run's attempts, summed up.
struct Attempted {
    judged: Judgement,
    attempts: u32,
    killed: bool,
    stays: bool,
    /// The room, if it was given up.
    given_up: Option<Room>,
}

impl Run {
    /// Runs to the end and tells the sinks.
    pub(super) async fn go(mut self) -> Ended {
        if let Some(turn) = self.turn.take() {
            turn.comes().await;
        }
        let run_id: Arc<str> = self.id().into();
        self.tell(Event::RunStarted { job: self.known_as.clone(), run_id: run_id.to_string() }).await;
        // Time that a slow sink took is no time of the run's.
        let (started, begun) = (self.timeline.now(), Instant::now());
        let watcher = Watcher::new(self.world.clone(), self.known_as.clone(), self.slot, run_id);
        let done = self.attempts(&watcher, begun).await;
        let (job, ready_for) = (&self.known_as, watcher.ready_for());
        if let Some(ready) = watcher.take_ready() {
            self.tell(ready).await;
        }
        let (verdict, reason) = (done.judged.verdict, done.judged.reason);
        let cancelled = self.stop.cancel.is_cancelled();
        let was = self.record(verdict, reason);
        let finished = Finished {
            started,
            duration: begun.elapsed(),
            start_lag: started.duration_since(self.due).try_into().unwrap_or_default(),
            attempts: done.attempts,
            ..record(job, self.nominal, started, done.judged)
        };
        self.tell(Event::RunFinished(Box::new(finished))).await;
        if let Some(from) = was.map(|change| change.from).filter(|from| *from != Some(verdict)) {
            self.tell(Event::StateChanged { job: job.clone(), from, to: verdict, reason }).await;
        }
        if let Some(room) = done.given_up {
            self.reclaim(room).await;
        }
        Ended { verdict, reason, cancelled, killed: done.killed, stays: done.stays, ready_for }
    }

    pub(super) fn id(&self) -> String {
        format!("{}@{}", self.known_as.name, self.nominal)
    }

    /// Waits for room: a slow sink slows the run and nothing else.
    pub(super) async fn tell(&self, event: Event) {
        // A sink that has gone away no longer wants to know.
        let _ = self.world.events.send(event).await;
    }

    pub(super) fn is_service(&self) -> bool {
        self.known_as.service
    }

    /// Writes the verdict on the board; returns the one before, where the verdict says something about the network.
    fn record(&self, verdict: Verdict, reason: Option<Reason>) -> Option<Change> {
        let (board, name) = (&self.world.board, &self.known_as.name);
        if self.is_service() {
            board.set_ready(name, self.slot, None);
        }
        if reason == Some(Reason::Cancelled) { None } else { board.record(name, self.slot, verdict) }
    }

    /// Tries until it passes, or as often as the job says.
    async fn attempts(&mut self, watcher: &Arc<Watcher>, begun: Instant) -> Attempted {
        let deadline = self.job.run_timeout.map(|bound| begun + bound.0);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let listeners = match self.listeners().await {
                Ok(listeners) => listeners,
                Err(error) => {
                    let judged = judge(Err(error.into()), &[], None);
                    return Attempted { judged, attempts, killed: false, stays: false, given_up: None };
                }
            };
            let (found, killed, given_up) = Attempt::new(self, watcher, deadline).make(listeners).await;
            let stays = self.is_service() && !self.stop.cancel.is_cancelled() && found.is_pass();
            let last = attempts >= self.job.retry.attempts.0 || !found.is_worth_another();
            let judged = self.judge(found, watcher);
            let pause = self.job.retry.pause(attempts);
            let late = deadline.is_some_and(|deadline| Instant::now() + pause >= deadline);
            if judged.passed() || last || late || self.is_service() || self.stop.cancel.is_cancelled() {
                return Attempted { judged, attempts, killed, stays, given_up };
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancel.cancelled() => {
                    return Attempted { judged, attempts, killed, stays, given_up };
                }
            }
        }
    }

    /// The listeners of a service: those that a reload opened, or its own.
    async fn listeners(&mut self) -> Result<Vec<Arc<Listener>>, net::Error> {
        if !self.listeners.is_empty() {
            return Ok(std::mem::take(&mut self.listeners));
        }
        tokio::select! {
            opened = open(&self.job, &self.world.shared) => opened,
            // The room sees at once that it is cancelled.
            () = self.stop.cancel.cancelled() => Ok(vec![]),
        }
    }

    /// What an attempt comes to.
    fn judge(&self, found: Found, watcher: &Watcher) -> Judgement {
        let cancelled = self.stop.cancel.is_cancelled();
        let measures = self.job.room.facts().measures;
        let expect = self.job.expect.as_ref();
        let went_well = found.is_pass();
        let result = match found {
            Found::Returned(result) => result,
            Found::Overdue(result) => {
                let found = result.as_ref().and_then(findings);
                return self.overdue(result.map(|result| judge(result, measures, expect)), found);
            }
            Found::Panicked(message) => {
                let message = format!("a defect of this program: {message}");
                return Judgement::without_outcome(Verdict::Errored, Reason::Bug, message);
            }
            Found::Cut => {
                let message =
                    format!("did not end within the grace of {:?} and was cut off", self.world.grace);
                return Judgement::without_outcome(Verdict::Errored, Reason::Cancelled, message);
            }
        };
        let found = findings(&result);
        let judged = judge(result, measures, expect);
        if !self.is_service() {
            return if cancelled {
                let message = with_findings("ended from outside before it was done", found);
                judged.overruled(Verdict::Errored, Reason::Cancelled, message)
            } else {
                judged
            };
        }
        if matches!(self.world.mode, Mode::Once { .. }) && judged.passed() && watcher.ready_for().is_none() {
            return judged.overruled(Verdict::Failed, Reason::Timeout, "did not become ready");
        }
        if cancelled || went_well || judged.verdict == Verdict::Errored {
            return judged;
        }
        let reason = judged.reason.unwrap_or(Reason::Io);
        let why = judged.message.clone().unwrap_or_else(|| reason.to_string());
        judged.overruled(Verdict::Errored, reason, format!("ended by itself: {why}"))
    }

    /// A run beyond its deadline has failed, whatever it still says.
    fn overdue(&self, late: Option<Judgement>, found: Option<String>) -> Judgement {
        let bound = self.job.run_timeout.unwrap_or_default();
        let message = format!("did not end within its `run_timeout` of {bound}");
        match late {
            Some(judged) => {
                judged.overruled(Verdict::Failed, Reason::Timeout, with_findings(&message, found))
            }
            None => Judgement::without_outcome(Verdict::Failed, Reason::Timeout, message),
        }
    }
}

/// What a room that was cut short had found; that it was cut short is said by others.
fn findings(result: &Result<Outcome, kind::Error>) -> Option<String> {
    let outcome = result.as_ref().ok().filter(|outcome| outcome.reason != Some(Reason::Cancelled))?;
    outcome.message.clone()
}

/// Why a run was cut short, and what it had found until then.
fn with_findings(why: &str, found: Option<String>) -> String {
    found.map_or_else(|| why.to_owned(), |found| format!("{why}: {found}"))
}

/// Opens all that a job listens on.
pub(super) async fn open(job: &Job, shared: &Shared) -> Result<Vec<Arc<Listener>>, net::Error> {
    let listens: Vec<_> = job.room.listens().into_iter().map(|listen| listen.based(&job.base)).collect();
    shared.listeners.open_all(job.name.as_str(), &listens, &shared.resolver).await
}

/// The record of a run that took no time and was not tried.
pub(super) fn record(job: &JobRef, scheduled: Timestamp, started: Timestamp, judged: Judgement) -> Finished {
    Finished {
        job: job.clone(),
        run_id: format!("{}@{scheduled}", job.name),
        scheduled,
        started,
        duration: Duration::ZERO,
        start_lag: Duration::ZERO,
        verdict: judged.verdict,
        reason: judged.reason,
        message: judged.message,
        hint: judged.hint,
        attempts: 0,
        samples: judged.samples,
        expectations: judged.expectations,
        detail: judged.detail,
    }
}

impl Found {
    /// Whether the room itself says that all went well.
    fn is_pass(&self) -> bool {
        matches!(self, Self::Returned(Ok(Outcome { verdict: Verdict::Passed, .. })))
    }

    /// Whether another attempt could come to something else.
    fn is_worth_another(&self) -> bool {
        matches!(self, Self::Returned(_))
    }
}
