//! Cron expressions, reduced to local calendar fields: which local times of which local days. Not when these come: the
//! step from a local time to an instant, with all that clocks do in spring and autumn, is `plan`'s.
//!
//! `croner` reads the expression, and is asked for no instant: it is the local calendar that the tests hold it to. What it matches is then kept as bits, so that a job costs 160 bytes and a look-up
//! no search: a day's match hangs only on the month's length and the weekday of its first.

use croner::{Weekday, parser::CronParser};
use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time},
};

use super::fields::{HINT, expand};
use crate::value::Wrong;

/// A parsed cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// As the file writes it.
    pub text: String,
    /// Whether its minute or hour field begins with `*`.
    elapsed: bool,
    seconds: u64,
    minutes: u64,
    hours: u64,
    /// Bit 1 is January.
    months: u64,
    /// Bit 1 is the first of the month; by length (28 to 31) and weekday of the first (Sunday is 0).
    days: [[u32; 7]; 4],
}

/// A month of each length, to ask `croner` about.
const SAMPLES: [(i32, u32, u32); 4] = [(2023, 2, 28), (2024, 2, 29), (2023, 4, 30), (2023, 1, 31)];

impl Cron {
    /// Reads five fields, or six with seconds first, or a short form such as `@hourly`.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let fields = expand(text)?;
        let shown = text.escape_debug();
        let wrong = |why: String| Wrong::new(format!("`{shown}` is not a cron expression: {why}"), HINT);
        let parser = CronParser::builder().build();
        let pattern = parser.parse(&fields.join(" ")).map_err(|error| wrong(error.to_string()))?.pattern;
        let bits = |values: Vec<u16>| values.into_iter().fold(0u64, |bits, value| bits | 1 << value);
        let mut days = [[0u32; 7]; 4];
        for (table, (year, month, length)) in days.iter_mut().zip(SAMPLES) {
            for (first, bits) in (0u32..).zip(table.iter_mut()) {
                for day in 1..=length {
                    let weekday = Weekday::from_days_from_sunday((first + day - 1) % 7);
                    if pattern.day_match(year, month, day, weekday).is_ok_and(|matches| matches) {
                        *bits |= 1 << day;
                    }
                }
            }
        }
        let cron = Self {
            text: text.to_owned(),
            elapsed: fields[1].starts_with('*') || fields[2].starts_with('*'),
            seconds: bits(pattern.seconds.values()),
            minutes: bits(pattern.minutes.values()),
            hours: bits(pattern.hours.values()),
            months: bits(pattern.months.values()),
            days,
        };
        if cron.never() {
            return Err(Wrong::new(
                format!("`{shown}` never comes: none of its months has such a day"),
                "choose a day that the months have, such as `0 0 28 2 *`",
            ));
        }
        Ok(cron)
    }

    /// Whether it follows elapsed time, so that each instant whose local fields match is a start; otherwise each
    /// local time is a start exactly once.
    pub fn follows_elapsed_time(&self) -> bool {
        self.elapsed
    }

    /// The first matching local time at or after this one; `None` beyond the last year.
    pub fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        if self.is_day(from.date())
            && let Some(time) = self.time_at_or_after(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let day = self.day_at_or_after(from.date().checked_add(1.day()).ok()?)?;
        self.time_at_or_after(Time::midnight()).map(|time| day.to_datetime(time))
    }

    /// How many local times match from `from` on and before `end`.
    pub fn count(&self, from: DateTime, end: DateTime) -> u64 {
        if end <= from {
            return 0;
        }
        let of = |date: Date, times: u64| if self.is_day(date) { times } else { 0 };
        let (first, last) = (from.date(), end.date());
        let mut total = of(last, self.times_before(end.time()));
        let mut day = first;
        while day < last {
            total += of(day, self.times());
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        total - of(first, self.times_before(from.time()))
    }

    /// Whether the local day has starts.
    fn is_day(&self, date: Date) -> bool {
        self.days_of(date) >> date.day() & 1 == 1
    }

    /// The matching days of a date's month, as bits.
    fn days_of(&self, date: Date) -> u32 {
        if self.months >> date.month() & 1 == 0 {
            return 0;
        }
        let first = date.first_of_month().weekday().to_sunday_zero_offset();
        let (Ok(length), Ok(first)) = (usize::try_from(date.days_in_month()), usize::try_from(first)) else {
            return 0;
        };
        self.days[length - 28][first]
    }

    fn day_at_or_after(&self, from: Date) -> Option<Date> {
        let mut day = from;
        loop {
            let left = self.days_of(day) >> day.day() << day.day();
            if left != 0 {
                let found = i8::try_from(left.trailing_zeros()).ok()?;
                return Date::new(day.year(), day.month(), found).ok();
            }
            day = day.last_of_month().tomorrow().ok()?;
        }
    }

    fn time_at_or_after(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (from.hour(), from.minute());
        // A part of a second past a start has missed it.
        let second = from.second() + i8::from(from.subsec_nanosecond() > 0);
        let make = |hour, minute, second| Time::new(hour, minute, second, 0).ok();
        let (first_minute, first_second) = (lowest(self.minutes, 0)?, lowest(self.seconds, 0)?);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = lowest(self.seconds, second)
            {
                return make(hour, minute, second);
            }
            if let Some(minute) = lowest(self.minutes, minute + 1) {
                return make(hour, minute, first_second);
            }
        }
        make(lowest(self.hours, hour + 1)?, first_minute, first_second)
    }

    /// How many starts a day has.
    fn times(&self) -> u64 {
        u64::from(self.hours.count_ones() * self.minutes.count_ones() * self.seconds.count_ones())
    }

    /// How many of a day's starts come before a time.
    fn times_before(&self, time: Time) -> u64 {
        let below = |bits: u64, value: i8| u64::from((bits & ((1 << value) - 1)).count_ones());
        let seconds = u64::from(self.seconds.count_ones());
        let minutes = u64::from(self.minutes.count_ones());
        let mut total = below(self.hours, time.hour()) * minutes * seconds;
        if self.hours >> time.hour() & 1 == 1 {
            total += below(self.minutes, time.minute()) * seconds;
            if self.minutes >> time.minute() & 1 == 1 {
                total += below(self.seconds, time.second() + i8::from(time.subsec_nanosecond() > 0));
            }
        }
        total
    }

    /// Whether no day of any of its months matches. In 400 years each month has begun on each weekday.
    fn never(&self) -> bool {
        let matches = |length: usize| self.days[length - 28].iter().any(|bits| *bits != 0);
        (1..=12).filter(|month| self.months >> month & 1 == 1).all(|month| match month {
            2 => !matches(28) && !matches(29),
            4 | 6 | 9 | 11 => !matches(30),
            _ => !matches(31),
        })
    }
}

