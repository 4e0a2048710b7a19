//! What a run came to: verdicts, reasons, samples and notices. All that sinks may know of a kind, and nothing else.

mod detail;
mod metric;
mod notice;
mod words;

use std::time::Duration;

pub use detail::{Detail, HostList, HostRecord};
pub use metric::{Metric, MetricType, NETWORK_SECONDS};
pub use notice::Notice;
pub use words::{Cause, Close, Evidence, HostState, Reason, RttSource, Verdict};

/// The unit of a measurement, always a base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of one, 0 to 1.
    Ratio,
    /// True or false.
    Flag,
    /// A word of a closed set.
    Word,
}

/// A measurement that a kind declares: what `expect`, the log and the tables may name.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name, such as `rtt_p95`.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The kind's own expectation of it, such as `> 0`.
    pub own: Option<&'static str>,
    /// What it means, a sentence.
    pub help: &'static str,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A number of things.
    Count(u64),
    /// Seconds, bytes or a ratio.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A word of a closed set.
    Word(&'static str),
}

impl From<Duration> for Sample {
    fn from(duration: Duration) -> Self {
        Self::Number(seconds(duration))
    }
}

/// A time as samples and records have it: the number of seconds that prints with the nanoseconds that were measured and no
/// digit behind them.
pub fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

/// Samples under the names of the kind's measures; one set a run, or one a family with `family: both`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// `ipv4` or `ipv6` where a run holds one set for each.
    pub family: Option<&'static str>,
    /// Name and value, in the order in which they are shown.
    pub values: Vec<(&'static str, Sample)>,
}

impl Samples {
    /// Adds a value.
    pub fn push(&mut self, name: &'static str, value: Sample) {
        self.values.push((name, value));
    }

    /// Adds a number of things.
    pub fn count(&mut self, name: &'static str, value: u64) {
        self.push(name, Sample::Count(value));
    }

    /// The value under a name.
    pub fn find(&self, name: &str) -> Option<&Sample> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// What a room found: it looked, and this is what it saw.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `Passed` or `Failed` by the kind's own lights; comparisons of `expect` are judged by the engine.
    pub verdict: Verdict,
    /// The commonest reason of what went wrong; `None` where nothing did.
    pub reason: Option<Reason>,
    /// A sentence for people: what went wrong, with names and numbers.
    pub message: Option<String>,
    /// What was measured.
    pub samples: Vec<Samples>,
    /// The kind's own record.
    pub detail: Detail,
}

impl Outcome {
    /// A run that found what it hoped for.
    pub fn passed(samples: Samples) -> Self {
        Self {
            verdict: Verdict::Passed,
            reason: None,
            message: None,
            samples: vec![samples],
            detail: Detail::default(),
        }
    }

    /// A run that did not.
    pub fn failed(reason: Reason, message: impl Into<String>, samples: Samples) -> Self {
        Self {
            verdict: Verdict::Failed,
            reason: Some(reason),
            message: Some(message.into()),
            ..Self::passed(samples)
        }
    }

    /// The same outcome with the kind's own record.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Detail>) -> Self {
        self.detail = detail.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_print_as_they_were_measured() {
        for (whole, nanos, wanted) in [
            (1, 946_987_433, "1.946987433"),
            (0, 1, "0.000000001"),
            (0, 300_000_000, "0.3"),
            (86_400, 7, "86400.000000007"),
        ] {
            let printed = seconds(Duration::new(whole, nanos));
            assert_eq!(format!("{printed}"), wanted);
        }
    }
}
