//! A time zone read straight from its TZif bytes and the POSIX rule at their end, by nothing that the program uses.

use std::ops::Range;

/// A zone's offsets from UTC.
#[derive(Debug)]
pub(crate) struct Zone {
    /// Before the first change, in seconds.
    first: i64,
    /// When the offset changes, in Unix seconds, and what it is from then on; in order, each another than the one before.
    pub(crate) changes: Vec<(i64, i64)>,
}

impl Zone {
    /// Reads the second, 64-bit block of a file and, for the years behind its last change, the rule.
    pub(crate) fn read(bytes: &[u8], years: Range<i64>) -> Self {
        assert!(bytes.starts_with(b"TZif") && bytes[4] >= b'2', "a TZif file of version 2 or later");
        let number = |at: usize, width: usize| {
            let sign = if bytes[at] & 0x80 == 0 { 0 } else { -1 };
            bytes[at..at + width].iter().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte))
        };
        // isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt
        let counts = |head: usize| {
            [0, 1, 2, 3, 4, 5].map(|at| usize::try_from(number(head + 20 + 4 * at, 4)).unwrap())
        };
        let [utc, std, leaps, times, types, letters] = counts(0);
        let head = 44 + times * 5 + types * 6 + letters + leaps * 8 + std + utc;
        let [utc, std, leaps, times, types, letters] = counts(head);
        let (at, kinds) = (head + 44, head + 44 + times * 8);
        let offsets = kinds + times;
        let offset = |kind: usize| number(offsets + kind * 6, 4);
        let mut zone = Self { first: offset(0), changes: vec![] };
        for change in 0..times {
            zone.change(number(at + change * 8, 8), offset(usize::from(bytes[kinds + change])));
        }
        // One that changes nothing but a name ends the table, too.
        let known = times.checked_sub(1).map_or(i64::MIN, |last| number(at + last * 8, 8));
        let footer = &bytes[offsets + types * 6 + letters + leaps * 12 + std + utc..];
        zone.follow(std::str::from_utf8(footer).unwrap().trim_matches('\n'), years, known);
        zone
    }

    /// The offset at a moment, both in seconds.
    pub(crate) fn offset(&self, unix: i64) -> i64 {
        let passed = self.changes.partition_point(|(at, _)| *at <= unix);
        passed.checked_sub(1).map_or(self.first, |last| self.changes[last].1)
    }

    fn change(&mut self, at: i64, offset: i64) {
        if self.changes.last().map_or(self.first, |(_, offset)| *offset) != offset {
            self.changes.push((at, offset));
        }
    }

    /// Adds the changes of a rule such as `CET-1CEST,M3.5.0,M10.5.0/3` that come later than what is known.
    fn follow(&mut self, rule: &str, years: Range<i64>, known: i64) {
        let mut parts = rule.split(',');
        let mut rest = parts.next().unwrap();
        let Some(standard) = after_name(&mut rest).map(|text| -clock(text)) else { return };
        let Some(text) = after_name(&mut rest) else { return };
        let summer = if text.is_empty() { standard + 3600 } else { -clock(text) };
        let (Some(begin), Some(end)) = (parts.next(), parts.next()) else {
            panic!("a rule without dates: {rule}")
        };
        let mut coming: Vec<_> = years
            .flat_map(|year| [(local(begin, year) - standard, summer), (local(end, year) - summer, standard)])
            .filter(|(at, _)| *at > known)
            .collect();
        coming.sort_unstable();
        for (at, offset) in coming {
            self.change(at, offset);
        }
    }
}

/// Takes a zone's short name off the text, and then the digits that follow; `None` where no name stands.
fn after_name<'a>(text: &mut &'a str) -> Option<&'a str> {
    let length = match text.strip_prefix('<') {
        Some(quoted) => quoted.find('>')? + 2,
        None => text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()),
    };
    let rest = &text[length..];
    let end = rest.find(|c: char| c.is_ascii_alphabetic() || c == '<').unwrap_or(rest.len());
    *text = &rest[end..];
    (length > 0).then_some(&rest[..end])
}

/// Seconds of `[+-]h[:m[:s]]`.
fn clock(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.trim_start_matches('+')), |rest| (-1, rest));
    let units = digits.split(':').zip([3600, 60, 1]);
    sign * units.map(|(number, unit)| number.parse::<i64>().unwrap() * unit).sum::<i64>()
}

/// The local time of a rule's date such as `M3.5.0/2` in a year, as if it were UTC.
fn local(date: &str, year: i64) -> i64 {
    let (date, time) = date.split_once('/').unwrap_or((date, "2"));
    let new_year = days(year, 1, 1);
    let day = if let Some(date) = date.strip_prefix('M') {
        let [month, week, weekday]: [i64; 3] =
            date.split('.').map(|part| part.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap();
        let first = days(year, month, 1);
        let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
        let begins = first + (weekday - weekday_of(first)).rem_euclid(7);
        // The fifth is the last.
        (0..week).map(|week| begins + 7 * week).take_while(|day| *day < next).last().unwrap()
    } else if let Some(day) = date.strip_prefix('J') {
        let day: i64 = day.parse().unwrap();
        let is_leap = days(year, 3, 1) - days(year, 2, 1) == 29;
        new_year + day - 1 + i64::from(is_leap && day >= 60)
    } else {
        new_year + date.parse::<i64>().unwrap()
    };
    day * 86_400 + clock(time)
}

/// Sunday is 0.
pub(crate) fn weekday_of(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

/// Days since 1970 of a date.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469
}

/// The year, month and day of a number of days since 1970, found by trying.
pub(crate) fn date(day: i64) -> (i64, i64, i64) {
    let guess = 1970 + day.div_euclid(366);
    let year = (guess..).find(|year| days(year + 1, 1, 1) > day).unwrap();
    let month = (1..12).find(|month| days(year, month + 1, 1) > day).unwrap_or(12);
    (year, month, day - days(year, month, 1) + 1)
}

#[test]
fn dates_and_rules_are_read_as_they_are_written() {
    assert_eq!([days(1970, 1, 1), days(2000, 2, 29), days(2026, 3, 1)], [0, 11_016, 20_513]);
    for day in (days(1999, 1, 1)..days(2042, 1, 1)).step_by(13) {
        let (year, month, of_month) = date(day);
        assert_eq!(days(year, month, of_month), day);
    }
    assert_eq!(weekday_of(days(2026, 3, 1)), 0);
    let mut berlin = Zone { first: 3600, changes: vec![] };
    berlin.follow("CET-1CEST,M3.5.0,M10.5.0/3", 2026..2027, 0);
    assert_eq!(berlin.changes, [(1_774_746_000, 7200), (1_792_890_000, 3600)]);
    let mut howe = Zone { first: 39_600, changes: vec![] };
    howe.follow("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2026..2027, 0);
    assert_eq!(howe.changes, [(1_775_314_800, 37_800), (1_791_041_400, 39_600)]);
}
