//! Job files: each file under `tests/jobs/invalid` has one mistake and the exact text that it prints; those under
//! `tests/jobs/valid`, `jobs/` and `examples/` load without a word.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use netjobs::{
    job::{
        Job,
        load::{self, Loaded},
    },
    kind::KINDS,
    meter::Registry,
    sink::metrics::{EVERY_JOB, Metrics},
    value::{JobName, Overlap, Timespan, schedule::At},
};
use serde_json::json;

use crate::check;

/// The files of a folder with this ending, in name order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|known| known == ending)).collect();
    files.sort();
    files
}

/// Fault cases 61 and 62: odd YAML and odd ranges are among the files of `tests/jobs/invalid`.
#[test]
fn every_invalid_file_says_exactly_what_its_twin_says() {
    let yaml = files("tests/jobs/invalid", "yaml");
    let mut wrong = Vec::new();
    for file in &yaml {
        if let Err(panic) = std::panic::catch_unwind(|| check::check_invalid(file)) {
            wrong.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), yaml.len(), wrong.join("\n"));
    let stems = |files: &[PathBuf]| files.iter().map(|path| path.with_extension("")).collect::<Vec<_>>();
    assert_eq!(stems(&yaml), stems(&files("tests/jobs/invalid", "err")), "a twin without its file");
    assert!(yaml.len() >= 200, "only {} files", yaml.len());
}

#[test]
fn a_mistake_stands_inside_its_text_even_at_the_very_end_and_on_wide_characters() {
    for text in ["jobs:\n-", "jobs:", "ü: 1", "- ü", "jobs: [{ ping: ü }]", "jobs:\n- name: ü"] {
        let report = load::load_texts(&[("a.yaml", text)], &check::environment()).report;
        assert!(report.has_errors(), "{text:?}");
        for place in report.diagnostics.iter().filter_map(|diagnostic| diagnostic.place.as_ref()) {
            assert!(text.get(place.span.clone()).is_some(), "{:?} of {text:?}", place.span);
        }
    }
}

#[test]
fn every_valid_file_loads_without_a_word() {
    let mut yaml = files("tests/jobs/valid", "yaml");
    yaml.extend(files("tests/jobs/valid/folder", "yaml").into_iter().filter(|path| !is_hidden(path)));
    for file in &yaml {
        check::check_valid(file);
    }
    assert!(yaml.len() >= 8, "only {} files", yaml.len());
    check::check_valid(Path::new("tests/jobs/valid/folder"));
    // These name each other's jobs.
    check::check_valid(Path::new("jobs"));
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with('.')
}

/// A job of a loaded set.
#[track_caller]
fn job<'a>(loaded: &'a Loaded, name: &str) -> &'a Job {
    loaded.jobs.iter().find(|job| job.name.as_str() == name).unwrap()
}

#[test]
fn a_job_stands_over_its_file_over_its_folder() {
    let label = |job: &Job, name: &str| job.labels.get(name).cloned();
    let folder = check::check_valid(Path::new("tests/jobs/valid/folder"));
    let of_file = job(&folder, "of-the-file");
    assert!(of_file.schedule.cron.is_some() && of_file.schedule.every.is_none());
    assert_eq!(label(of_file, "site").as_deref(), Some("file"));
    assert_eq!(label(of_file, "team").as_deref(), Some("net"));
    assert_eq!(label(of_file, "rack").as_deref(), Some("7"));
    let of_folder = job(&folder, "of-the-folder");
    assert_eq!(of_folder.schedule.every, Some(Timespan::secs(3_600)));
    assert_eq!(of_folder.overlap, Overlap::Allow);
    let once = job(&folder, "once");
    assert_eq!((once.schedule.every, once.schedule.at), (None, Some(At::Start)));
    let alone = check::check_valid(Path::new("tests/jobs/valid/folder/two.yml"));
    assert_eq!(job(&alone, "of-the-folder").identity, of_folder.identity);
}

#[test]
fn what_a_kind_does_not_take_is_passed_over_and_who_is_left_out_takes_its_dependants_along() {
    let loaded = check::check_valid(Path::new("tests/jobs/valid/common-keys.yaml"));
    let service = job(&loaded, "in-a-window");
    assert!(service.schedule.every.is_none() && service.run_timeout.is_none() && service.open.is_some());
    let wait = job(&loaded, "waits");
    assert_eq!(wait.run_timeout, None);
    assert_eq!(wait.needs.iter().map(JobName::as_str).collect::<Vec<_>>(), ["in-a-window"]);
    assert_eq!(job(&loaded, "tried-again").run_timeout, Some(Timespan::secs(300)));
    let left_out: Vec<&str> = loaded.left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left_out, ["kept-but-not-run", "elsewhere", "needs-what-is-elsewhere"]);
    assert!(loaded.left_out[2].1.contains("`elsewhere`"), "{:?}", loaded.left_out);
}

