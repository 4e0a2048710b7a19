//! The common keys: what every job may say beside its kind. Their doc comments are the manual; which kind takes which
//! key, and what they may hold together, is judged in `load`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{
    Expect, Flag, JobName, Many, Missed, Overlap, Retry, Timespan,
    schedule::{At, Cron, Zone},
};

/// Keys that a service takes; the others are about starts, and a service runs from start to stop.
pub const OF_SERVICES: &[&str] = &["name", "needs", "open", "expect", "labels", "enabled", "only_on"];

/// Keys that `defaults` may hold.
pub const OF_DEFAULTS: &[&str] = &[
    "every",
    "cron",
    "timezone",
    "jitter",
    "overlap",
    "missed",
    "run_timeout",
    "retry",
    "labels",
    "only_on",
];

/// Keys that say when a job starts: one of them in a job replaces all of them in its defaults.
pub const OF_STARTS: &[&str] = &["every", "cron", "at"];

/// Keys that every job may have beside its kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// The job's name, the `job_name` label of its metrics: small letters, digits, `.`, `_` and `-`, at most 100
    /// characters, unique over all files. Required.
    pub name: Option<JobName>,
    /// The period of a check, such as `10s` or `500ms`. Starts are the times with (Unix time − hash(name)) divisible by
    /// it: stable, spread, the same on every runner. Not beside `cron`.
    pub every: Option<Timespan>,
    /// Starts of a check by the clock on the wall: five fields, or six with seconds first, or `@hourly` and friends.
    /// Day of month and day of week are OR, as in cron. Not beside `every`. Example: `30 6 * * mon-fri`.
    /// Where the clocks of `timezone` change, an expression whose minute or hour begins with `*` goes on evenly, without a
    /// gap and without a double. Any other starts exactly once for each of its local times: one that the clocks skip comes
    /// when they jump, one that they show twice comes the first time.
    pub cron: Option<Cron>,
    /// The zone of `cron`, by its IANA name. Default `UTC`.
    pub timezone: Option<Zone>,
    /// `start`: once when the runner starts, also beside `every` or `cron`; or one instant, such as
    /// `2030-01-31T06:00:00Z`. Default `start`, where neither `every` nor `cron` is given.
    pub at: Option<At>,
    /// A random delay added to each start, at most this. Default `0s`.
    pub jitter: Option<Timespan>,
    /// What a start does while the previous run still goes: `skip` it, `queue` one, `replace` the run, `allow` both.
    /// Default `skip`.
    pub overlap: Option<Overlap>,
    /// What becomes of starts missed while the runner was stopped or asleep, or jumped over by the clock: `skip` counts
    /// them, `once` catches up with one run and counts the others. With `--state`, `once` does so too for those that came
    /// while no runner ran, unless the job is new or has another schedule; `skip` knows nothing of them. Default `skip`.
    pub missed: Option<Missed>,
    /// The bound of one run, attempts and pauses included; services and `wait` take none. Default: what the kind needs,
    /// times the attempts, plus 10 s; at least `30s`. One that is shorter than what is needed is refused.
    pub run_timeout: Option<Timespan>,
    /// How often a run tries again before it counts as failed, such as `{ attempts: 3, delay: 1s, backoff: 2,
    /// max_delay: 30s }`. Default: one attempt.
    pub retry: Option<Retry>,
    /// Names of jobs that come first: a service must be ready, a check must have passed. Default `[]`.
    pub needs: Option<Vec<JobName>>,
    /// What must hold for `passed`: measurements, and a value or comparison for each, such as
    /// `{ loss: "<= 5%", rtt_p95: "< 20ms" }`; of a list all must hold. Each entry replaces the kind's own expectation of
    /// that name; `{}` expects nothing. With `verdict` or `reason` the kind's own ones fall away, and the run has passed
    /// when all entries hold. Default: the kind's own.
    pub expect: Option<Expect>,
    /// Extra labels on the job's metrics and log lines, at most 8, such as `{ site: lab }`. Default `{}`.
    pub labels: Option<BTreeMap<String, String>>,
    /// For services: runs only in this window, and drains after it, such as `{ cron: "0 8 * * mon-fri", for: 10h }`.
    /// Default: always.
    pub open: Option<Window>,
    /// `false` keeps the job in the file and out of the plan. Default `true`.
    pub enabled: Option<Flag>,
    /// Patterns of host names, such as `web-*`; on other hosts the job is left out. Default: everywhere.
    pub only_on: Option<Many<String>>,
}

/// The window in which a service runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it opens, as in the key `cron`. Required.
    pub cron: Cron,
    /// The zone of `cron`, by its IANA name. Default `UTC`.
    pub timezone: Option<Zone>,
    /// How long it stays open, such as `10h`. Required.
    pub r#for: Timespan,
}
