//! What names resolved to a moment ago, and who is being asked for now. Keeps no "no such name": a name that heals is seen at once.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::sys::gai::Failure;

/// The answer to a look-up.
pub(super) type Found = Result<Vec<SocketAddr>, Failure>;

/// Names with their last answer or the look-up that is on its way.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<String, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    last: Option<(Instant, Vec<SocketAddr>)>,
    pending: Option<watch::Receiver<Option<Found>>>,
}

/// What somebody who asks for a name has to do.
pub(super) enum Ask {
    /// Nothing: this is it.
    Known(Vec<SocketAddr>),
    /// Wait for the look-up of another.
    Wait(watch::Receiver<Option<Found>>),
    /// Look it up and tell the others.
    Look(watch::Sender<Option<Found>>),
}

/// Beyond this many names the old ones are thrown out.
const NAMES: usize = 4096;

impl Cache {
    pub(super) fn ask(&self, name: &str, fresh: Duration) -> Ask {
        let mut entries = self.lock();
        if entries.len() >= NAMES {
            entries.retain(|_, entry| entry.pending.is_some() || entry.is_fresh(fresh));
        }
        let entry = entries.entry(name.to_owned()).or_default();
        if entry.is_fresh(fresh)
            && let Some((_, addresses)) = &entry.last
        {
            return Ask::Known(addresses.clone());
        }
        if let Some(pending) = &entry.pending {
            return Ask::Wait(pending.clone());
        }
        let (sender, receiver) = watch::channel(None);
        entry.pending = Some(receiver);
        Ask::Look(sender)
    }

    /// The last good answer, unless it is older than `stale`.
    pub(super) fn stale(&self, name: &str, stale: Duration) -> Option<Vec<SocketAddr>> {
        let entries = self.lock();
        let (at, addresses) = entries.get(name)?.last.as_ref()?;
        (at.elapsed() < stale).then(|| addresses.clone())
    }

    /// Keeps an answer; a temporary failure gives the last good one, unless it is older than `stale`.
    pub(super) fn finish(&self, name: &str, found: Found, stale: Duration) -> Found {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(name) else { return found };
        entry.pending = None;
        match (found, &entry.last) {
            (Ok(addresses), _) => {
                entry.last = Some((Instant::now(), addresses.clone()));
                Ok(addresses)
            }
            (Err(Failure::Temporary | Failure::Servers | Failure::Resources), Some((at, old)))
                if at.elapsed() < stale =>
            {
                Ok(old.clone())
            }
            (failure, _) => {
                entries.remove(name);
                failure
            }
        }
    }

    /// Forgets a look-up that was never made.
    pub(super) fn give_up(&self, name: &str) {
        if let Some(entry) = self.lock().get_mut(name) {
            entry.pending = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_fresh(&self, fresh: Duration) -> bool {
        self.last.as_ref().is_some_and(|(at, _)| at.elapsed() < fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_secs(5);
    const STALE: Duration = Duration::from_mins(10);

    fn addresses() -> Vec<SocketAddr> {
        vec!["10.0.0.1:0".parse().unwrap()]
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_fresh_for_a_moment_and_stands_in_while_servers_are_silent() {
        let cache = Cache::default();
        assert!(matches!(cache.ask("db", FRESH), Ask::Look(_)));
        assert!(matches!(cache.ask("db", FRESH), Ask::Wait(_)));
        assert_eq!(cache.finish("db", Ok(addresses()), STALE), Ok(addresses()));
        assert!(matches!(cache.ask("db", FRESH), Ask::Known(_)));
        tokio::time::advance(FRESH).await;
        assert!(matches!(cache.ask("db", FRESH), Ask::Look(_)));
        assert_eq!(cache.finish("db", Err(Failure::Temporary), STALE), Ok(addresses()));
        tokio::time::advance(STALE).await;
        assert_eq!(cache.finish("db", Err(Failure::Temporary), STALE), Err(Failure::Temporary));
    }

    #[tokio::test]
    async fn no_such_name_is_not_kept() {
        let cache = Cache::default();
        assert!(matches!(cache.ask("db", FRESH), Ask::Look(_)));
        assert_eq!(cache.finish("db", Err(Failure::NoName), STALE), Err(Failure::NoName));
        assert!(matches!(cache.ask("db", FRESH), Ask::Look(_)));
    }
}
