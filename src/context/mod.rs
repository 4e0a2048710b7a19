//! What a run is given: `Shared`, one a process, and `Context`, one a run. Not the engine, which makes them.

mod fence;
mod memory;
mod shared;
mod starts;
#[doc(hidden)]
pub mod testing;

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fence::Fence;
pub use memory::{Checkpoint, Memory};
use serde::{Serialize, de::DeserializeOwned};
pub use shared::Shared;
pub use starts::Starts;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    meter::Meters,
    net::listen::Listener,
    outcome::{Notice, Verdict},
    value::Endpoint,
};

/// How often a run that waits to tell looks for room.
const ROOM: Duration = Duration::from_millis(1);

/// How a run is told to end, in three steps; each implies those before it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Start nothing new: stop accepting, stop probing. A check returns what it has.
    pub cancel: CancellationToken,
    /// End each connection with FIN as soon as no byte has passed for `drain_idle`.
    pub drain: CancellationToken,
    /// The grace is over: reset what is left.
    pub kill: CancellationToken,
    /// How long a draining connection must be silent before it is ended.
    pub drain_idle: Duration,
}

/// The engine's side of a context: whom a run tells, and whom it asks about other jobs.
pub trait Observer: Send + Sync {
    /// Something happened that sinks may want to tell. Never blocks; what does not fit is dropped and counted.
    fn notice(&self, notice: Notice);
    /// Whether a notice that is told now finds room.
    fn has_room(&self) -> bool {
        true
    }
    /// The service serves on these addresses.
    fn ready(&self, addresses: Vec<Endpoint>);
    /// What the last run of a job came to; `None` where it has not run.
    fn verdict_of(&self, job: &str) -> Option<Verdict>;
    /// The first address on which a service is ready.
    fn address_of(&self, job: &str) -> Option<Endpoint>;
    /// Whether a check has put out what it watches: true from a failed run until its next pass. An errored or skipped run
    /// has not looked and changes nothing.
    fn is_out(&self, check: &str) -> watch::Receiver<bool>;
}

/// What one run may use. Always the last parameter.
pub struct Context {
    shared: Arc<Shared>,
    name: Arc<str>,
    meters: Meters,
    memory: Memory,
    stop: Stop,
    deadline: Option<Instant>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    observer: Arc<dyn Observer>,
    tasks: TaskTracker,
    fence: Fence,
    base: Arc<Path>,
    ad_hoc: bool,
}

/// All that a context is made of; the engine fills it in.
pub struct Parts {
    /// The process's shared parts.
    pub shared: Arc<Shared>,
    /// The job's name.
    pub name: Arc<str>,
    /// The job's way to its series.
    pub meters: Meters,
    /// What its earlier runs kept.
    pub memory: Memory,
    /// How the run is told to end.
    pub stop: Stop,
    /// When the run must be over; none for services and `wait`.
    pub deadline: Option<Instant>,
    /// What `listens()` named, opened.
    pub listeners: Vec<Arc<Listener>>,
    /// Whom it tells.
    pub observer: Arc<dyn Observer>,
    /// The folder of the job file, where relative paths start.
    pub base: Arc<Path>,
    /// Whether the job came from the command line, for a person who watches.
    pub ad_hoc: bool,
}

impl Context {
    /// A context of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { shared, name, meters, memory, stop, deadline, listeners, observer, base, ad_hoc } = parts;
        let (tasks, listeners, fence) = (TaskTracker::new(), Mutex::new(listeners), Fence::default());
        Self { shared, name, meters, memory, stop, deadline, listeners, observer, tasks, fence, base, ad_hoc }
    }

    /// The process's shared parts: resolver, probers, interfaces.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The job's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The job's series.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// How this run is told to end.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Waits until the run is told to end.
    pub async fn cancelled(&self) {
        self.stop.cancel.cancelled().await;
    }

    /// When the run must be over.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Says that the service serves on these addresses.
    pub fn ready(&self, addresses: Vec<Endpoint>) {
        self.observer.ready(addresses);
    }

    /// Every listener that was opened for the spec's key `path`; a range of ports has several.
    pub fn listeners(&self, path: &str) -> Vec<Arc<Listener>> {
        self.all_listeners().into_iter().filter(|listener| listener.path == path).collect()
    }

    /// All listeners of the run, in the order of `Kind::listens`; none once they were released.
    pub fn all_listeners(&self) -> Vec<Arc<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of the listeners: those that nobody else holds close now, while connections still drain.
    pub fn release_listeners(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Starts a task of this run; `drained` waits for it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(self.fence.around(task))
    }

    /// Whether a task of the run has panicked.
    pub fn is_broken(&self) -> bool {
        self.fence.is_broken()
    }

    /// The tasks of the run, for tasks that start others.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until every task of the run has ended.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Tells the sinks what happened.
    pub fn notice(&self, notice: Notice) {
        self.observer.notice(notice);
    }

    /// The same, but waits for room: for what comes in bursts of the run's own making, such as the hosts of a sweep.
    pub async fn tell(&self, notice: Notice) {
        while !self.observer.has_room() {
            sleep(ROOM).await;
        }
        self.observer.notice(notice);
    }

    /// Whom tasks of the run tell.
    pub fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// What this job kept in an earlier run; `None` at first, or where it no longer reads.
    pub fn recall<T: DeserializeOwned>(&self) -> Option<T> {
        self.memory.recall()
    }

    /// Keeps a value for this job's later runs.
    pub fn keep<T: Serialize>(&self, value: &T) {
        self.memory.keep(value);
    }

    /// Where this run saves how far it has come; `None` without `--state`, or while another run of the job does so.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.memory.checkpoint()
    }

    /// What the last run of another job came to.
    pub fn verdict_of(&self, job: &str) -> Option<Verdict> {
        self.observer.verdict_of(job)
    }

    /// Where another job's service is ready.
    pub fn address_of(&self, job: &str) -> Option<Endpoint> {
        self.observer.address_of(job)
    }

    /// A path of the job file: a relative one starts at the file's folder.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Whether the job came from the command line, for a person who watches.
    pub fn is_ad_hoc(&self) -> bool {
        self.ad_hoc
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("name", &self.name).finish_non_exhaustive()
    }
}
