//! Descriptors when they run short: some are kept free of connections, and who waits for one hears when it comes.
//!
//! The kernel gives out the lowest free number, so that a connection's number tells how full the table is: no count is kept,
//! and no call is made until the table is nearly full. The numbers kept free serve metrics, logs and a reload.

use std::{
    os::fd::RawFd,
    sync::atomic::{AtomicU64, Ordering},
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
    /// Wakes whoever waits for a descriptor.
    freed: Notify,
}

impl Descriptors {
    /// Whether a descriptor has one of the numbers that are kept free.
    pub fn is_spare(&self, number: RawFd) -> bool {
        let number = u64::try_from(number).unwrap_or(0);
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

    /// Says that a connection has given its descriptors back.
    pub fn free(&self) {
        self.freed.notify_waiters();
    }

    /// Waits until one is given back.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_descriptors_are_free_for_connections() {
        let descriptors = Descriptors::default();
        assert!(!descriptors.is_spare(0));
        let limit = limits::open_files().unwrap().soft;
        assert_eq!(descriptors.first_spare.load(Ordering::Relaxed), limit - SPARE);
    }
}
