//! What a schedule means, minute by minute: every minute of UTC is asked what the clocks of the zone show.

use std::sync::LazyLock;

use super::tzif::{Zone, date, days, weekday_of};

/// A cron expression, and what it says in other words.
pub(crate) struct Shape {
    pub(crate) text: &'static str,
    /// Whether its minute or its hour begins with a star: each moment at which the clocks show such a time is a start.
    /// Else each such time is one start, however often the clocks show it, and also where they never do.
    pub(crate) is_star: bool,
    /// Hour and minute.
    pub(crate) time: fn(i64, i64) -> bool,
    pub(crate) day: fn(&Day) -> bool,
}

/// A day of the calendar.
pub(crate) struct Day {
    pub(crate) month: i64,
    pub(crate) day: i64,
    /// How many the month has.
    pub(crate) length: i64,
    /// Sunday is 0.
    pub(crate) weekday: i64,
}

const fn shape(
    text: &'static str,
    is_star: bool,
    time: fn(i64, i64) -> bool,
    day: fn(&Day) -> bool,
) -> Shape {
    Shape { text, is_star, time, day }
}

pub(crate) const SHAPES: [Shape; 12] = [
    shape("*/30 * * * *", true, |_, minute| minute % 30 == 0, |_| true),
    shape("0 * * * *", true, |_, minute| minute == 0, |_| true),
    shape("30 2 * * *", false, |hour, minute| (hour, minute) == (2, 30), |_| true),
    shape("0 0 * * *", false, |hour, minute| (hour, minute) == (0, 0), |_| true),
    shape(
        "15 1,2,3 * * 0",
        false,
        |hour, minute| minute == 15 && (1..4).contains(&hour),
        |day| day.weekday == 0,
    ),
    shape("*/7 1-3 * * *", true, |hour, minute| minute % 7 == 0 && (1..4).contains(&hour), |_| true),
    shape("30 1 l * *", false, |hour, minute| (hour, minute) == (1, 30), |day| day.day == day.length),
    shape(
        "45 0 * * mon-fri",
        false,
        |hour, minute| (hour, minute) == (0, 45),
        |day| (1..6).contains(&day.weekday),
    ),
    shape("5,35 0-3,23 * * *", false, |hour, minute| minute % 30 == 5 && (hour < 4 || hour == 23), |_| true),
    shape("0 */3 * * *", true, |hour, minute| minute == 0 && hour % 3 == 0, |_| true),
    // Day of month and day of week are OR.
    shape(
        "10 2 1-7,30 * 0,5",
        false,
        |hour, minute| (hour, minute) == (2, 10),
        |day| day.day < 8 || day.day == 30 || day.weekday % 5 == 0,
    ),
    shape(
        "0 12,2 * 3,4,9-11 sun#l",
        false,
        |hour, minute| minute == 0 && (hour == 2 || hour == 12),
        |day| day.weekday == 0 && day.day + 7 > day.length && matches!(day.month, 3 | 4 | 9..=11),
    ),
];

/// How long before a window the clocks are watched, in minutes, so that it is known which times have been.
const BEFORE: i64 = 2 * 1440;

/// The starts of each shape that come later than `from` and not later than `until`; Unix seconds, whole minutes.
pub(crate) fn starts(zone: &Zone, from: i64, until: i64) -> Vec<Vec<i64>> {
    assert!(from % 60 == 0 && until % 60 == 0);
    let (first, last) = (from / 60 - BEFORE, until / 60);
    let changes: Vec<i64> = zone.changes.iter().map(|(at, _)| *at).collect();
    let mut coming = changes.partition_point(|at| *at <= first * 60);
    let mut offset = zone.offset(first * 60);
    let mut shown = |minute: i64| {
        if changes.get(coming).is_some_and(|at| *at <= minute * 60) {
            coming += 1;
            offset = zone.offset(minute * 60);
        }
        assert_eq!(offset % 60, 0, "clocks that are off by seconds");
        minute + offset / 60
    };
    let calendar = Calendar::new(shown(first).div_euclid(1440) - 2);
    let mut found = vec![vec![]; SHAPES.len()];
    // The latest time that the clocks have shown.
    let mut latest = shown(first);
    for minute in first + 1..=last {
        let now = shown(minute);
        // Where the clocks were set forward, all that they left out comes now; where back, nothing is new.
        let fresh = (latest + 1..=now).fold(0, |bits, time| bits | calendar.shapes_at(time));
        let mut coming = calendar.shapes_at(now) & calendar.stars | fresh & !calendar.stars;
        while coming != 0 {
            found[coming.trailing_zeros() as usize].push(minute * 60);
            coming &= coming - 1;
        }
        latest = latest.max(now);
    }
    for starts in &mut found {
        starts.retain(|start| *start > from);
    }
    found
}

/// Which shapes have which minutes of which days, and which follow the clocks; as bits.
struct Calendar {
    stars: u16,
    times: &'static [u16],
    first: i64,
    days: Vec<u16>,
}

impl Calendar {
    /// Of some days from this one on.
    fn new(first: i64) -> Self {
        static TIMES: LazyLock<Vec<u16>> = LazyLock::new(|| {
            (0..1440).map(|time| bits(&|shape| (shape.time)(time / 60, time % 60))).collect()
        });
        let day = |number: i64| {
            let (year, month, day) = date(number);
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            let length = days(next.0, next.1, 1) - days(year, month, 1);
            Day { month, day, length, weekday: weekday_of(number) }
        };
        let days = (first..first + 16).map(day).map(|day| bits(&|shape| (shape.day)(&day))).collect();
        Self { stars: bits(&|shape| shape.is_star), times: &TIMES, first, days }
    }

    fn shapes_at(&self, time: i64) -> u16 {
        let day = self.days[usize::try_from(time.div_euclid(1440) - self.first).unwrap()];
        self.times[usize::try_from(time.rem_euclid(1440)).unwrap()] & day
    }
}

/// The shapes of which something holds.
fn bits(holds: &dyn Fn(&Shape) -> bool) -> u16 {
    let held = SHAPES.iter().enumerate().filter(|(_, shape)| holds(shape));
    held.fold(0, |bits, (at, _)| bits | 1 << at)
}
