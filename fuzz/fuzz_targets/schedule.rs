//! Cron expressions, instants and zones: each start that is found is one, and none is left out before it.
#![no_main]

use jiff::civil::{DateTime, date};
use libfuzzer_sys::fuzz_target;
use netjobs::value::{
    Wrong,
    schedule::{At, Cron, Zone},
};

fuzz_target!(|input: (u32, &str)| {
    let (seconds, text) = input;
    let from = date(2024, 1, 1).at(0, 0, 0, 0).saturating_add(jiff::Span::new().seconds(i64::from(seconds)));
    match text.parse::<Cron>() {
        Ok(cron) => starts(&cron, from),
        Err(wrong) => mistake(text, &wrong),
    }
    if let Err(wrong) = text.parse::<At>() {
        mistake(text, &wrong);
    }
    if let Err(wrong) = text.parse::<Zone>() {
        mistake(text, &wrong);
    }
});

fn mistake(text: &str, wrong: &Wrong) {
    assert!(wrong.offset.is_none_or(|at| text.is_char_boundary(at)), "{wrong:?} of {text:?}");
    assert!(wrong.hint.is_some(), "{wrong:?} has no cure");
}

fn starts(cron: &Cron, from: DateTime) {
    let Some(first) = cron.at_or_after(from) else { return };
    assert!(first >= from);
    assert_eq!(cron.at_or_after(first), Some(first), "a start is a start");
    let second = first.saturating_add(jiff::Span::new().seconds(1));
    assert_eq!(cron.count(first, second), 1, "it is counted once");
    // Counting walks over days; a year of them is enough to prove that none was left out.
    let earliest = first.saturating_sub(jiff::Span::new().days(366)).max(from);
    assert_eq!(cron.count(earliest, first), 0, "{} has a start before {first}", cron.text);
}
