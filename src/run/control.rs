//! The handle by which the program tells the engine to reload or to end. Reads no signal itself.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{diagnostic::Report, job::Job};

/// What ended the runner from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadSummary {
    /// Names of jobs that came.
    pub added: Vec<Arc<str>>,
    /// Names of jobs that went.
    pub removed: Vec<Arc<str>>,
    /// Names of jobs that are others now.
    pub changed: Vec<Arc<str>>,
    /// How many stayed as they were.
    pub kept: usize,
}

/// Whom a reload answers.
pub(super) type Reply = oneshot::Sender<Result<ReloadSummary, Report>>;

/// Names of jobs with what makes each the same as before.
pub(super) type Identities = Vec<(Arc<str>, u64)>;

/// What the engine is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// To read the files anew.
    Reload(Reply),
    /// To say what a reload would change that came to these jobs.
    Compare(Identities, oneshot::Sender<ReloadSummary>),
}

/// How many reloads may wait to be heard; they are joined into one as soon as they are.
const PENDING: usize = 64;

/// Tells the engine what to do.
#[derive(Clone, Debug)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    ending: Arc<Ending>,
}

/// The engine's end of a `Control`.
#[derive(Debug)]
pub struct Commands {
    pub(super) asked: mpsc::Receiver<Command>,
    pub(super) ending: Arc<Ending>,
}

#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) stop: CancellationToken,
    pub(super) abort: CancellationToken,
    pub(super) signal: OnceLock<Signal>,
    turns: AtomicU64,
}

impl Ending {
    /// The engine has come round once more.
    pub(super) fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// A handle and the engine's end of it.
pub fn control() -> (Control, Commands) {
    let (commands, asked) = mpsc::channel(PENDING);
    let ending = Arc::new(Ending::default());
    (Control { commands, ending: ending.clone() }, Commands { asked, ending })
}

impl Control {
    /// Reads the files anew and takes them on, all or none.
    pub async fn reload(&self) -> Result<ReloadSummary, Report> {
        let (reply, answer) = oneshot::channel();
        let ended = || {
            let mut report = Report::default();
            report.error("", "the runner is stopping", None);
            report
        };
        self.commands.send(Command::Reload(reply)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// What a reload would change that came to these jobs; `None` when the runner stops.
    pub async fn compare(&self, jobs: &[Job]) -> Option<ReloadSummary> {
        let (reply, answer) = oneshot::channel();
        let identities = jobs.iter().map(|job| (job.name.shared(), job.identity)).collect();
        self.commands.send(Command::Compare(identities, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Stops starting and drains; `by` is the signal that asked for it. A second call ends at once.
    pub fn stop(&self, by: Signal) {
        if self.ending.signal.set(by).is_err() {
            self.abort();
        }
        self.ending.stop.cancel();
    }

    /// Waits until the engine is told to end; from then on it takes no reload.
    pub async fn ends(&self) {
        self.ending.stop.cancelled().await;
    }

    /// Waits until it is told to end at once.
    pub async fn aborted(&self) {
        self.ending.abort.cancelled().await;
    }

    /// The signal that asked to end.
    pub fn signal(&self) -> Option<Signal> {
        self.ending.signal.get().copied()
    }

    /// How many times the engine has come round; while it lives, it does so at least once a second.
    pub fn turns(&self) -> u64 {
        self.ending.turns.load(Ordering::Relaxed)
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.ending.abort.cancel();
        self.ending.stop.cancel();
    }
}
