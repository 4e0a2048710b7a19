//! The prober's clocks, in nanoseconds: one that nobody can set, and the wall clock that the kernel stamps with.
//!
//! All times are told on the first. The distance between the two jumps only when somebody sets the wall clock: then the
//! stamps of what was on its way are worth nothing.

use std::time::Duration;

use nix::{sys::time::TimeSpec, time::ClockId};

/// The distance of the two clocks as it was last seen.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// What the wall clock is ahead, and when that was seen.
    ahead: i64,
    seen: u64,
    /// What was sent before this time was on its way when the wall clock was set.
    set: u64,
}

/// A round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// How long it took; never zero.
    pub rtt: Duration,
    /// Whether the kernel stamped both of its ends; else it was measured outside the kernel.
    pub is_stamped: bool,
}

/// A distance that changed by more than this, and by more than it may drift, was set; it is no fault of how the clocks
/// are read.
const STEP: u64 = 20_000;
/// Linux slews both clocks alike. Where they are two, as in some virtual machines, their distance drifts by less than one
/// part of so many: it is followed, and no round trip is wrong by more.
const DRIFT: u64 = 500;
/// A change that is no larger may be one of reading the clocks: who follows that makes round trips restless.
const STILL: u64 = 1000;

impl Default for Clocks {
    fn default() -> Self {
        let mut clocks = Self { ahead: 0, seen: 0, set: 0 };
        clocks.look();
        clocks.set = 0;
        clocks
    }
}

impl Clocks {
    /// Looks whether the wall clock was set; gives the monotonic time.
    pub fn look(&mut self) -> u64 {
        let before = monotonic();
        let wall = read(ClockId::CLOCK_REALTIME);
        let after = monotonic();
        self.observe(before, wall, after);
        after
    }

    /// The wall clock said `wall` at some time between two of the monotonic one.
    pub fn observe(&mut self, before: u64, wall: u64, after: u64) {
        let width = after.saturating_sub(before);
        let ahead = wall.wrapping_sub(before + width / 2).cast_signed();
        let (change, drift) = (ahead.abs_diff(self.ahead), after.saturating_sub(self.seen) / DRIFT);
        if change > STEP.max(width) + drift {
            *self = Self { ahead, seen: after, set: after };
        } else if width <= STILL {
            self.ahead = if change > STILL { ahead } else { self.ahead };
            self.seen = after;
        }
    }

    /// A stamp as a monotonic time.
    pub fn monotonic(&self, wall: u64) -> u64 {
        wall.wrapping_sub(self.ahead.cast_unsigned())
    }

    /// How long after `sent` a packet has left whose stamp says `wall`; at least 1, and `None` where that cannot be.
    pub fn delay(&self, sent: u64, wall: u64) -> Option<u32> {
        let left = self.monotonic(wall).wrapping_sub(sent).cast_signed();
        let sane = self.set <= sent && left > -STEP.cast_signed();
        sane.then(|| u32::try_from(left.max(1)).ok()).flatten()
    }

    /// The round trip of a probe that was handed to the kernel at `sent`, left it a `delay` later if that is known, and
    /// whose answer the kernel took in at `came` by the wall clock, if it says so, and gave out at `read`.
    pub fn round_trip(&self, sent: u64, delay: Option<u32>, came: Option<u64>, read: u64) -> Trip {
        let longest = read.saturating_sub(sent).max(1);
        let trip = |nanos: u64, is_stamped| Trip { rtt: Duration::from_nanos(nanos), is_stamped };
        let Some(came) = came.filter(|_| self.set <= sent) else { return trip(longest, false) };
        let whole = self.monotonic(came).checked_sub(sent).filter(|nanos| (1..=longest).contains(nanos));
        let stamped = whole.zip(delay).and_then(|(whole, delay)| whole.checked_sub(delay.into()));
        match (stamped.filter(|nanos| *nanos > 0), whole) {
            (Some(nanos), _) => trip(nanos, true),
            (None, Some(whole)) => trip(whole, false),
            (None, None) => trip(longest, false),
        }
    }
}

