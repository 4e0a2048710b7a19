//! Until where the starts of jobs were dealt with, kept for a later process that catches up. One file for all jobs, written
//! at once where nothing was written for a time, and else with all that has come meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::state::{Place, State};

/// How long after a save the next one comes. What starts meanwhile is lost to a process that is killed, and may then
/// start once more.
const REST: SignedDuration = SignedDuration::from_secs(10);

/// For how long a job that is in no file any more is known.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The last starts by job; without a state it knows nothing and keeps nothing.
#[derive(Debug, Default)]
pub struct Starts {
    place: Option<Place>,
    known: Arc<Mutex<BTreeMap<Arc<str>, Known>>>,
    is_changed: bool,
    saved: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Which schedule it was; another one is not caught up with.
    schedule: u64,
    /// The last nominal start; of a job that has not started yet, when it came into the plan.
    last: Timestamp,
}

impl Starts {
    /// What a process before this one kept. Entries that do not read are none.
    pub fn of(state: Option<&State>) -> Self {
        let Some(state) = state else { return Self::default() };
        let (cell, place) = state.starts();
        let kept = cell.lock().unwrap_or_else(PoisonError::into_inner).take();
        let entries = kept.as_ref().and_then(Value::as_object).into_iter().flatten();
        let known =
            entries.filter_map(|(job, entry)| Some((job.as_str().into(), Known::read(entry)?))).collect();
        Self { place: Some(place), known: Arc::new(Mutex::new(known)), is_changed: false, saved: None }
    }

    /// Until where the starts of a job with this schedule were dealt with.
    pub fn last(&self, job: &str, schedule: u64) -> Option<Timestamp> {
        self.known().get(job).filter(|known| known.schedule == schedule).map(|known| known.last)
    }

    /// Takes note of that.
    pub fn note(&mut self, job: &Arc<str>, schedule: u64, last: Timestamp) {
        if self.place.is_some() {
            self.known().insert(job.clone(), Known { schedule, last });
            self.is_changed = true;
        }
    }

    /// Nobody will ask for a job.
    pub fn forget(&mut self, job: &str) {
        let was_known = self.known().remove(job).is_some();
        self.is_changed |= was_known;
    }

    /// Drops jobs that are not in the plan and have not started for a month.
    pub fn forget_all_but(&mut self, is_planned: impl Fn(&str) -> bool, now: Timestamp) {
        let is_old = |known: &Known| now.duration_since(known.last) > FORGET_AFTER;
        self.known().retain(|job, known| is_planned(job) || !is_old(known));
    }

    /// Saves what has changed, unless something was saved a short time ago. Never waits.
    pub fn save_in_time(&mut self, now: Timestamp) {
        let rests = self.saved.is_some_and(|saved| now.duration_since(saved).abs() < REST);
        if self.is_changed && !rests {
            self.saved = Some(now);
            self.save();
        }
    }

    /// Saves what has changed. Never waits.
    pub fn save(&mut self) {
        if let Some(place) = self.place.as_ref().filter(|_| self.is_changed) {
            let known = self.known.clone();
            place.save_drawn(move || {
                // Nobody waits while the text is made.
                let known = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                known
                    .iter()
                    .map(|(job, known)| (job.to_string(), known.written()))
                    .collect::<Map<_, _>>()
                    .into()
            });
        }
        self.is_changed = false;
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn read(entry: &Value) -> Option<Self> {
        let schedule = u64::from_str_radix(entry["schedule"].as_str()?, 16).ok()?;
        Some(Self { schedule, last: entry["last"].as_str()?.parse().ok()? })
    }

    fn written(&self) -> Value {
        json!({ "schedule": format!("{:016x}", self.schedule), "last": self.last.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use nix::time::{ClockId, clock_gettime};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap_or_default()
    }

    #[test]
    fn ten_thousand_jobs_a_second_are_saved_every_ten_seconds_and_cost_the_engine_little() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), || ()).unwrap();
        let mut starts = Starts::of(Some(&state));
        let jobs: Vec<Arc<str>> = (0..10_000).map(|job| format!("a-job-with-a-name-{job}").into()).collect();
        let (mut saves, mut longest, mut total) = (0, Duration::ZERO, Duration::ZERO);
        // The time of this thread alone: others may have the core.
        let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap();
        for second in 0..60 {
            let begun = used();
            for job in &jobs {
                starts.note(job, 7, at(second));
            }
            let noted = used();
            starts.save_in_time(at(second));
            saves += u32::from(!starts.is_changed);
            longest = longest.max(used().saturating_sub(noted));
            total += used().saturating_sub(begun);
        }
        starts.save();
        assert!(state.flush(Duration::from_mins(1)));
        println!(
            "60 s of 10,000 starts a second: {saves} saves, {total:?} in all, a save {longest:?} at most"
        );
        assert_eq!(saves, 6);
        assert!(longest < Duration::from_millis(10), "{longest:?}");
        drop((starts, state));
        let state = State::open(folder.path(), || ()).unwrap();
        let starts = Starts::of(Some(&state));
        for job in &jobs {
            assert_eq!((starts.last(job, 7), starts.last(job, 8)), (Some(at(59)), None));
        }
    }

    #[test]
    fn one_that_is_out_of_the_plan_for_a_month_is_forgotten_and_an_old_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), || ()).unwrap();
        let mut starts = Starts::of(Some(&state));
        for (job, last) in [("yearly", 0), ("gone", 0), ("out", 60)] {
            starts.note(&job.into(), 7, at(last));
        }
        starts.save();
        assert!(state.flush(Duration::from_mins(1)));
        drop((starts, state));
        let path = folder.path().join("STARTS.json");
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(31 * 24)).unwrap();
        let state = State::open(folder.path(), || ()).unwrap();
        state.forget_all_but(|_| false);
        assert!(state.flush(Duration::from_mins(1)) && path.exists());
        let mut starts = Starts::of(Some(&state));
        starts.forget_all_but(|job| job == "yearly", at(30 * 86_400 + 30));
        let known = ["yearly", "gone", "out"].map(|job| starts.last(job, 7).is_some());
        assert_eq!(known, [true, false, true]);
    }
}
