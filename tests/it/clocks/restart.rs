//! The built program killed and started again: `missed: once` catches up by what `--state` kept.

use std::{fs, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::story::{EACH_SECOND, NAMES, Story, pass};
use crate::program::netjobs;

fn start(state: &Path) -> Story {
    Story::start(&mut netjobs(&["run", "--state", state.to_str().unwrap()]), EACH_SECOND)
}

/// Until where the starts of `once` were dealt with.
fn last(state: &Path) -> Option<Timestamp> {
    let text = fs::read_to_string(state.join("STARTS.json")).ok()?;
    let document: Value = serde_json::from_str(&text).expect("it is whole");
    assert_eq!(document["value"].as_object().unwrap().len(), 1, "only who catches up is kept");
    document["value"]["once"]["last"].as_str().map(|last| last.parse().unwrap())
}

#[test]
fn what_was_missed_while_the_program_was_killed_is_one_run_and_an_exact_count() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let mut story = start(state);
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, Timestamp::UNIX_EPOCH, 2)));
    story.signal(Signal::SIGKILL);
    drop(story);
    let kept = last(state).expect("it was kept at once");
    pass(Duration::from_secs(3));
    let begun = Timestamp::now();
    let mut story = start(state);
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, begun, 2)));
    let story = story.end();
    let missed = story.check_each_second("once");
    let told = story.told("once");
    let first = told.iter().map(|told| told.scheduled).min().unwrap();
    let between = first.duration_since(kept);
    // What is kept first is when the job came into the plan, which is no whole second.
    let second = SignedDuration::from_secs(1);
    assert!(between > SignedDuration::ZERO && between <= second, "{first} is not the next after {kept}");
    let late = told.iter().filter(|told| told.started.is_some() && told.scheduled <= begun).count();
    println!("{missed} starts missed while the program was killed, {late} caught up");
    assert!(late <= 1 && missed >= 2, "{told:?}");
    assert!(story.told("tick").iter().all(|told| told.scheduled > begun), "the others catch up with nothing");
    // At its end it keeps the last start, also one that came a moment ago.
    let newest = told.iter().map(|told| told.scheduled).max().unwrap();
    assert_eq!(last(state), Some(newest));
}

#[test]
fn last_starts_that_do_not_read_are_set_aside_and_nothing_is_caught_up_with() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    fs::write(state.join("LOCK"), "").unwrap();
    fs::write(state.join("STARTS.json"), "{").unwrap();
    let begun = Timestamp::now();
    let mut story = start(state);
    story.until(|story| story.has_run_since("once", begun, 1));
    let story = story.end();
    assert!(story.told("once").iter().all(|told| told.scheduled > begun));
    let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with("STARTS.json.bad-")).count();
    assert_eq!(aside, 1);
    assert!(last(state).is_some());
}
