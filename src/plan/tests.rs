//! Schedules against times worked out by hand, and against a slow oracle around every kind of change of clocks.

use std::str::FromStr;

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::value::Timespan;

fn at(text: &str) -> Timestamp {
    Timestamp::from_str(text).unwrap()
}

fn name(text: &str) -> JobName {
    text.parse().unwrap()
}

fn schedule() -> Schedule {
    Schedule { every: None, cron: None, timezone: TimeZone::UTC, at: None, jitter: Timespan::default() }
}

fn every(period: &str) -> Timetable {
    Timetable::new(&name("job"), &Schedule { every: Some(period.parse().unwrap()), ..schedule() })
}

fn cron(text: &str, zone: &str) -> Timetable {
    let timezone = TimeZone::get(zone).unwrap();
    Timetable::new(&name("job"), &Schedule { cron: Some(Cron::parse(text).unwrap()), timezone, ..schedule() })
}

#[track_caller]
fn check_starts(text: &str, zone: &str, from: &str, wanted: &[&str]) {
    let table = cron(text, zone);
    let found: Vec<_> = std::iter::successors(table.after(at(from)), |start| table.after(*start))
        .take(wanted.len())
        .collect();
    let wanted: Vec<_> = wanted.iter().map(|start| at(start)).collect();
    assert_eq!(found, wanted, "{text} in {zone}");
}

#[test]
fn starts_of_every_are_whole_periods_from_the_name_s_phase() {
    let table = every("10s");
    let first = table.after(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!((first.as_nanosecond() - i128::from(table.seed)).rem_euclid(10_000_000_000), 0);
    assert_eq!(table.after(first).unwrap(), first + 10.seconds());
    assert_eq!(table.after(first - 1.nanosecond()).unwrap(), first);
    let other = Timetable::new(&name("other"), &Schedule { every: Some(Timespan::secs(10)), ..schedule() });
    assert_ne!(other.after(at("2026-01-01T00:00:00Z")).unwrap(), first, "names spread over the period");
}

#[test]
fn a_million_missed_periods_cost_less_than_a_millisecond() {
    let table = every("250ms");
    let from = table.after(at("2026-01-01T00:00:00Z")).unwrap();
    let until = from + 250_000.seconds();
    let timed = || {
        let begun = tokio::time::Instant::now().into_std();
        assert_eq!((table.count(from, until), table.last(from, until)), (1_000_000, Some(until)));
        begun.elapsed()
    };
    // The best of some: another process may take the processor.
    let best = (0..10).map(|_| timed()).min().unwrap();
    println!("a million missed periods counted in {best:?}");
    assert!(best < Duration::from_millis(1), "{best:?}");
}

#[test]
fn a_year_of_missed_cron_seconds_is_counted_without_a_walk() {
    let table = cron("* * * * * *", "Europe/Berlin");
    let (from, until) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    assert_eq!(table.count(from, until), 365 * 86_400);
    assert_eq!(table.last(from, until), Some(until));
}

#[test]
fn jitter_is_bounded_spread_and_the_same_each_time() {
    let jittered = Schedule { every: Some(Timespan::secs(1)), jitter: Timespan::millis(500), ..schedule() };
    let table = Timetable::new(&name("job"), &jittered);
    let starts: Vec<_> =
        std::iter::successors(table.after(at("2026-01-01T00:00:00Z")), |start| table.after(*start))
            .take(1000)
            .collect();
    let delays: Vec<_> = starts.iter().map(|start| table.delay(*start)).collect();
    assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(500)));
    let early = delays.iter().filter(|delay| **delay < Duration::from_millis(250)).count();
    assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    assert!(starts.iter().zip(&delays).all(|(start, delay)| table.delay(*start) == *delay));
}

#[test]
fn an_instant_comes_once() {
    let instant = at("2026-01-01T00:00:00Z");
    let table = Timetable::new(&name("job"), &Schedule { at: Some(At::Instant(instant)), ..schedule() });
    assert_eq!(table.after(instant - 1.hour()), Some(instant));
    assert_eq!(table.after(instant), None);
    assert_eq!(table.count(instant - 1.hour(), instant + 1.hour()), 1);
}

#[test]
fn the_coming_starts_stand_in_the_job_s_zone() {
    let timezone = TimeZone::get("Europe/Berlin").unwrap();
    let daily = Schedule { cron: Some(Cron::parse("0 8 * * *").unwrap()), timezone, ..schedule() };
    let starts: Vec<_> = upcoming(&name("job"), &daily, at("2026-03-28T07:00:00Z")).take(2).collect();
    assert_eq!(starts[0].to_string(), "2026-03-29T08:00:00+02:00[Europe/Berlin]");
    assert_eq!(starts[1].to_string(), "2026-03-30T08:00:00+02:00[Europe/Berlin]");
}