/// The monotonic time.
pub fn monotonic() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// A time of the kernel's in nanoseconds.
pub fn nanos(time: TimeSpec) -> u64 {
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> u64 {
    nix::time::clock_gettime(clock).map(nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    /// Clocks of which the wall clock is two hours ahead.
    fn clocks() -> Clocks {
        let mut clocks = Clocks { ahead: 0, seen: 0, set: 0 };
        clocks.observe(1000, 2 * HOUR + 1000, 1000);
        clocks.set = 0;
        clocks
    }

    #[track_caller]
    fn check(clocks: Clocks, delay: Option<u32>, came: Option<u64>, nanos: u64, is_stamped: bool) {
        let trip = clocks.round_trip(10_000, delay, came, 90_000);
        assert_eq!(trip, Trip { rtt: Duration::from_nanos(nanos), is_stamped });
    }

    #[test]
    fn case_16_the_kernels_round_trip_is_never_longer_than_that_outside_of_it() {
        let clocks = clocks();
        let delay = clocks.delay(10_000, 2 * HOUR + 12_000);
        assert_eq!(delay, Some(2000));
        check(clocks, delay, Some(2 * HOUR + 30_000), 18_000, true);
        check(clocks, None, Some(2 * HOUR + 30_000), 20_000, false);
        check(clocks, None, None, 80_000, false);
    }

    #[test]
    fn case_13_a_clock_that_was_set_spoils_no_round_trip() {
        for wall in [HOUR, 3 * HOUR, 2 * HOUR + 1_000_000, 2 * HOUR - 1_000_000] {
            // It is set after the packet has left: its stamp is seen before or after that.
            let mut clocks = clocks();
            let early = clocks.delay(10_000, 2 * HOUR + 12_000);
            clocks.observe(50_000, wall + 50_000, 50_100);
            check(clocks, early, Some(wall + 60_000), 80_000, false);
            assert_eq!(clocks.delay(10_000, 2 * HOUR + 12_000), None);
            // What is sent afterwards is stamped by the new clock.
            let delay = clocks.delay(60_000, wall + 61_000).unwrap();
            assert!(delay.abs_diff(1000) < 100, "{delay}");
            let trip = clocks.round_trip(60_000, Some(1000), Some(wall + 71_000), 90_000);
            assert!(
                trip.is_stamped && trip.rtt.abs_diff(Duration::from_micros(10)) < Duration::from_nanos(100)
            );
        }
    }

    #[test]
    fn case_13_a_stamp_that_cannot_be_counts_for_nothing() {
        // Before the question, and after it was read.
        check(clocks(), Some(2000), Some(2 * HOUR + 9000), 80_000, false);
        check(clocks(), Some(2000), Some(2 * HOUR + 91_000), 80_000, false);
        assert_eq!(clocks().delay(10_000, HOUR), None);
    }

    #[test]
    fn case_14_without_a_stamp_it_is_measured_outside_the_kernel_and_never_zero() {
        check(clocks(), Some(2000), None, 80_000, false);
        let trip = clocks().round_trip(1000, None, None, 1000);
        assert_eq!(trip, Trip { rtt: Duration::from_nanos(1), is_stamped: false });
    }

    #[test]
    fn a_slow_look_at_the_clocks_is_no_step() {
        let mut clocks = clocks();
        clocks.observe(1_000_000, 2 * HOUR + 1_000_000, 9_000_000);
        assert_eq!(clocks.set, 0);
        clocks.look();
        assert!(clocks.set > 0);
        let set = clocks.set;
        clocks.look();
        assert_eq!(clocks.set, set);
    }

    #[test]
    fn clocks_that_drift_apart_are_followed_and_only_a_jump_is_a_step() {
        for looks in [10_000, 40_000_000, 2_000_000_000] {
            let (mut clocks, start) = (clocks(), 1000);
            for look in 1..1000 {
                let passed = look * looks;
                let wall = 2 * HOUR + start + passed + passed / 1000;
                clocks.observe(start + passed, wall, start + passed);
                assert_eq!(clocks.set, 0, "a drift is no step");
                let off = clocks.monotonic(wall).abs_diff(start + passed);
                assert!(off <= STILL, "{off}");
            }
            let now = start + 1000 * looks;
            let jump = STEP + looks / DRIFT + 1000;
            clocks.observe(now, 2 * HOUR + now + now / 1000 + jump, now);
            assert_eq!(clocks.set, now);
        }
    }

    #[test]
    fn looks_that_differ_by_how_the_clocks_are_read_change_no_round_trip() {
        let mut clocks = clocks();
        let ahead = clocks.ahead;
        for (at, off) in [(2000, 400), (3000, 900), (4000, 0)] {
            clocks.observe(at, 2 * HOUR + at + off, at + 900);
        }
        assert_eq!((clocks.ahead, clocks.set), (ahead, 0));
    }
}
