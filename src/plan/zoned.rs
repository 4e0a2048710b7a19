//! From local times to instants, through all that a zone's clocks do. Local times themselves are `value::schedule::Cron`'s.
//!
//! A schedule that follows elapsed time starts at each instant whose local fields match: no gap, no double. Any other
//! starts exactly once for each local time: one that a gap swallows comes at the gap's end, one that a fold repeats comes
//! the first time, and starts that come to the same instant are one. A zone's offset is constant between transitions,
//! so within such a stretch local times and instants are one to one.

use jiff::{
    Timestamp, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::value::schedule::Cron;

/// The first start later than a moment.
pub(super) fn after(cron: &Cron, zone: &TimeZone, moment: Timestamp) -> Option<Timestamp> {
    if cron.follows_elapsed_time() {
        after_elapsed(cron, zone, moment)
    } else {
        after_daily(cron, zone, moment)
    }
}

fn after_elapsed(cron: &Cron, zone: &TimeZone, moment: Timestamp) -> Option<Timestamp> {
    let mut from = moment.checked_add(1.nanosecond()).ok()?;
    loop {
        let offset = zone.to_offset(from);
        let local = cron.at_or_after(offset.to_datetime(from))?;
        let found = offset.to_timestamp(local).ok()?;
        match transition(zone, from) {
            Some(end) if end <= found => from = end,
            _ => return Some(found),
        }
    }
}

fn after_daily(cron: &Cron, zone: &TimeZone, moment: Timestamp) -> Option<Timestamp> {
    // Instants of local times never run backward, so all before the moment's own local time lie behind it.
    let mut local = zone.to_datetime(moment);
    loop {
        let found = cron.at_or_after(local)?;
        let instant = instant_of(zone, found)?;
        if instant > moment {
            return Some(instant);
        }
        local = found.checked_add(1.second()).ok()?;
    }
}

/// When a local time comes, exactly once.
fn instant_of(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let early = after.to_timestamp(local).ok()?;
            zone.following(early).find(|change| change.offset() == after).map(|change| change.timestamp())
        }
    }
}

/// How many starts come later than `after` and not later than `until`, counted stretch by stretch.
pub(super) fn count(cron: &Cron, zone: &TimeZone, after: Timestamp, until: Timestamp) -> u64 {
    let next = |moment: Timestamp| moment.checked_add(1.nanosecond()).ok();
    let (Some(mut from), Some(end)) = (next(after), next(until)) else { return 0 };
    let mut total = 0;
    // The local time up to which all are counted. Inside a fold's second half, that is the fold's end.
    let mut counted = DateTime::MIN;
    if !cron.follows_elapsed_time() {
        counted = settled(zone, from);
    }
    while from < end {
        let stop = transition(zone, from).filter(|stop| *stop < end).unwrap_or(end);
        let offset = zone.to_offset(from);
        let (start, last) = (offset.to_datetime(from), offset.to_datetime(stop));
        if cron.follows_elapsed_time() {
            total += cron.count(start, last);
        } else {
            let swallowed = counted < start && cron.count(counted, start) > 0;
            let own = cron.at_or_after(start) == Some(start);
            total += u64::from(swallowed && !own) + cron.count(start.max(counted), last);
            counted = counted.max(last);
        }
        from = stop;
    }
    total
}

/// The local time up to which all have come before this moment.
fn settled(zone: &TimeZone, moment: Timestamp) -> DateTime {
    let local = zone.to_datetime(moment);
    let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(local).offset() else {
        // At the very end of a gap, what it swallowed is still to come.
        let past = moment.checked_sub(1.nanosecond()).map(|past| zone.to_offset(past));
        return past.map_or(local, |past| local.min(past.to_datetime(moment)));
    };
    if zone.to_offset(moment) == before {
        return local;
    }
    let early = before.to_timestamp(local).unwrap_or(moment);
    let change = zone.following(early).find(|change| change.offset() == after);
    change.map_or(local, |change| before.to_datetime(change.timestamp()))
}

/// The next moment at which the zone's clocks may change.
fn transition(zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
    zone.following(from).next().map(|change| change.timestamp())
}
