//! The engine: starts what is due, judges what comes back, and tells the sinks. Knows jobs, not kinds' insides.
//!
//! One task on a thread of its own, and in it the one `select!` of the program's work: due, finished, reload, shutdown. It
//! never waits for a run or a sink; each run is a task of its own with its deadline and its panic fence, on threads that it
//! may hold up, so no job holds up another.

mod attempt;
mod board;
mod clock;
mod control;
mod drain;
mod engine;
pub mod judge;
mod launch;
mod needs;
mod observer;
mod once;
mod outbox;
mod reload;
mod resume;
mod service;
mod slot;
mod starts;
mod summary;
mod task;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

pub use clock::{Clock, Reading, SystemClock, Timeline};
pub use control::{Commands, Control, ReloadSummary, Signal, control};
pub use summary::Summary;

use crate::{context::Shared, diagnostic::Report, event::Event, job::Job, meter::Counter};
use board::Board;
use engine::Engine;

/// What the files hold.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Jobs of the plan, in file order.
    pub jobs: Vec<Job>,
    /// Names of jobs that are left out of it, each with the reason, a sentence.
    pub left_out: Vec<(Arc<str>, String)>,
}

/// Reads the files anew, for a reload; runs on a thread of its own.
pub type Loader = Box<dyn FnMut() -> Result<Set, Report> + Send>;

/// How long the engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to end.
    Daemon,
    /// Each check once, in the order of `needs`, while the services run.
    Once {
        /// Names or globs; what they need comes with them. Empty: all jobs.
        select: Vec<String>,
    },
    /// One job of the command line, as long as there is something left to do.
    AdHoc,
}

/// All that the engine is given.
pub struct Start {
    /// The jobs.
    pub set: Set,
    /// The process's shared parts.
    pub shared: Arc<Shared>,
    /// Where events go; runs wait for room in it, the engine does not.
    pub events: mpsc::Sender<Event>,
    /// Events that found no room and were dropped.
    pub dropped: Counter,
    /// The other end of a `Control`.
    pub commands: Commands,
    /// Reads the files anew; none: reloads are refused.
    pub loader: Option<Loader>,
    /// How long it runs.
    pub mode: Mode,
    /// How long runs and connections may go on once they are told to end.
    pub grace: Duration,
    /// How long a draining connection must be silent before it is ended.
    pub drain_idle: Duration,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Where runs are: threads that a run may hold up. `None`: they are where the engine is, as in tests.
    pub runs: Option<Handle>,
}

/// What the engine shares with its runs.
struct World {
    shared: Arc<Shared>,
    board: Board,
    events: mpsc::Sender<Event>,
    dropped: Counter,
    mode: Mode,
    grace: Duration,
    drain_idle: Duration,
    /// Where runs are; `None`: where the engine is.
    runs: Option<Handle>,
    /// The engine has begun to end: nothing is waited for any more that need not be.
    ends: CancellationToken,
}

/// Runs the jobs until there is nothing left to do, or until it is told to end.
pub async fn run(start: Start) -> Summary {
    let (mut engine, mut commands) = Engine::new(start);
    let ending = commands.ending.clone();
    let mut hears = true;
    while !engine.is_over() {
        let pause = engine.turn();
        ending.turned();
        let pause = engine.beat(pause);
        if engine.is_over() {
            break;
        }
        tokio::select! {
            () = sleep(pause) => {}
            Some(ended) = engine.runs.join_next_with_id() => engine.finished(ended),
            () = engine.world.board.changed() => {}
            Some(read) = engine.reloads.reading.join_next() => engine.read(read),
            command = commands.asked.recv(), if hears => match command {
                Some(command) => engine.command(command),
                None => hears = false,
            },
            () = engine.outbox.flush(), if !engine.outbox.is_empty() => engine.read_next(),
            () = ending.abort.cancelled() => return engine.aborted(ending.signal.get().copied()).await,
            () = ending.stop.cancelled(), if !engine.is_stopping() => {
                engine.interrupt(ending.signal.get().copied());
            }
        }
    }
    tokio::select! {
        () = engine.last_words() => {}
        () = ending.abort.cancelled() => {}
    }
    engine.summary
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("mode", &self.mode)
            .field("jobs", &self.set.jobs.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("mode", &self.mode).finish_non_exhaustive()
    }
}
