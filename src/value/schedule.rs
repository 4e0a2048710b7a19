//! When a job runs, as the file says it: `every`, `cron`, `at`, `jitter`, and what overlaps and misses come to.

use schemars::JsonSchema;
use serde::Deserialize;

mod cron;

pub use cron::Cron;

use super::Timespan;

/// What a start does while the previous run still goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is left out and counted.
    #[default]
    Skip,
    /// One waits.
    Queue,
    /// The previous run is ended first.
    Replace,
    /// Both run.
    Allow,
}

/// What becomes of starts that were missed while the runner was stopped or asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are counted and left out.
    #[default]
    Skip,
    /// One run catches up.
    Once,
}

/// A point in time for `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Once when the runner starts.
    Start,
    /// At an instant.
    Instant(jiff::Timestamp),
}

/// When a job starts.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The period of a check.
    pub every: Option<Timespan>,
    /// Wall-clock times.
    pub cron: Option<Cron>,
    /// Zone of `cron`.
    pub timezone: jiff::tz::TimeZone,
    /// A single start.
    pub at: Option<At>,
    /// Random delay added to each start, at most this.
    pub jitter: Timespan,
}
