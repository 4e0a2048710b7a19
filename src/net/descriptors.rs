//! Descriptors when they run short: some are kept free of connections, and who waits for one hears when it comes.
//!
//! A connection holds its share before it is served, its upstream's included, so that none is let in that could not be
//! carried through. The numbers kept free serve metrics, logs and a reload.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use super::is_short;
use crate::sys::limits;

/// So many are kept free of connections.
pub const SPARE: u64 = 16;

/// How old a count of the other descriptors may be where it matters; a long count may be older, so that counting takes at
/// most a fiftieth of the time.
const FRESH: Duration = Duration::from_millis(50);

/// How old it may be even after a long count: that may have had to wait for a core.
const STALE: Duration = Duration::from_secs(1);

/// The process's table of descriptors.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// Those that connections hold, or will.
    held: AtomicU64,
    /// Those of them that are not open yet.
    claimed: AtomicU64,
    others: Mutex<Option<Others>>,
    /// Who waits for a descriptor: while nobody does, giving one back takes no lock.
    waiting: AtomicUsize,
    /// Wakes them.
    freed: Notify,
}

/// What is known of the rest of the table.
#[derive(Clone, Copy, Debug)]
struct Others {
    /// It is counted anew after this.
    fresh_until: Instant,
    /// How many may be open.
    limit: u64,
    /// How many are open that no connection holds.
    open: u64,
}

/// Descriptors that a connection holds until this is dropped.
#[derive(Debug)]
pub struct Hold {
    table: Arc<Descriptors>,
    count: u64,
}

/// Somebody who waits for a descriptor, or is about to.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Descriptors);

/// One of the held descriptors that is not open yet; it is, or will never be, when this is dropped.
#[derive(Debug)]
pub struct Claim(Arc<Descriptors>);

impl Descriptors {
    /// Holds so many descriptors for a connection, one of which is open; `None` where they would eat into the spare ones.
    pub fn hold(self: &Arc<Self>, count: u64) -> Option<Hold> {
        let held = self.held.fetch_add(count, Ordering::SeqCst) + count;
        if self.suffices(held) {
            return Some(Hold { table: self.clone(), count });
        }
        // Nothing was given back: nobody is to be woken.
        self.held.fetch_sub(count, Ordering::SeqCst);
        None
    }

    /// Whether so many more could be held.
    pub fn has_room(&self, count: u64) -> bool {
        self.suffices(self.held.load(Ordering::SeqCst) + count)
    }

    fn suffices(&self, held: u64) -> bool {
        let others = self.others(held);
        // Of few, half are spared.
        let spare = SPARE.min(others.limit / 2);
        others.open + held + spare <= others.limit
    }

    /// What is open besides: counted anew where it matters, under another limit and while more than half of all may be in
    /// use.
    fn others(&self, held: u64) -> Others {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // It may be set from outside at any time, and nothing tells.
        let limit = limits::open_files().map_or(u64::MAX, |limit| limit.soft);
        if let Some(known) = *others
            && known.limit == limit
            && (known.open + held < known.limit / 2 || Instant::now() < known.fresh_until)
        {
            return known;
        }
        let start = Instant::now();
        let open = match fs::read_dir("/proc/self/fd") {
            Ok(open) => open.count() as u64,
            // To look takes a descriptor; where none is left, all are in use.
            Err(error) if is_short(&error) => limit,
            // Without /proc only those of connections are known.
            Err(_) => 0,
        };
        let held = self.held.load(Ordering::SeqCst).saturating_sub(self.claimed.load(Ordering::SeqCst));
        let open = open.saturating_sub(held);
        let fresh_until = Instant::now() + (start.elapsed() * 50).clamp(FRESH, STALE);
        *others.insert(Others { fresh_until, limit, open })
    }

    /// Says that a descriptor has been given back.
    fn free(&self) {
        // In one order with `wait`: who looks at the table after that finds what was given back, or is seen here.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// From here on it is heard when a descriptor is given back.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }
}

impl<'a> Waiting<'a> {
    /// Waits until one is given back, from this call on: ask for it first, then look at the table.
    pub fn freed(&self) -> Notified<'a> {
        self.0.freed.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hold {
    /// One of the held ones is not open yet.
    pub fn claim(&self) -> Claim {
        self.table.claimed.fetch_add(1, Ordering::SeqCst);
        Claim(self.table.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.table.held.fetch_sub(self.count, Ordering::SeqCst);
        self.table.free();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claimed.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn connections_leave_some_free_for_others() {
        let table = Arc::new(Descriptors::default());
        let limit = limits::open_files().unwrap().soft;
        *table.others.lock().unwrap() =
            Some(Others { fresh_until: Instant::now() + Duration::from_mins(1), limit, open: limit - 44 });
        let all: Vec<Hold> = (0..14).map(|_| table.hold(2).unwrap()).collect();
        assert!(table.hold(2).is_none() && table.hold(1).is_none());
        let waiting = table.wait();
        let freed = waiting.freed();
        drop(all);
        freed.await;
        assert!(table.hold(2).is_some());
    }

    #[tokio::test]
    async fn what_others_have_open_is_counted() {
        let table = Arc::new(Descriptors::default());
        let known = table.others(0);
        assert!(known.open >= 3 && known.limit > known.open, "{known:?}");
    }

    #[tokio::test]
    async fn who_waits_hears_of_what_is_freed_before_the_look() {
        let descriptors = Arc::new(Descriptors::default());
        let waiting = descriptors.wait();
        let freed = waiting.freed();
        descriptors.free();
        timeout(Duration::from_secs(5), freed).await.unwrap();
        drop(waiting);
        assert_eq!(descriptors.waiting.load(Ordering::SeqCst), 0);
    }
}