#[test]
fn stars_leave_no_gap_and_no_double_when_clocks_change() {
    let spring = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
    check_starts("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &spring);
    let autumn =
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    check_starts("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", &autumn);
    // Both halves of the repeated hour.
    check_starts("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &autumn);
    let hourly = ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"];
    check_starts("@hourly", "America/New_York", "2026-11-01T04:30:00Z", &hourly);
}

#[test]
fn a_fixed_time_comes_once_a_day_when_clocks_change() {
    let spring = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
    check_starts("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &spring);
    let autumn = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
    check_starts("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", &autumn);
    let york = ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"];
    check_starts("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", &york);
    // Two that the gap swallows come to one instant, and 03:00 is that instant too.
    let merged = ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"];
    check_starts(
        "0,30 2,3 29,30 3 *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        &[merged[0], "2026-03-29T01:30:00Z", merged[1]],
    );
}

/// Fault case 42: Lord Howe, Apia, Cairo.
#[test]
fn half_an_hour_midnight_and_a_whole_day_may_be_missing() {
    // Lord Howe goes from 02:00 to 02:30, and back from 02:00 to 01:30.
    check_starts(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T12:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    );
    check_starts(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T12:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    );
    // Cairo has no midnight on one day, and 23:30 twice on another.
    check_starts(
        "0 0 * * *",
        "Africa/Cairo",
        "2026-04-22T22:00:00Z",
        &["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"],
    );
    check_starts(
        "30 23 * * *",
        "Africa/Cairo",
        "2026-10-29T12:00:00Z",
        &["2026-10-29T20:30:00Z", "2026-10-30T21:30:00Z"],
    );
    // Apia had no 30 December 2011.
    check_starts(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00:00Z",
        &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
    );
    check_starts(
        "0 0 30 * *",
        "Pacific/Apia",
        "2011-12-01T00:00:00Z",
        &["2011-12-30T10:00:00Z", "2012-01-29T10:00:00Z"],
    );
}

#[test]
fn what_a_gap_swallowed_is_counted_from_the_moment_before_it_ends() {
    // Winamac went forward by two hours at once, where its table ends and a rule begins.
    for (zone, change) in [
        ("America/Indiana/Winamac", "2007-03-11T08:00:00Z"),
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ] {
        let text = if zone == "Pacific/Apia" { "0 12 30 * *" } else { "30 2 * * *" };
        let (table, change) = (cron(text, zone), at(change));
        let before = change - 1.nanosecond();
        assert_eq!((table.after(before), table.count(before, change)), (Some(change), 1), "{zone}");
        assert_eq!((table.count(change, change + 1.hour()), table.last(before, change)), (0, Some(change)));
    }
}

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "America/Havana",
];
const SHAPES: &[&str] = &[
    "*/30 * * * *",
    "*/20 1-3 * * *",
    "0 */2 * * *",
    "30 2 * * *",
    "0,30 0,2,23 * * *",
    "15 0 1,30 * 1",
    "0 0 * * *",
    "59 59 1-3 * * *",
];

/// Every minute (every second, for six fields) judged alone: slow and plain. `from` is a whole minute.
fn oracle(text: &str, zone: &TimeZone, from: Timestamp, hours: i64) -> Vec<Timestamp> {
    let cron = Cron::parse(text).unwrap();
    let step = if text.split(' ').count() == 6 { 1 } else { 60 };
    let matches = |local: jiff::civil::DateTime| cron.at_or_after(local) == Some(local);
    let mut starts = Vec::new();
    if cron.follows_elapsed_time() {
        starts.extend(
            (1..=hours * 3600 / step)
                .map(|steps| from + (steps * step).seconds())
                .filter(|at| matches(zone.to_datetime(*at))),
        );
        return starts;
    }
    let mut local = zone.to_datetime(from) - 26.hours();
    while local < zone.to_datetime(from) + hours.hours() + 26.hours() {
        if matches(local) {
            let either = zone.to_ambiguous_timestamp(local);
            let first = either.earlier().unwrap().min(either.later().unwrap());
            let gap = zone.to_datetime(first) != local;
            // Within a gap, seconds are walked until the clock has jumped.
            let jumped = |at: &Timestamp| zone.to_datetime(*at) > local;
            starts.push(if gap {
                (0..100_000_i64).map(|second| first + second.seconds()).find(jumped).unwrap()
            } else {
                first
            });
        }
        local += step.seconds();
    }
    starts.retain(|at| *at > from && *at <= from + (hours * 3600).seconds());
    starts.dedup();
    starts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn starts_around_a_change_of_clocks_are_those_of_the_oracle(
        zone in 0..ZONES.len(), shape in 0..SHAPES.len(), year in 2009i16..2030, index in 0usize..3, before in 0i64..2_800,
    ) {
        let zone = TimeZone::get(ZONES[zone]).unwrap();
        let new_year = zone.to_zoned(jiff::civil::date(year, 1, 1).at(12, 0, 0, 0)).unwrap().timestamp();
        let change = zone.following(new_year).nth(index).map_or(new_year, |change| change.timestamp());
        let from = change - before.minutes();
        let wanted = oracle(SHAPES[shape], &zone, from, 72);
        let cron = Cron::parse(SHAPES[shape]).unwrap();
        let table = Timetable::new(&name("job"), &Schedule { cron: Some(cron), timezone: zone, ..schedule() });
        let until = from + 72.hours();
        let found: Vec<_> = std::iter::successors(table.after(from), |start| table.after(*start)).take_while(|start| *start <= until).collect();
        prop_assert_eq!(&found, &wanted);
        prop_assert_eq!(table.count(from, until), wanted.len() as u64);
        prop_assert_eq!(table.last(from, until), wanted.last().copied());
        let middle = from + (before * 47).seconds();
        let later = wanted.iter().filter(|start| **start > middle).count() as u64;
        prop_assert_eq!(table.count(middle, until), later);
    }

    #[test]
    fn counting_every_agrees_with_stepping(period in 1u64..5_000_000_000, from in 0i64..2_000_000_000, periods in 0u64..200) {
        let timing = Schedule { every: Some(Timespan(Duration::from_nanos(period))), ..schedule() };
        let table = Timetable::new(&name("job"), &timing);
        let from = Timestamp::from_second(from).unwrap();
        let until = from + jiff::SignedDuration::from_nanos(i64::try_from(period * periods).unwrap());
        let found: Vec<_> = std::iter::successors(table.after(from), |start| table.after(*start)).take_while(|start| *start <= until).collect();
        prop_assert_eq!(table.count(from, until), found.len() as u64);
        prop_assert_eq!(table.last(from, until), found.last().copied());
    }
}
