//! How many replies may be on their way at once, so that the receive buffer holds them all. Pure: times are handed in.
//!
//! It bounds what was sent within the last round trip, not all that is unanswered: silent hosts fill no buffer.

use std::{collections::VecDeque, time::Duration};

/// The room left in the receive buffer.
#[derive(Debug)]
pub struct Window {
    most: f64,
    limit: f64,
    grown: u64,
    /// When packets were sent, and what their replies cost.
    sent: VecDeque<(u64, f64)>,
    used: f64,
    slowest: Slowest,
}

/// The round trip that 99 of 100 do not exceed, of the last hundreds.
#[derive(Debug, Default)]
struct Slowest {
    count: u32,
    longest: [Duration; 2],
    settled: Duration,
}

/// Replies within less than this may all come at once.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
const SAMPLES: u32 = 200;
/// How fast it grows again after a loss, a second.
const GROWTH: f64 = 1.05;
/// The part of the buffer that a payload takes beyond the smallest, in bytes.
const UNIT: f64 = 832.0;

impl Window {
    /// A buffer that holds `most` of the smallest replies.
    pub fn new(most: usize, now: u64) -> Self {
        let most = most as f64;
        let (sent, slowest) = (VecDeque::new(), Slowest::default());
        Self { most, limit: most, grown: now, sent, used: 0.0, slowest }
    }

    /// Whether one more reply with this payload fits.
    pub fn has_room(&mut self, size: usize, now: u64) -> bool {
        let oldest = now.saturating_sub(self.period());
        while let Some((at, cost)) = self.sent.front().copied().filter(|(at, _)| *at <= oldest) {
            debug_assert!(at <= now, "sent in the future");
            self.used -= cost;
            self.sent.pop_front();
        }
        self.sent.is_empty() || self.used + cost(size) <= self.limit
    }

    /// When there will be more room; `None` where there is all.
    pub fn opens(&self) -> Option<u64> {
        self.sent.front().map(|(at, _)| at + self.period())
    }

    /// A packet was sent.
    pub fn sent(&mut self, size: usize, now: u64) {
        if self.sent.is_empty() {
            self.used = 0.0;
        }
        self.used += cost(size);
        self.sent.push_back((now, cost(size)));
    }

    /// An answer came.
    pub fn answered(&mut self, rtt: Duration) {
        self.slowest.add(rtt);
    }

    /// This machine lost packets: half as many from now on.
    pub fn lost(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
    }

    /// Grows again, slowly.
    pub fn grow(&mut self, now: u64) {
        let seconds = Duration::from_nanos(now.saturating_sub(self.grown)).as_secs_f64();
        self.grown = now;
        self.limit = (self.limit * GROWTH.powf(seconds)).min(self.most);
    }

    fn period(&self) -> u64 {
        let period = self.slowest.settled.max(SHORTEST_PERIOD).min(Duration::from_secs(1));
        u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn cost(size: usize) -> f64 {
    1.0 + size as f64 / UNIT
}

impl Slowest {
    fn add(&mut self, rtt: Duration) {
        if rtt > self.longest[0] {
            self.longest = [rtt, self.longest[0]];
        } else if rtt > self.longest[1] {
            self.longest[1] = rtt;
        }
        self.count += 1;
        if self.count == SAMPLES {
            *self = Self { settled: self.longest[1], ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn fill(window: &mut Window, now: u64) -> usize {
        let mut count = 0;
        while window.has_room(0, now) {
            window.sent(0, now);
            count += 1;
        }
        count
    }

    #[test]
    fn it_fills_and_opens_again_after_its_period() {
        let mut window = Window::new(128, 0);
        assert_eq!(fill(&mut window, 100 * MS), 128);
        assert_eq!(window.opens(), Some(110 * MS));
        assert_eq!(fill(&mut window, 109 * MS), 0);
        assert_eq!(fill(&mut window, 110 * MS), 128);
    }

    #[test]
    fn a_loss_halves_it_and_time_mends_it() {
        let mut window = Window::new(128, 0);
        window.lost();
        assert_eq!(fill(&mut window, 100 * MS), 64);
        window.grow(1000 * MS);
        assert_eq!(fill(&mut window, 1000 * MS), 67);
        window.grow(1_000_000 * MS);
        assert_eq!(fill(&mut window, 1_000_000 * MS), 128);
        (0..20).for_each(|_| window.lost());
        assert_eq!(fill(&mut window, 2_000_000 * MS), 1);
    }

    #[test]
    fn slow_answers_lengthen_its_period_and_a_large_packet_still_goes() {
        let mut window = Window::new(4, 0);
        (0..SAMPLES).for_each(|_| window.answered(Duration::from_millis(50)));
        assert!(window.has_room(65_507, 100 * MS));
        window.sent(65_507, 100 * MS);
        assert!(!window.has_room(16, 149 * MS));
        assert!(window.has_room(16, 150 * MS));
    }
}
