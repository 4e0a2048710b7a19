//! How often a run tries again before it counts as failed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AtLeastOne, Number, Timespan};

/// Attempts and the pauses between them, before a run counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How many times it is tried in all. Default 1.
    pub attempts: AtLeastOne,
    /// The pause before the second attempt. Default `1s`.
    pub delay: Timespan,
    /// What each further pause is multiplied by. Default 2.
    pub backoff: Number<u32>,
    /// The longest pause. Default `30s`.
    pub max_delay: Timespan,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: AtLeastOne(1),
            delay: Timespan::secs(1),
            backoff: Number(2),
            max_delay: Timespan::secs(30),
        }
    }
}

impl Retry {
    /// The pause after the given attempt, which counts from 1.
    pub fn pause(&self, attempt: u32) -> Duration {
        let factor = self.backoff.0.max(1).saturating_pow(attempt.saturating_sub(1));
        self.delay.0.saturating_mul(factor).min(self.max_delay.0)
    }

    /// All pauses of a run that uses every attempt.
    pub fn pauses(&self) -> Duration {
        let mut total = Duration::ZERO;
        for attempt in 1..self.attempts.0 {
            let pause = self.pause(attempt);
            if pause == self.max_delay.0 {
                return total.saturating_add(pause.saturating_mul(self.attempts.0 - attempt));
            }
            total = total.saturating_add(pause);
        }
        total
    }
}
