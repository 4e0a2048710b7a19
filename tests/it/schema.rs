//! The JSON schema of job files: current, a schema in a validator's eyes, and holding every job file that we show.

use std::{fs, path::Path};

use netjobs::job::{load, schema};
use serde_json::Value;

use crate::check;

const FILE: &str = "schema/netjobs.schema.json";

#[test]
fn the_schema_is_current() {
    let wanted = format!("{:#}\n", schema::job_file());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(FILE, &wanted).unwrap();
    }
    let found = fs::read_to_string(FILE).unwrap_or_default();
    assert!(found == wanted, "{FILE} is not current; renew it: UPDATE=1 cargo test --test it schema");
}

#[test]
fn the_schema_holds_every_job_file_that_we_show() {
    let validator = jsonschema::validator_for(&schema::job_file()).unwrap();
    let mut seen = 0;
    for path in
        ["tests/jobs/valid", "jobs", "examples"].iter().flat_map(|folder| yaml_below(Path::new(folder)))
    {
        let text = fs::read_to_string(&path).unwrap();
        // Prometheus, Docker and Kubernetes have YAML files too.
        if !text.lines().any(|line| line.starts_with("jobs:") || line.starts_with("defaults:")) {
            continue;
        }
        let mut value: serde_yaml::Value = serde_yaml::from_str(text.trim_start_matches('\u{feff}')).unwrap();
        value.apply_merge().unwrap();
        let value: Value = serde_yaml::from_value(value).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{path}: {wrong:#?}");
        seen += 1;
    }
    assert!(seen >= 18, "only {seen} files");
}

fn yaml_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(yaml_below(&path));
        } else if !name.starts_with('.') && path.extension().is_some_and(|end| end == "yaml" || end == "yml")
        {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn the_schema_refuses_what_an_editor_should_underline() {
    let validator = jsonschema::validator_for(&schema::job_file()).unwrap();
    let refuses = |text: &str| {
        let value: Value = serde_yaml::from_str(text).unwrap();
        assert!(!validator.is_valid(&value), "{text}");
    };
    refuses("jbos: []");
    refuses("jobs: [{ name: a }]");
    refuses("jobs: [{ name: a, ping: { host: x }, ipv6: {} }]");
    refuses("jobs: [{ name: a, ping: { hots: x } }]");
    refuses("jobs: [{ name: a, every: 10, ping: { host: x } }]");
    refuses("jobs: [{ name: a, every: 10s, cron: '@hourly', ping: { host: x } }]");
    refuses("jobs: [{ name: a, every: 10s, echo: { listen: 8807 } }]");
    refuses("jobs: [{ name: a, open: {}, ping: { host: x } }]");
    refuses("jobs: [{ name: a, ping: { host: x, count: 0 } }]");
    refuses("jobs: [{ name: a, ipv6: ~ }]");
    refuses("defaults: { needs: [a] }");
}

#[test]
fn every_key_of_the_dialect_is_explained_with_its_meaning() {
    let paths = schema::paths();
    for path in ["ping", "ping.count", "forward.proxy_protocol.send", "every", "retry.attempts", "open.for"] {
        assert!(paths.iter().any(|known| known == path), "{path}");
        let text = schema::explain(path).unwrap();
        assert!(text.starts_with(&format!("{path}\n\n")), "{text}");
    }
    let text = schema::explain("ping").unwrap();
    for word in ["host", "count", "rtt_p95", "loss"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(schema::secrets().iter().any(|path| path == "exchange.send"), "{:?}", schema::secrets());
    assert!(schema::secrets().iter().any(|path| path == "wait.http.body"), "{:?}", schema::secrets());
    assert!(load::load_texts(&[], &check::environment()).jobs.is_empty());
}
