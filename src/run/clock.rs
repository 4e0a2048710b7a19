//! The clocks that the engine reads, handed in so that tests can follow tokio's paused one. Owns no timer.
//!
//! Between two readings of the wall clock the boot clock counts, which also counts sleep. Rates of both are steered
//! alike, so their difference changes only when somebody sets the wall clock.

use std::{fmt, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_BOOTTIME`: since the machine started, sleep included.
    pub boot: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// Something that tells both times.
pub trait Clock: Send + Sync {
    /// Both clocks now.
    fn read(&self) -> Reading;
}

/// The machine's own clocks.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        Reading { boot, wall: Timestamp::now() }
    }
}

/// How far the wall clock must be from where it should be before it counts as set. Below it lies what a pause between
/// the two readings can make.
const STEP: SignedDuration = SignedDuration::from_millis(100);

/// The wall clock as the boot clock carries it on from an anchor.
#[derive(Clone)]
pub struct Timeline {
    clock: Arc<dyn Clock>,
    anchor: Reading,
}

impl Timeline {
    /// Anchored at the present.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let anchor = clock.read();
        Self { clock, anchor }
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.at(self.clock.read().boot)
    }

    /// Anchors anew where the wall clock was set, and says by how much.
    pub fn step(&mut self) -> Option<SignedDuration> {
        let found = || {
            let reading = self.clock.read();
            (reading, reading.wall.duration_since(self.at(reading.boot)))
        };
        // A pause between the two readings looks like a step, but not twice.
        let (_, first) = found();
        if first.abs() < STEP {
            return None;
        }
        let (reading, step) = found();
        if step.abs() < STEP {
            return None;
        }
        self.anchor = reading;
        Some(step)
    }

    fn at(&self, boot: Duration) -> Timestamp {
        let passed = boot.saturating_sub(self.anchor.boot);
        self.anchor.wall.saturating_add(passed).unwrap_or(self.anchor.wall)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("anchor", &self.anchor).finish_non_exhaustive()
    }
}