#[test]
fn no_job_may_have_a_label_that_a_metric_of_ours_has() {
    let of_metrics = KINDS.iter().flat_map(|facts| facts.metrics).chain(EVERY_JOB);
    let mut names: BTreeSet<String> =
        of_metrics.flat_map(|metric| metric.labels).map(|name| (*name).to_owned()).collect();
    let of_process = Metrics::new(Registry::new(1)).unwrap().render();
    let labels = of_process.lines().filter_map(|line| line.split_once('{')?.1.split_once('}'));
    let labels = labels.flat_map(|(labels, _)| labels.split(','));
    names.extend(labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned())));
    assert!(
        ["upstream", "device", "state", "version", "cause"].iter().all(|name| names.contains(*name)),
        "{names:?}"
    );
    for name in &names {
        let labels = json!({ "labels": { name.as_str(): "x" } });
        let refused = load::load_ad_hoc("ipc", json!({}), labels, &check::environment());
        let report = refused.expect_err(name).render(false);
        assert!(report.contains("one of the program's own"), "{name}: {report}");
    }
}

#[test]
fn the_default_bound_of_a_run_is_what_it_needs_and_ten_seconds() {
    let bound = |common: serde_json::Value, host: serde_json::Value| {
        load::load_ad_hoc("ping", host, common, &check::environment()).unwrap().0.run_timeout
    };
    let host = json!({ "host": "10.0.2.2", "count": 60, "interval": "1s", "timeout": "2s" });
    let once = bound(json!({}), host.clone()).unwrap();
    let thrice = bound(json!({ "retry": { "attempts": 3 } }), host).unwrap();
    assert!(once.0 > Duration::from_mins(1), "{once}");
    assert_eq!(
        thrice.0,
        once.0.checked_sub(Duration::from_secs(10)).unwrap() * 3 + Duration::from_secs(1 + 2 + 10)
    );
    assert_eq!(bound(json!({}), json!({ "host": "10.0.2.2", "count": 1 })), Some(Timespan::secs(30)));
}

#[test]
fn the_identity_of_a_job_follows_its_values_and_not_its_spelling() {
    let identity = |text: &str| {
        let loaded = load::load_texts(&[("a.yaml", text)], &check::environment());
        assert!(!loaded.report.has_errors(), "{}", loaded.report.render(false));
        loaded.jobs[0].identity
    };
    let plain = identity("jobs:\n  - name: a\n    every: 10s\n    ping: { host: 127.0.0.1, count: 3 }\n");
    let spelt = "defaults: { every: \"10s\" }\njobs: [{ ping: { count: 3, host: \"${HOST}\" }, name: a }]";
    assert_eq!(identity(spelt), plain);
    assert_ne!(identity(&spelt.replace("10s", "11s")), plain);
    assert_ne!(identity(&spelt.replace("name: a", "name: b")), plain);
}

#[test]
fn the_contents_of_a_secret_are_part_of_a_job_and_of_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let write = |secret: &str, want: &str| {
        fs::write(folder.path().join("secret"), secret).unwrap();
        let text = format!(
            "jobs:\n  - name: a\n    exchange: {{ to: \"db:1\", send: x, want: \"{want}${{file:secret}}\" }}\n"
        );
        fs::write(&file, text).unwrap();
        check::load(&[&file])
    };
    let one = write("one\n", "").jobs[0].identity;
    assert_eq!(write("one", "").jobs[0].identity, one);
    assert_ne!(write("two", "").jobs[0].identity, one);
    let loaded = write("hunter2", "hex:");
    let said = format!("{}{}{:?}", loaded.report.render(false), loaded.report.to_json(), loaded.report);
    assert!(loaded.report.has_errors() && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_wrong_flag_of_a_command_line_is_named_by_its_path() {
    let path = |kind: &str, parameters: serde_json::Value, common: serde_json::Value| {
        let report = load::load_ad_hoc(kind, parameters, common, &check::environment()).unwrap_err();
        assert!(report.diagnostics.iter().all(|diagnostic| diagnostic.place.is_none()));
        report.diagnostics.into_iter().map(|diagnostic| diagnostic.path).collect::<Vec<_>>()
    };
    let forward = |key: &str, value: serde_json::Value| {
        let mut parameters = json!({ "listen": "8800", "to": "www.example.com:80" });
        parameters[key] = value;
        parameters
    };
    assert_eq!(path("forward", forward("connect_timeout", json!("5")), json!({})), ["connect_timeout"]);
    let send = json!({ "send": "v3" });
    assert_eq!(path("forward", forward("proxy_protocol", send), json!({})), ["proxy_protocol.send"]);
    assert_eq!(path("forward", forward("listen", json!(["1", "x"])), json!({})), ["listen[1]"]);
    let host = json!({ "host": "10.0.2.2", "count": "3" });
    assert_eq!(path("ping", host.clone(), json!({ "every": "10" })), ["every"]);
    assert_eq!(path("ping", host.clone(), json!({ "expect": { "loss": "5" } })), ["expect.loss"]);
    assert_eq!(path("echo", json!({ "listen": "0" }), json!({ "every": "10s" })), ["every"]);
    let (job, _) = load::load_ad_hoc("ping", host, json!({ "every": "10s" }), &check::environment()).unwrap();
    assert_eq!((job.name.as_str(), job.place.as_str()), ("ping", "command line"));
}

#[test]
fn a_job_of_a_command_line_comes_with_its_warnings() {
    let open = json!({ "listen": "0.0.0.0:8800", "to": "10.0.0.2:80" });
    let (_, report) = load::load_ad_hoc("forward", open, json!({}), &check::environment()).unwrap();
    assert_eq!(report.diagnostics.len(), 1, "{report:?}");
    assert!(report.diagnostics[0].message.contains("for everybody"), "{report:?}");
}
