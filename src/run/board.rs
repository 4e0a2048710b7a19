//! The board on which each job's last verdict and ready addresses stand: what `needs`, `job:NAME` and `health` look at.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::{outcome::Verdict, value::Endpoint};

/// Tells one incarnation of a job from another of the same name.
pub(super) type SlotId = u64;

/// What stands on the board, by job name.
#[derive(Debug, Default)]
pub(super) struct Board {
    inner: Mutex<Inner>,
    touched: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Arc<str>, Entry>,
    touched: BTreeSet<Arc<str>>,
    /// Who watches a check, by its name: it stands also while no job has the name.
    watched: HashMap<Arc<str>, watch::Sender<bool>>,
}

/// A verdict was written over another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The one before; `None`: there was none.
    pub(super) from: Option<Verdict>,
}

impl Inner {
    /// Tells those who watch a check.
    fn tell(&self, name: &str) {
        let Some(watched) = self.watched.get(name) else { return };
        let is_out = self.entries.get(name).is_some_and(|entry| entry.is_out);
        watched.send_if_modified(|told| std::mem::replace(told, is_out) != is_out);
    }
}

#[derive(Debug)]
struct Entry {
    /// Only it may write here: a reload's old run that still ends has no say any more.
    owner: SlotId,
    service: bool,
    verdict: Option<Verdict>,
    /// Whether a run has failed and none has passed since.
    is_out: bool,
    /// `None`: not ready.
    ready: Option<Vec<Endpoint>>,
}

impl Board {
    /// Gives a name to a job. A changed check keeps its last verdict, a changed service is not ready.
    pub(super) fn adopt(&self, name: &Arc<str>, owner: SlotId, service: bool) {
        let mut inner = self.lock();
        let old = inner.entries.get(name).filter(|entry| entry.service == service);
        let (verdict, is_out) = old.map_or((None, false), |old| (old.verdict, old.is_out));
        inner.entries.insert(name.clone(), Entry { owner, service, verdict, is_out, ready: None });
        inner.tell(name);
    }

    /// Takes a removed job's entry away.
    pub(super) fn leave(&self, name: &str, owner: SlotId) {
        let mut inner = self.lock();
        if inner.entries.get(name).is_some_and(|entry| entry.owner == owner) {
            inner.entries.remove(name);
            inner.tell(name);
        }
    }

    /// Writes a verdict; `None`: it was not the owner's to write.
    pub(super) fn record(&self, name: &Arc<str>, owner: SlotId, verdict: Verdict) -> Option<Change> {
        let change = self.write(name, owner, |entry| {
            match verdict {
                Verdict::Passed => entry.is_out = false,
                Verdict::Failed => entry.is_out = true,
                // It could not look, or did not.
                Verdict::Errored | Verdict::Skipped => {}
            }
            let change = Change { from: entry.verdict.replace(verdict) };
            (change, change.from != Some(verdict))
        });
        self.lock().tell(name);
        change
    }

    /// Whether a check has put out what it watches, now and from now on.
    pub(super) fn is_out(&self, check: &str) -> watch::Receiver<bool> {
        let mut inner = self.lock();
        inner.watched.retain(|_, watched| watched.receiver_count() > 0);
        let is_out = inner.entries.get(check).is_some_and(|entry| entry.is_out);
        inner.watched.entry(check.into()).or_insert_with(|| watch::Sender::new(is_out)).subscribe()
    }

    /// Writes where a service is ready; `None`: no longer.
    pub(super) fn set_ready(&self, name: &Arc<str>, owner: SlotId, ready: Option<Vec<Endpoint>>) {
        self.write(name, owner, |entry| {
            let news = entry.ready != ready;
            entry.ready = ready;
            ((), news)
        });
    }

    /// Whether a need holds: a service is ready, a check has passed.
    pub(super) fn holds(&self, need: &str) -> bool {
        self.lock().entries.get(need).is_some_and(|entry| {
            if entry.service { entry.ready.is_some() } else { entry.verdict == Some(Verdict::Passed) }
        })
    }

    /// What keeps a need from holding, for a sentence about it.
    pub(super) fn lack(&self, need: &str) -> &'static str {
        match self.lock().entries.get(need) {
            Some(entry) if entry.service => "is not ready",
            Some(_) => "has not passed",
            None => "is not in the plan",
        }
    }

    /// What the last run of a job came to.
    pub(super) fn verdict_of(&self, name: &str) -> Option<Verdict> {
        self.lock().entries.get(name).and_then(|entry| entry.verdict)
    }

    /// The first address on which a service is ready.
    pub(super) fn address_of(&self, name: &str) -> Option<Endpoint> {
        self.lock().entries.get(name).and_then(|entry| entry.ready.as_ref()?.first().cloned())
    }

    /// Waits until something was written.
    pub(super) async fn changed(&self) {
        self.touched.notified().await;
    }

    /// The names whose entries were written since the last call.
    pub(super) fn take_touched(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.lock().touched)
    }

    /// Lets the owner write; `change` also says whether that is news to anybody who waits.
    fn write<T>(
        &self,
        name: &Arc<str>,
        owner: SlotId,
        change: impl FnOnce(&mut Entry) -> (T, bool),
    ) -> Option<T> {
        let mut inner = self.lock();
        let entry = inner.entries.get_mut(name).filter(|entry| entry.owner == owner)?;
        let (value, news) = change(entry);
        if !news {
            return Some(value);
        }
        inner.touched.insert(name.clone());
        drop(inner);
        self.touched.notify_one();
        Some(value)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
