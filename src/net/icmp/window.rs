//! How many replies may be on their way at once, so that the receive buffer holds them all. Pure: times are handed in.
//!
//! It bounds what was sent within the last round trip and is not answered yet: silent hosts fill no buffer, nor does what
//! was read already.

use std::{collections::VecDeque, time::Duration};

/// The room left in the receive buffer.
#[derive(Debug)]
pub struct Window {
    most: f64,
    limit: f64,
    /// Doubling from a small start, until the first loss: who is not known to the neighbour table yet gets no flood.
    starting: bool,
    /// Whether anybody has answered since it started, or had the time to: until then the first packets may still wait for
    /// the hardware address of a neighbour, and the kernel keeps only some of them.
    heard: bool,
    grown: u64,
    /// When packets were sent, and what the replies cost that have not come.
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
/// Packets of this part of a period are counted together.
const GRAINS: u64 = 64;
/// Where it starts, and where it starts anew after a pause.
const START: f64 = 64.0;
const PAUSE: u64 = 1_000_000_000;
/// How long it waits at its start for a first answer.
const PATIENCE: u64 = 250_000_000;
/// How fast it grows again after a loss, a second.
const GROWTH: f64 = 1.05;
/// The part of the buffer that a payload takes beyond the smallest, in bytes.
const UNIT: f64 = 832.0;

impl Window {
    /// A buffer that holds `most` of the smallest replies.
    pub fn new(most: usize, now: u64) -> Self {
        let most = most as f64;
        let (sent, slowest) = (VecDeque::new(), Slowest::default());
        Self {
            most,
            limit: most.min(START),
            starting: true,
            heard: false,
            grown: now,
            sent,
            used: 0.0,
            slowest,
        }
    }

    /// Whether one more reply with this payload fits.
    pub fn has_room(&mut self, size: usize, now: u64) -> bool {
        let period = self.period();
        while let Some((_, cost)) = self.sent.pop_front_if(|(at, cost)| *cost <= 0.0 || *at + period <= now) {
            self.used -= cost;
        }
        self.sent.is_empty() || self.used + cost(size) <= self.limit
    }

    /// When there will be more room, if no answer comes before; `None` where there is all.
    pub fn opens(&self) -> Option<u64> {
        self.sent.front().map(|(at, _)| at + self.period())
    }

    /// A packet was sent.
    pub fn sent(&mut self, size: usize, now: u64) {
        if self.sent.is_empty() {
            self.used = 0.0;
        }
        self.used += cost(size);
        let grain = self.period() / GRAINS;
        match self.sent.back_mut() {
            Some((at, all)) if now < *at + grain => *all += cost(size),
            _ => self.sent.push_back((now, cost(size))),
        }
    }

    /// An answer came to a packet of then.
    pub fn answered(&mut self, size: usize, sent: u64, rtt: Duration) {
        self.slowest.add(rtt);
        self.heard = true;
        let behind = self.sent.partition_point(|(at, _)| *at <= sent);
        if let Some((_, all)) = behind.checked_sub(1).and_then(|at| self.sent.get_mut(at)) {
            let freed = cost(size).min(*all);
            *all -= freed;
            self.used -= freed;
        }
    }

    /// This machine lost packets: half as many from now on.
    pub fn lost(&mut self) {
        self.starting = false;
        self.limit = (self.limit / 2.0).max(1.0);
    }

    /// Grows again, slowly.
    pub fn grow(&mut self, now: u64) {
        let passed = now.saturating_sub(self.grown);
        self.grown = now;
        if passed >= PAUSE && self.sent.is_empty() {
            (self.starting, self.heard) = (true, false);
            self.limit = self.limit.min(START);
            return;
        }
        if !self.heard {
            self.heard = self.sent.front().is_some_and(|(at, _)| at + PATIENCE <= now);
            return;
        }
        let (base, unit) =
            if self.starting { (2.0, SHORTEST_PERIOD) } else { (GROWTH, Duration::from_secs(1)) };
        let growth = f64::powf(base, Duration::from_nanos(passed).as_secs_f64() / unit.as_secs_f64());
        // After a long sleep nobody has seen yet what the last packets came to.
        self.limit = (self.limit * growth.min(2.0)).min(self.most);
        self.starting &= self.limit < self.most;
    }

