//! When a job runs, as the file says it: `every`, `cron`, `at`, `jitter`, and what overlaps and misses come to.

mod cron;
mod fields;

use std::str::FromStr;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Timespan, Wrong, text_value};

pub use cron::Cron;

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

impl FromStr for At {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text == "start" {
            return Ok(Self::Start);
        }
        text.parse().map(Self::Instant).map_err(|_| {
            Wrong::new(
                format!("`{}` is neither `start` nor an instant", text.escape_debug()),
                "write `start`, or an instant with its zone, such as `2030-01-31T06:00:00Z`",
            )
        })
    }
}

/// A zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(pub TimeZone);

impl FromStr for Zone {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        TimeZone::get(text).map(Self).map_err(|_| {
            let name = text.escape_debug();
            Wrong::new(format!("`{name}` is not a time zone"), "write an IANA name, such as `Europe/Berlin`")
        })
    }
}

impl FromStr for Cron {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Self::parse(text)
    }
}

text_value!(
    At,
    "`start` or an instant, such as \"2030-01-31T06:00:00Z\"",
    "`start`, or an instant as RFC 3339 writes it.",
    ["start", "2030-01-31T06:00:00Z", "2030-01-31T06:00:00+01:00"]
);
text_value!(
    Zone,
    "the name of a time zone, such as \"Europe/Berlin\"",
    "A zone of the IANA database.",
    ["UTC", "Europe/Berlin", "America/New_York"]
);
text_value!(
    Cron,
    "a cron expression, such as \"*/5 * * * *\"",
    "Five fields (minute, hour, day of month, month, day of week), or six with seconds first, or `@hourly` and friends.",
    ["*/5 * * * *", "0 30 6 * * mon-fri", "@hourly"]
);

/// When a job starts.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The period of a check.
    pub every: Option<Timespan>,
    /// Wall-clock times.
    pub cron: Option<Cron>,
    /// Zone of `cron`.
    pub timezone: TimeZone,
    /// A single start.
    pub at: Option<At>,
    /// Random delay added to each start, at most this.
    pub jitter: Timespan,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_need_a_zone() {
        assert_eq!("start".parse::<At>(), Ok(At::Start));
        let instant = "2030-01-31T06:00:00Z".parse().unwrap();
        assert_eq!("2030-01-31T07:00:00+01:00".parse::<At>(), Ok(At::Instant(instant)));
        for text in ["", "Start", "2030-01-31", "2030-01-31T06:00:00", "tomorrow"] {
            assert!(text.parse::<At>().is_err(), "{text}");
        }
    }

    #[test]
    fn zones_are_names_of_the_iana_database() {
        assert!("Europe/Berlin".parse::<Zone>().is_ok());
        assert!("UTC".parse::<Zone>().is_ok());
        for text in ["", "Mars/Olympus", "+01:00", "CET+1"] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }
}