/// The lowest bit at or above `from`.
fn lowest(bits: u64, from: i8) -> Option<i8> {
    let left = bits >> from << from;
    if left == 0 { None } else { i8::try_from(left.trailing_zeros()).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_next(text: &str, from: &str, wanted: &str) {
        let cron = Cron::parse(text).unwrap();
        let found = cron.at_or_after(from.parse().unwrap()).unwrap();
        assert_eq!(found, wanted.parse().unwrap(), "{text} from {from}");
    }

    #[test]
    fn local_times_are_found_field_by_field() {
        check_next("*/5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:00");
        check_next("*/5 * * * *", "2026-01-01T00:00:00.5", "2026-01-01T00:05:00");
        check_next("0 0 * * *", "2026-12-31T00:00:01", "2027-01-01T00:00:00");
        check_next("30 15 10 * * *", "2026-01-01T10:15:31", "2026-01-02T10:15:30");
        check_next("0 0 29 2 *", "2096-03-01T00:00:00", "2104-02-29T00:00:00");
        check_next("0 0 l * *", "2026-02-01T00:00:00", "2026-02-28T00:00:00");
        check_next("0 9 * * mon#2", "2026-01-01T00:00:00", "2026-01-12T09:00:00");
        check_next("@hourly", "2026-01-01T00:00:01", "2026-01-01T01:00:00");
        check_next("@midnight", "2026-01-01T00:00:01", "2026-01-02T00:00:00");
        check_next("0 0 * * fri-sun", "2026-01-01T00:00:00", "2026-01-02T00:00:00");
    }

    #[test]
    fn day_of_month_and_day_of_week_are_or() {
        check_next("0 0 13 * 5", "2026-01-01T00:00:00", "2026-01-02T00:00:00");
        check_next("0 0 13 * 5", "2026-01-10T00:00:00", "2026-01-13T00:00:00");
        check_next("0 0 13 * *", "2026-01-01T00:00:00", "2026-01-13T00:00:00");
    }

    /// Fault case 43: 31 February is refused, and its kin.
    #[test]
    fn what_never_comes_is_refused() {
        for text in ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let wrong = Cron::parse(text).unwrap_err();
            assert!(wrong.message.contains("never comes"), "{text}: {wrong}");
        }
        assert!(Cron::parse("0 0 31 2 1").is_ok(), "a Monday in February comes");
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let odd = "* * * *|* * * * * * *|60 * * * *|* 24 * * *|* * 0 * *|* * * 13 *|* * * * 8|1,,2 * * * *|a * * * *";
        let odder = "5/10 * * * *|*/0 * * * *|5-1 * * * *|0 mon * * *|0 0 * * sunmon|@often|@reboot||0 0 * * mon#6|*/+5 * * * *";
        for text in odd.split('|').chain(odder.split('|')) {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stars_in_minute_or_hour_follow_elapsed_time() {
        for (text, elapsed) in [
            ("*/30 2 * * *", true),
            ("0 */2 * * *", true),
            ("30 2 * * *", false),
            ("* 0-59 0-23 * * *", false),
        ] {
            assert_eq!(Cron::parse(text).unwrap().follows_elapsed_time(), elapsed, "{text}");
        }
    }

    #[test]
    fn counting_agrees_with_stepping() {
        for text in ["*/7 * * * *", "0 0 13 * 5", "15 30 4,16 * 2 *"] {
            let cron = Cron::parse(text).unwrap();
            let (from, end) =
                ("2026-01-05T04:30:00".parse().unwrap(), "2026-03-09T16:30:15".parse().unwrap());
            let (mut at, mut count) = (from, 0);
            while let Some(found) = cron.at_or_after(at).filter(|found| *found < end) {
                count += 1;
                at = found.saturating_add(1.second());
            }
            assert_eq!(cron.count(from, end), count, "{text}");
        }
    }
}
