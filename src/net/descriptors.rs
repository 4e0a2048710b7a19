//! Descriptors when they run short: some are kept free of connections, and who waits for one hears when it comes.
//!
//! The kernel gives out the lowest free number, so that a connection's number tells how full the table is: no count is kept,
//! and no call is made until the table is nearly full. The numbers kept free serve metrics, logs and a reload.

use std::{
    os::fd::RawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::{Notify, futures::Notified};

use crate::sys::limits;

/// So many are kept free of connections.
pub const SPARE: u64 = 16;

/// The process's table of descriptors.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// The first number that is kept free; 0 where it was not looked up yet.
    first_spare: AtomicU64,
    /// Connections that will take one more, for their upstream.
    claimed: AtomicU64,
    /// Who waits for a descriptor: while nobody does, giving one back takes no lock.
    waiting: AtomicUsize,
    /// Wakes them.
    freed: Notify,
}

/// Somebody who waits for a descriptor, or is about to.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Descriptors);

/// One descriptor that a connection will take; it is taken, or not needed any more, when this is dropped.
#[derive(Debug)]
pub struct Claim(Arc<Descriptors>);

impl Descriptors {
    /// Whether a descriptor has one of the numbers that are kept free, or will have once all that is claimed is taken.
    pub fn is_spare(&self, number: RawFd) -> bool {
        let number = u64::try_from(number).unwrap_or(0) + self.claimed.load(Ordering::SeqCst);
        // The limit can be raised while the program runs.
        number >= self.first_spare.load(Ordering::Relaxed) && number >= self.look()
    }

    fn look(&self) -> u64 {
        let limit = limits::open_files().map_or(u64::MAX, |limit| limit.soft);
        // Of few, half are kept.
        let first = limit.saturating_sub(SPARE).max(limit / 2);
        self.first_spare.store(first, Ordering::Relaxed);
        first
    }

    /// Claims a descriptor for an upstream.
    pub fn claim(self: &Arc<Self>) -> Claim {
        self.claimed.fetch_add(1, Ordering::SeqCst);
        Claim(self.clone())
    }

    /// Says that a connection has given its descriptors back.
    pub fn free(&self) {
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

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claimed.fetch_sub(1, Ordering::SeqCst);
        // While its upstream was reached, both the claim and the descriptor itself counted.
        self.0.free();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_is_claimed_counts_as_taken() {
        let descriptors = Arc::new(Descriptors::default());
        let first = i32::try_from(descriptors.look()).unwrap();
        assert!(descriptors.is_spare(first) && !descriptors.is_spare(first - 1));
        let claim = descriptors.claim();
        assert!(descriptors.is_spare(first - 1));
        drop(claim);
        assert!(!descriptors.is_spare(first - 1));
    }

    #[tokio::test]
    async fn who_waits_hears_of_what_is_freed_before_the_look_and_of_claims() {
        let descriptors = Arc::new(Descriptors::default());
        let patience = Duration::from_secs(5);
        let waiting = descriptors.wait();
        let freed = waiting.freed();
        descriptors.free();
        timeout(patience, freed).await.unwrap();
        let claim = descriptors.claim();
        let freed = waiting.freed();
        drop(claim);
        timeout(patience, freed).await.unwrap();
        drop(waiting);
        assert_eq!(descriptors.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_first_descriptors_are_free_for_connections() {
        let descriptors = Descriptors::default();
        assert!(!descriptors.is_spare(0));
        let limit = limits::open_files().unwrap().soft;
        assert_eq!(descriptors.first_spare.load(Ordering::Relaxed), limit - SPARE);
    }
}
