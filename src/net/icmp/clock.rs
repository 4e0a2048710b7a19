//! The two clocks of the prober, in nanoseconds: one that nobody can set, and the one that the kernel stamps with.

use std::time::Duration;

use nix::{sys::time::TimeSpec, time::ClockId};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock.
    pub monotonic: u64,
    /// The wall clock, which may be set at any time.
    pub wall: u64,
}

/// A wall clock that moved against the monotonic one by more than this was set.
const STEP: u64 = 1_000_000;

/// Now.
pub fn now() -> Moment {
    Moment { monotonic: read(ClockId::CLOCK_MONOTONIC), wall: read(ClockId::CLOCK_REALTIME) }
}

/// A kernel's time as nanoseconds since 1970.
pub fn nanos(time: TimeSpec) -> u64 {
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> u64 {
    nix::time::clock_gettime(clock).map(nanos).unwrap_or_default()
}

/// The round trip of a probe sent at `sent`, whose answer the kernel stamped and that was read at `read`.
///
/// The stamp is the truth, unless it is missing or the wall clock was set in between; never zero, never longer than
/// until the answer was read.
pub fn round_trip(sent: Moment, stamp: Option<u64>, read: Moment) -> Duration {
    let longest = read.monotonic.saturating_sub(sent.monotonic);
    let wall = i128::from(read.wall) - i128::from(sent.wall);
    let stepped = (wall - i128::from(longest)).unsigned_abs() > u128::from(STEP);
    let stamped = stamp.filter(|_| !stepped).and_then(|stamp| stamp.checked_sub(sent.wall));
    let nanos = stamped.filter(|nanos| (1..=longest).contains(nanos)).unwrap_or(longest);
    Duration::from_nanos(nanos.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: (u64, u64), stamp: Option<u64>, read: (u64, u64), nanos: u64) {
        let sent = Moment { monotonic: sent.0, wall: sent.1 };
        let read = Moment { monotonic: read.0, wall: read.1 };
        assert_eq!(round_trip(sent, stamp, read), Duration::from_nanos(nanos));
    }

    #[test]
    fn the_stamp_counts_where_the_reader_was_late() {
        check((1000, 5000), Some(5200), (9000, 13_000), 200);
    }

    #[test]
    fn case_13_a_clock_that_was_set_spoils_no_round_trip() {
        let hour = 3_600_000_000_000;
        check((1000, 2 * hour), Some(hour + 200), (1900, hour + 900), 900);
        check((1000, hour), Some(2 * hour + 200), (1900, 2 * hour + 900), 900);
        check((1000, 5000), Some(4000), (1900, 5900), 900);
    }

    #[test]
    fn case_14_without_a_stamp_the_monotonic_clock_counts_and_never_zero() {
        check((1000, 5000), None, (1900, 5900), 900);
        check((1000, 5000), None, (1000, 5000), 1);
    }
}
