//! Stand-ins for the engine, for tests of rooms.

use super::{
    Arc, Context, Duration, Endpoint, Instant, Listener, Memory, Mutex, Notice, Observer, Parts, Path,
    PoisonError, Shared, Stop, Verdict, watch,
};
use crate::meter::Registry;

/// Remembers what a run told it.
#[derive(Debug, Default)]
pub struct Recorder {
    /// In the order told.
    pub notices: Mutex<Vec<Notice>>,
    /// The last addresses that were said to be ready.
    pub ready: Mutex<Vec<Endpoint>>,
    /// Whether every check has put out what it watches.
    pub out: watch::Sender<bool>,
}

impl Observer for Recorder {
    fn notice(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }
    fn ready(&self, addresses: Vec<Endpoint>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
    fn verdict_of(&self, _: &str) -> Option<Verdict> {
        None
    }
    fn address_of(&self, _: &str) -> Option<Endpoint> {
        None
    }
    fn is_out(&self, _: &str) -> watch::Receiver<bool> {
        self.out.subscribe()
    }
}

/// A context of a job named `test`, with fresh shared parts and these listeners.
pub fn context(listeners: Vec<Arc<Listener>>, timeout: Option<Duration>) -> (Context, Arc<Recorder>) {
    let registry = Registry::new(1000);
    let recorder = Arc::new(Recorder::default());
    let name: Arc<str> = "test".into();
    let parts = Parts {
        meters: registry.job(&name, "test", []),
        shared: Shared::new(registry),
        name,
        memory: Memory::default(),
        stop: Stop { drain_idle: Duration::from_secs(5), ..Stop::default() },
        deadline: timeout.map(|timeout| Instant::now() + timeout),
        listeners,
        observer: recorder.clone(),
        base: Path::new(".").into(),
        ad_hoc: false,
    };
    (Context::new(parts), recorder)
}
