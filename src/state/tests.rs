//! What is kept is found again, by the same job alone, and who cannot keep it goes on.

use std::sync::{
    atomic::{AtomicU32, Ordering},
    mpsc,
};

use serde_json::json;

use super::*;

const LONG: Duration = Duration::from_mins(1);

fn open(folder: &Path) -> State {
    State::open(folder, || ()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names = super::names(folder).unwrap();
    names.sort();
    names
}

fn kept(state: &State, job: &str, kind: &'static str) -> Option<Value> {
    state.memory(job, kind).0.lock().unwrap().clone()
}

#[test]
fn a_job_finds_its_memory_again_and_one_of_another_kind_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    for number in 0..100 {
        state.memory("lan", "sweep").1.save(json!({ "number": number }));
    }
    assert!(state.flush(LONG));
    drop(state);
    assert_eq!(names(folder.path()), ["LOCK", "lan.json"]);
    let state = open(folder.path());
    assert_eq!(kept(&state, "lan", "sweep"), Some(json!({ "number": 99 })));
    assert_eq!(kept(&state, "lan", "ping"), None);
    assert_eq!(kept(&state, "wan", "sweep"), None);
}

#[test]
fn a_job_that_comes_back_into_the_plan_finds_what_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (cell, _) = state.memory("lan", "sweep");
    *cell.lock().unwrap() = Some(json!(1));
    drop(cell);
    assert_eq!(kept(&state, "lan", "sweep"), Some(json!(1)));
}

#[test]
fn a_checkpoint_is_given_once_and_only_to_a_later_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let place = state.checkpoint("lan", "sweep");
    place.save(json!(7));
    assert!(place.take().is_none(), "it is this process's own");
    assert!(state.flush(LONG));
    drop((place, state));
    let state = open(folder.path());
    let place = state.checkpoint("lan", "sweep");
    let (value, age) = place.take().unwrap();
    assert!(value == json!(7) && age < LONG);
    assert!(place.take().is_none());
    place.remove();
    assert!(state.flush(LONG));
    assert_eq!(names(folder.path()), ["LOCK"]);
}

#[test]
fn a_folder_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("var/state");
    let state = open(&path);
    state.memory("lan", "sweep").1.save(json!(1));
    assert!(state.flush(LONG));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("lan.json"))), (0o700, 0o600));
}

#[test]
fn the_second_runner_is_told_who_the_first_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let said = State::open(folder.path(), || ()).unwrap_err().to_string();
    assert!(said.ends_with(&format!("another runner, process {}", std::process::id())), "{said}");
    drop(first);
    open(folder.path());
}

#[test]
fn in_a_folder_that_was_made_anew_the_lock_is_taken_anew_and_another_runners_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let first = open(&path);
    let (_, place) = first.memory("lan", "sweep");
    let make_anew = || {
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
    };
    make_anew();
    place.save(json!(1));
    assert!(first.flush(LONG));
    assert_eq!(names(&path), ["LOCK", "lan.json"]);
    assert!(matches!(State::open(&path, || ()), Err(Error::InUse { .. })));
    make_anew();
    let second = open(&path);
    place.save(json!(2));
    assert!(!first.flush(LONG));
    assert_eq!(names(&path), ["LOCK"], "nothing is written where another runner works");
    drop(second);
    place.save(json!(3));
    assert!(first.flush(LONG));
}

#[test]
fn what_cannot_be_written_is_counted_and_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let failed = Arc::new(AtomicU32::new(0));
    let count = failed.clone();
    let failed = || failed.load(Ordering::Relaxed);
    let add = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let state = State::open(folder.path(), add).unwrap();
    // A folder in the file's place: no file can be renamed over it.
    fs::create_dir(folder.path().join("lan.json")).unwrap();
    let (_, place) = state.memory("lan", "sweep");
    place.save(json!(1));
    assert!(!state.flush(LONG));
    let failures = failed();
    assert!((1..=2).contains(&failures), "{failures}");
    assert_eq!(names(folder.path()), ["LOCK", "lan.json"], "nothing is left of the try");
    fs::remove_dir(folder.path().join("lan.json")).unwrap();
    assert!(state.flush(LONG), "the last flush tries again");
    place.save(json!(2));
    assert!(state.flush(LONG));
    assert_eq!(failed(), failures);
}

#[test]
fn what_could_not_be_written_is_never_written_over_something_newer() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let path = folder.path().join("lan.json");
    fs::create_dir(&path).unwrap();
    let (_, place) = state.memory("lan", "sweep");
    let (begun, begins) = mpsc::sync_channel(1);
    let (release, released) = mpsc::sync_channel(1);
    place.save_drawn(move || {
        let _ = begun.send(());
        let _ = released.recv();
        json!("old")
    });
    begins.recv().unwrap();
    let in_its_place = path.clone();
    place.save_drawn(move || {
        // By now the old one has failed.
        let _ = fs::remove_dir(&in_its_place);
        json!("new")
    });
    release.send(()).unwrap();
    // Asked for in turns: each flush would try again what is thought to have failed.
    for _ in 0..2 {
        assert!(state.flush(LONG));
    }
    drop((place, state));
    assert_eq!(kept(&open(folder.path()), "lan", "sweep"), Some(json!("new")));
}

#[test]
fn only_what_is_old_and_of_no_job_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    for job in ["old", "young", "known"] {
        state.memory(job, "sweep").1.save(json!(1));
    }
    assert!(state.flush(LONG));
    let long_ago = SystemTime::now() - FORGET_AFTER - LONG;
    for job in ["old", "known"] {
        let file = fs::File::options().append(true).open(folder.path().join(format!("{job}.json"))).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    drop(state);
    let state = open(folder.path());
    state.forget_all_but(|job| job == "known");
    assert!(state.flush(LONG));
    assert_eq!(names(folder.path()), ["LOCK", "known.json", "young.json"]);
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_nothing_in_it_is_touched() {
    for name in ["package.json", "a.checkpoint", ".tmp", "a.json.tmp"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), "{}").unwrap();
        let error = State::open(folder.path(), || ()).unwrap_err();
        assert!(error.to_string().contains(&format!("`{name}` stands there")), "{error}");
        assert_eq!(names(folder.path()), [name]);
    }
}

#[test]
fn what_does_not_look_like_state_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["lost+found", "notes.tmp", "README"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    drop(open(folder.path()));
    drop(open(folder.path()));
    assert_eq!(names(folder.path()), ["LOCK", "README", "lost+found", "notes.tmp"]);
}

#[test]
fn state_that_was_copied_without_its_lock_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    state.memory("lan", "sweep").1.save(json!(1));
    assert!(state.flush(LONG));
    drop(state);
    fs::remove_file(folder.path().join("LOCK")).unwrap();
    assert_eq!(kept(&open(folder.path()), "lan", "sweep"), Some(json!(1)));
}

#[test]
fn jobs_that_come_and_go_and_leave_nothing_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (stays, _) = state.memory("stays", "ping");
    *state.memory("left-something", "sweep").0.lock().unwrap() = Some(json!(7));
    for number in 0..10_000 {
        let _gone = state.memory(&format!("job-{number}"), "ping");
    }
    let known = state.0.memories.lock().unwrap().len();
    assert!(known < 100, "{known}");
    assert_eq!(kept(&state, "left-something", "sweep"), Some(json!(7)));
    assert!(Arc::ptr_eq(&stays, &state.memory("stays", "ping").0));
}
