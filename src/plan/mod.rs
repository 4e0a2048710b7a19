//! Planning: schedules and a moment → which starts are due, and when the next one is. Pure: owns no timer, reads no clock.
//!
//! A nominal start of `every` is a time with (Unix nanoseconds − hash(name)) divisible by the period: the same on every
//! runner and spread over the period. Those of `cron` are in `zoned`. Counting what was missed takes no walk over it.

mod zoned;

use std::{hash::Hasher, time::Duration};

use jiff::{
    Timestamp, Zoned,
    tz::{AmbiguousOffset, TimeZone},
};
use siphasher::sip::SipHasher13;

use crate::value::{
    JobName, Schedule,
    schedule::{At, Cron},
};

/// Fixed for ever: another key would move every job's phase.
const KEY: (u64, u64) = (0x6e65_746a_6f62_7331, 0x7068_6173_6573_2121);

/// One job's schedule, ready to be asked.
#[derive(Clone, Debug)]
pub struct Timetable {
    /// The name's hash: the phase of `every`, the seed of `jitter`.
    seed: u64,
    /// Nanoseconds.
    every: Option<i128>,
    cron: Option<(Cron, TimeZone)>,
    instant: Option<Timestamp>,
    jitter: Duration,
    /// Of the schedule alone, not of the name.
    fingerprint: u64,
}

impl Timetable {
    /// The timetable of a job.
    pub fn new(name: &JobName, schedule: &Schedule) -> Self {
        let period = schedule.every.map(|every| nanos(every.0)).filter(|period| *period > 0);
        let instant = match schedule.at {
            Some(At::Instant(instant)) => Some(instant),
            Some(At::Start) | None => None,
        };
        let zone = schedule.cron.as_ref().and(schedule.timezone.iana_name());
        let cron = schedule.cron.as_ref().map(|cron| &cron.text);
        Self {
            fingerprint: hash(format!("{period:?} {cron:?} {zone:?} {instant:?}").as_bytes(), &[]),
            seed: hash(name.as_str().as_bytes(), &[]),
            every: period,
            cron: schedule.cron.clone().map(|cron| (cron, schedule.timezone.clone())),
            instant,
            jitter: schedule.jitter.0,
        }
    }

    /// The first nominal start later than a moment.
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let every = self.every.and_then(|period| {
            let now = moment.as_nanosecond();
            Timestamp::from_nanosecond(now + period - self.phase(now, period)).ok()
        });
        let cron = self.cron.as_ref().and_then(|(cron, zone)| zoned::after(cron, zone, moment));
        let instant = self.instant.filter(|instant| *instant > moment);
        [every, cron, instant].into_iter().flatten().min()
    }

    /// How many nominal starts come later than `after` and not later than `until`.
    pub fn count(&self, after: Timestamp, until: Timestamp) -> u64 {
        if until <= after {
            return 0;
        }
        let every = self.every.map_or(0, |period| {
            let (from, to) = (after.as_nanosecond(), until.as_nanosecond());
            let first = from + period - self.phase(from, period);
            if first > to { 0 } else { u64::try_from((to - first) / period + 1).unwrap_or(u64::MAX) }
        });
        let cron = self.cron.as_ref().map_or(0, |(cron, zone)| zoned::count(cron, zone, after, until));
        let instant = self.instant.filter(|instant| *instant > after && *instant <= until);
        every + cron + u64::from(instant.is_some())
    }

    /// The last nominal start that is later than `after` and not later than `until`.
    pub fn last(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut found = self.after(after).filter(|start| *start <= until)?;
        // Between `found`, behind which the search goes on, and `high`, behind which there is none.
        let mut high = until.as_nanosecond();
        while found.as_nanosecond() < high {
            let low = found.as_nanosecond();
            let middle = low + (high - low) / 2;
            let Ok(moment) = Timestamp::from_nanosecond(middle) else { break };
            match self.after(moment).filter(|start| *start <= until) {
                Some(later) => found = later,
                None if middle == low => break,
                None => high = middle,
            }
        }
        Some(found)
    }

    /// The delay that `jitter` adds to a start: the same for the same name and start, spread over `0..=jitter`.
    pub fn delay(&self, nominal: Timestamp) -> Duration {
        if self.jitter.is_zero() {
            return Duration::ZERO;
        }
        let spread = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
        let draw = hash(&self.seed.to_le_bytes(), &nominal.as_nanosecond().to_le_bytes());
        Duration::from_nanos(spread.checked_add(1).map_or(draw, |values| draw % values))
    }

    /// The same for the same times of starts, and hardly ever for others. It may be kept: it never changes.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The longest such delay.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// Whether its starts hang on the wall clock alone, so that one which the clock jumps over was missed.
    pub fn follows_wall_clock(&self) -> bool {
        self.every.is_none()
    }

    /// Whether each start belongs to one local time of one day, so that a clock set back must not repeat it.
    pub fn is_daily(&self) -> bool {
        self.cron.as_ref().is_some_and(|(cron, _)| !cron.follows_elapsed_time())
    }

    /// Nanoseconds since the last nominal start of `every`; 0 on a start.
    fn phase(&self, now: i128, period: i128) -> i128 {
        (now - i128::from(self.seed)).rem_euclid(period)
    }
}

/// The coming nominal starts of a schedule in its zone; the first is later than `from`.
pub fn upcoming(name: &JobName, schedule: &Schedule, from: Timestamp) -> impl Iterator<Item = Zoned> + use<> {
    let table = Timetable::new(name, schedule);
    let zone = schedule.timezone.clone();
    std::iter::successors(table.after(from), move |start| table.after(*start))
        .map(move |start| start.to_zoned(zone.clone()))
}

/// What the clocks of a zone do to a start of `cron`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// They leave out its local time, so that it comes when they jump.
    Skipped,
    /// They show its local time twice, and this is the first time.
    First,
    /// They show its local time twice, and this is the second time.
    Second,
}

/// Whether a start of a schedule stands where the clocks of its zone change.
pub fn shift(schedule: &Schedule, start: &Zoned) -> Option<Shift> {
    let (cron, local) = (schedule.cron.as_ref()?, start.datetime());
    if cron.at_or_after(local) != Some(local) {
        let is_cron = schedule.at != Some(At::Instant(start.timestamp()));
        return is_cron.then_some(Shift::Skipped);
    }
    match start.time_zone().to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { before, .. } if before == start.offset() => Some(Shift::First),
        AmbiguousOffset::Fold { .. } => Some(Shift::Second),
        _ => None,
    }
}

fn hash(first: &[u8], second: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
    hasher.write(first);
    hasher.write(second);
    hasher.finish()
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
