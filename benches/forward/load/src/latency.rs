//! Many latencies and their quantiles, exact.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// Notes the time since `start`; what is longer than 4.2 s is taken for that.
    pub(crate) fn since(&mut self, start: Instant) {
        self.0.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are, how many a second, and the quantiles in microseconds.
    pub(crate) fn summary(mut self, elapsed: Duration) -> Value {
        self.0.sort_unstable();
        let at = |per_mille: usize| {
            let index = (self.0.len() * per_mille / 1000).min(self.0.len().saturating_sub(1));
            self.0.get(index).map(|nanos| f64::from(*nanos) / 1e3)
        };
        json!({
            "count": self.0.len(),
            "per_second": self.0.len() as f64 / elapsed.as_secs_f64(),
            "p50_us": at(500), "p99_us": at(990), "p999_us": at(999),
        })
    }
}