    fn period(&self) -> u64 {
        if !self.heard {
            return PATIENCE;
        }
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

    /// A window that was answered once, after so many times of doubling.
    fn grown(most: usize, doublings: u64) -> Window {
        let mut window = Window::new(most, 0);
        window.answered(0, 0, Duration::from_micros(16));
        (1..=doublings).for_each(|turn| window.grow(turn * 10 * MS));
        window
    }

    #[test]
    fn it_fills_and_opens_again_after_its_period() {
        let mut window = grown(128, 1);
        assert_eq!(fill(&mut window, 100 * MS), 128);
        assert_eq!(window.opens(), Some(110 * MS));
        assert_eq!(fill(&mut window, 109 * MS), 0);
        assert_eq!(fill(&mut window, 110 * MS), 128);
    }

    #[test]
    fn what_was_answered_makes_room_at_once() {
        let mut window = grown(128, 1);
        assert_eq!(fill(&mut window, 100 * MS), 128);
        window.answered(0, 101 * MS, Duration::from_micros(16));
        window.answered(0, 101 * MS, Duration::from_micros(16));
        assert_eq!(fill(&mut window, 102 * MS), 2);
        // An answer to what is long counted out frees nothing.
        window.answered(0, 99 * MS, Duration::from_micros(16));
        assert_eq!(fill(&mut window, 103 * MS), 0);
    }

    #[test]
    fn a_loss_halves_it_and_time_mends_it() {
        let mut window = grown(128, 1);
        window.lost();
        assert_eq!(fill(&mut window, 100 * MS), 64);
        window.grow(1100 * MS);
        assert_eq!(fill(&mut window, 1100 * MS), 67);
        window.grow(1_000_000 * MS);
        assert_eq!(fill(&mut window, 1_000_000 * MS), 128);
        (0..20).for_each(|_| window.lost());
        assert_eq!(fill(&mut window, 2_000_000 * MS), 1);
    }

    #[test]
    fn it_starts_small_doubles_and_starts_anew_after_a_pause() {
        let mut window = grown(5000, 0);
        assert_eq!(fill(&mut window, 0), 64);
        window.grow(10 * MS);
        assert_eq!(fill(&mut window, 10 * MS), 128);
        (2..=7).for_each(|turn| window.grow(turn * 10 * MS));
        assert_eq!(fill(&mut window, 80 * MS), 5000);
        // However long it slept, the next step is one step.
        let mut window = grown(5000, 0);
        window.grow(500 * MS);
        assert_eq!(fill(&mut window, 500 * MS), 128);
        assert!(window.has_room(0, 2000 * MS));
        window.grow(2000 * MS);
        assert_eq!(fill(&mut window, 2000 * MS), 64);
    }

    #[test]
    fn until_the_first_answer_nobody_gets_more_than_a_neighbours_queue_holds() {
        let mut window = Window::new(5000, 0);
        assert_eq!(fill(&mut window, 0), 64);
        (1..25).for_each(|turn| window.grow(turn * 10 * MS));
        assert_eq!((fill(&mut window, 249 * MS), window.opens()), (0, Some(250 * MS)));
        // Whoever is silent for so long is known to the neighbour table, or will not be.
        window.grow(250 * MS);
        assert_eq!(fill(&mut window, 250 * MS), 64);
        window.grow(260 * MS);
        assert_eq!(fill(&mut window, 260 * MS), 128);
        let mut window = Window::new(5000, 0);
        assert_eq!(fill(&mut window, 0), 64);
        window.answered(0, 0, Duration::from_millis(2));
        window.grow(2 * MS);
        assert!(fill(&mut window, 10 * MS) > 64);
    }

    #[test]
    fn slow_answers_lengthen_its_period_and_a_large_packet_still_goes() {
        let mut window = Window::new(4, 0);
        (0..SAMPLES).for_each(|_| window.answered(16, 0, Duration::from_millis(50)));
        assert!(window.has_room(65_507, 100 * MS));
        window.sent(65_507, 100 * MS);
        assert!(!window.has_room(16, 149 * MS));
        assert!(window.has_room(16, 150 * MS));
    }
}
