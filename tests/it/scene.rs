//! Scenes: a file gives a small network, jobs, and what must come of them; the built program runs them in that network.

use std::{
    collections::BTreeMap,
    fs,
    panic::catch_unwind,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use netjobs::{
    kind::KINDS,
    value::expect::{Comparison, Operand},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{lab::Lab, netns::Running};

/// One file of `tests/scene`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scene {
    /// What it shows, a sentence.
    about: String,
    /// Shell lines that make up the near host.
    #[serde(default)]
    near: Vec<String>,
    /// Shell lines that make up the far host.
    #[serde(default)]
    far: Vec<String>,
    /// Programs that go on running on the far host.
    #[serde(default)]
    peers: Vec<String>,
    /// The jobs, run once on the near host.
    #[serde(default)]
    jobs: Option<Value>,
    /// Or a job file of the project.
    #[serde(default)]
    job_file: Option<String>,
    expect: Expected,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    exit: i32,
    /// By job: fields of its `run_finished` record; a text that begins with a comparison is one.
    runs: BTreeMap<String, Value>,
}

/// Asserts that every field of `wanted` is in `found`.
#[track_caller]
fn check_fields(place: &str, wanted: &Value, found: &Value) {
    match wanted {
        Value::Object(fields) => {
            for (name, wanted) in fields {
                check_fields(&format!("{place}.{name}"), wanted, &found[name]);
            }
        }
        Value::String(text) if text.starts_with(['<', '>', '!']) => {
            let comparison: Comparison = text.parse().unwrap();
            let number = found.as_f64().unwrap_or_else(|| panic!("{place}: wanted {text}, found {found}"));
            assert!(comparison.holds(&Operand::Number(number)), "{place}: wanted {text}, found {found}");
        }
        _ => {
            let same = wanted == found || wanted.is_number() && wanted.as_f64() == found.as_f64();
            assert!(same, "{place}: wanted {wanted}, found {found}");
        }
    }
}

#[track_caller]
fn check_scene(name: &str) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/scene").join(name)).unwrap();
    let scene: Scene = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lab = Lab::new();
    scene.near.iter().for_each(|line| drop(lab.near.sh(line)));
    scene.far.iter().for_each(|line| drop(lab.far.sh(line)));
    let start = |line: &String| {
        let mut command = Command::new("sh");
        let quiet = || Stdio::null();
        command.args(["-c", &format!("exec {line}")]).stdin(quiet()).stdout(quiet()).stderr(quiet());
        lab.far.spawn(command)
    };
    let _peers: Vec<Running> = scene.peers.iter().map(start).collect();

    let folder = tempfile::tempdir().unwrap();
    let jobs = match (&scene.jobs, &scene.job_file) {
        (Some(jobs), None) => {
            let file = folder.path().join("jobs.yaml");
            fs::write(&file, serde_json::json!({ "jobs": jobs }).to_string()).unwrap();
            file
        }
        (None, Some(file)) => root.join(file),
        _ => panic!("{name}: give `jobs` or `job_file`"),
    };
    let log = folder.path().join("log.json");
    let output = lab.netjobs(&["once", &jobs.display().to_string(), "--json", &log.display().to_string()]);
    let told = format!(
        "{name}: {}\n{}\n{}",
        scene.about,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let records = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{told}\n{error}"));
    let finished: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|record: &Value| record["event"] == "run_finished")
        .collect();
    for (job, wanted) in &scene.expect.runs {
        let found = finished.iter().find(|record| record["job_name"] == job.as_str());
        let found = found.unwrap_or_else(|| panic!("{told}\nno run of `{job}`"));
        check_fields(&format!("{told}\n{found}\n{job}"), wanted, found);
    }
    assert_eq!(output.status.code(), Some(scene.expect.exit), "{told}");
}

#[test]
fn every_scene_comes_to_what_its_file_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scene");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for kind in KINDS {
        let own = format!("{}.yaml", kind.name);
        assert!(names.contains(&own), "tests/scene/{own} is missing");
    }
    // Two at a time: most of a scene is waiting, and deadlines are judged.
    let queue = Mutex::new(names.into_iter());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(name) = { queue.lock().unwrap().next() } {
                    if catch_unwind(|| check_scene(&name)).is_err() {
                        wrong.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "these scenes came to something else, see above: {wrong:?}");
}
