//! How often a run tries again before it counts as failed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AtLeastOne, Timespan};

/// Attempts and the pauses between them, before a run counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How many times it is tried in all. Default 1.
    pub attempts: AtLeastOne,
    /// The pause before the second attempt. Default `1s`.
    pub delay: Timespan,
    /// What each further pause is multiplied by. Default 2.
    pub backoff: AtLeastOne,
    /// The longest pause. Default `30s`.
    pub max_delay: Timespan,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: AtLeastOne(1),
            delay: Timespan::secs(1),
            backoff: AtLeastOne(2),
            max_delay: Timespan::secs(30),
        }
    }
}

impl Retry {
    /// The pause after the given attempt, which counts from 1.
    pub fn pause(&self, attempt: u32) -> Duration {
        let factor = self.backoff.0.saturating_pow(attempt.saturating_sub(1));
        self.delay.0.saturating_mul(factor).min(self.max_delay.0)
    }

    /// All pauses of a run that uses every attempt.
    pub fn pauses(&self) -> Duration {
        let mut total = Duration::ZERO;
        for attempt in 1..self.attempts.0 {
            let pause = self.pause(attempt);
            // Pauses grow until they stay the same for good: at most 32 rounds.
            if pause == self.pause(attempt.saturating_add(1)) {
                return total.saturating_add(pause.saturating_mul(self.attempts.0 - attempt));
            }
            total = total.saturating_add(pause);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempts: u32, delay: Duration, backoff: u32, max_delay: Duration, total: Duration) {
        let retry = Retry {
            attempts: AtLeastOne(attempts),
            delay: Timespan(delay),
            backoff: AtLeastOne(backoff),
            max_delay: Timespan(max_delay),
        };
        assert_eq!(retry.pauses(), total);
        let attempts = attempts.min(1_000);
        let few = Retry { attempts: AtLeastOne(attempts), ..retry };
        assert_eq!(few.pauses(), (1..attempts).map(|attempt| few.pause(attempt)).sum());
    }

    #[test]
    fn the_pauses_are_the_sum_of_each_pause() {
        let secs = Duration::from_secs;
        check(1, secs(1), 2, secs(30), secs(0));
        check(4, secs(1), 2, secs(30), secs(1 + 2 + 4));
        check(8, secs(1), 2, secs(30), secs(1 + 2 + 4 + 8 + 16 + 30 + 30));
        check(5, secs(2), 1, secs(30), secs(8));
        check(3, secs(60), 2, secs(30), secs(60));
    }

    #[test]
    fn a_huge_number_of_attempts_is_summed_at_once() {
        let secs = Duration::from_secs;
        check(u32::MAX, secs(1), 1, secs(30), secs(u64::from(u32::MAX) - 1));
        check(u32::MAX, secs(0), 2, secs(30), secs(0));
        let century = secs(100 * 365 * 86_400);
        check(u32::MAX, century, 1, century, century * (u32::MAX - 1));
        let nano = Duration::from_nanos(1);
        let retry = Retry { attempts: AtLeastOne(u32::MAX), delay: Timespan(nano), ..Retry::default() };
        assert!(retry.pauses() > secs(1_000_000_000));
    }
}
