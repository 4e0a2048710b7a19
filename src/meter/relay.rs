//! What the relays of this process hold, counted where it changes and shown with the families of the process.
//!
//! One for all threads: the pipes are the process's, and no job's.

use std::sync::atomic::{AtomicU64, AtomicUsize};

/// The counts.
#[derive(Debug, Default)]
pub struct Relays {
    /// Pipes that carry bytes of a connection now.
    pub leased: AtomicUsize,
    /// Empty pipes that wait for a connection.
    pub pooled: AtomicUsize,
    /// How often a direction went back to copying for good because the kernel gave no pipe or would not splice.
    pub fallbacks: AtomicU64,
}

/// Those of this process.
pub static RELAYS: Relays =
    Relays { leased: AtomicUsize::new(0), pooled: AtomicUsize::new(0), fallbacks: AtomicU64::new(0) };
