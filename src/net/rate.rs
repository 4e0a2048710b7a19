//! A token bucket: so much a second, shared by all who ask. It owns no timer; who gets nothing asks how long to wait.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many units a second.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A bucket that holds at most `burst` units, and at least one; it begins empty but for one unit.
    pub fn new(per_second: f64, burst: f64) -> Self {
        let burst = burst.max(1.0);
        Self { per_second, burst, state: Mutex::new(State { tokens: 1.0, at: Instant::now() }) }
    }

    /// Takes from `least` (at most the burst) to `most` units; `None` while there are fewer.
    pub fn take(&self, least: f64, most: f64) -> Option<f64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.saturating_duration_since(state.at).as_secs_f64() * self.per_second;
        state.tokens = (state.tokens + earned).min(self.burst);
        state.at = now;
        if state.tokens < least.min(self.burst) {
            return None;
        }
        let taken = state.tokens.min(most);
        state.tokens -= taken;
        Some(taken)
    }

    /// How long it will be until `amount` units (at most the burst) are there.
    pub fn wait(&self, amount: f64) -> Duration {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = (amount.min(self.burst) - state.tokens).max(0.0);
        // A timer fires no earlier than asked; a little more keeps rounding from asking twice.
        Duration::try_from_secs_f64(missing / self.per_second + 1e-6).unwrap_or(Duration::MAX)
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&self, unused: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tokens = (state.tokens + unused).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 30 of the forward's list: who waits as long as it is told is not woken in vain.
    #[tokio::test(start_paused = true)]
    async fn over_time_it_gives_its_rate() {
        let bucket = Bucket::new(1000.0, 50.0);
        let start = Instant::now();
        let (mut taken, mut asked) = (0.0, 0);
        while taken < 5000.0 {
            asked += 1;
            match bucket.take(10.0, 100.0) {
                Some(tokens) => taken += tokens,
                None => tokio::time::sleep(bucket.wait(10.0)).await,
            }
        }
        let rate = taken / start.elapsed().as_secs_f64();
        assert!((rate - 1000.0).abs() < 20.0, "{rate}");
        assert!(asked <= 2 * 5000 / 10, "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn crumbs_are_not_handed_out() {
        let bucket = Bucket::new(1000.0, 50.0);
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(bucket.take(10.0, 100.0), None);
        tokio::time::advance(bucket.wait(10.0)).await;
        assert!(bucket.take(10.0, 100.0).unwrap() >= 10.0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(bucket.take(60.0, 100.0), Some(50.0), "more than the burst never comes");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_can_be_taken_again() {
        let bucket = Bucket::new(10.0, 10.0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(bucket.take(1.0, 20.0), Some(10.0));
        assert_eq!(bucket.take(1.0, 1.0), None);
        bucket.give_back(1.0);
        assert_eq!(bucket.take(1.0, 1.0), Some(1.0));
    }
}
