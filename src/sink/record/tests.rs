//! Each event's record against the committed schema, and the promises about peers' bytes.

use serde_json::{Value, json};

use super::*;
use crate::{
    outcome::{Sample, Samples},
    sink::{escape::PEER, testing},
};

/// The record of a line.
fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn schema() -> jsonschema::Validator {
    let schema = serde_json::from_str(include_str!("../../../schema/events.schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn check(validator: &jsonschema::Validator, record: &Value) {
    let mistakes: Vec<String> = validator
        .iter_errors(record)
        .map(|mistake| format!("{}: {mistake}", mistake.instance_path()))
        .collect();
    assert!(mistakes.is_empty(), "{record:#}\n{}", mistakes.join("\n"));
}

#[test]
fn every_record_is_what_the_schema_says() {
    let validator = schema();
    let records: Vec<Value> = testing::all().iter().filter_map(line).map(|line| read(&line)).collect();
    assert_eq!(records.len(), 22);
    for record in &records {
        check(&validator, record);
    }
    check(&validator, &read(&diagnostic(Level::Warn, "late", testing::noon())));
}

#[test]
fn no_record_says_a_thing_twice() {
    for line in testing::all().iter().filter_map(line) {
        // A key that came twice would be read once.
        assert_eq!(read(&line).to_string().len(), line.len(), "{line}");
    }
}

#[test]
fn the_schema_knows_each_event_of_the_records_and_no_other() {
    let schema: Value = serde_json::from_str(include_str!("../../../schema/events.schema.json")).unwrap();
    let mut known: Vec<&str> =
        schema["properties"]["event"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let records: Vec<Value> = testing::all().iter().filter_map(line).map(|line| read(&line)).collect();
    let mut told: Vec<&str> = records.iter().filter_map(|record| record["event"].as_str()).collect();
    known.sort_unstable();
    told.sort_unstable();
    told.dedup();
    assert_eq!(known, told);
}

#[test]
fn the_schema_refuses_a_field_that_it_does_not_know() {
    let mut record = read(&line_at(&testing::run("a", "ping", Verdict::Passed), testing::noon()).unwrap());
    assert!(schema().is_valid(&record));
    record["surprise"] = json!(1);
    assert!(!schema().is_valid(&record));
}

#[test]
fn the_closed_sets_of_the_schema_are_those_of_the_code() {
    use crate::outcome::{Cause, Close, HostState};
    let schema: Value = serde_json::from_str(include_str!("../../../schema/events.schema.json")).unwrap();
    let words = |name: &str| -> Vec<String> {
        serde_json::from_value(schema["$defs"][name]["enum"].clone()).unwrap()
    };
    assert_eq!(words("verdict"), Verdict::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(words("reason"), Reason::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(words("close"), Close::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(words("cause"), Cause::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(words("host_state"), HostState::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn a_finished_run_has_its_fields_in_base_units() {
    let record = read(&line_at(&testing::run("gateway", "ping", Verdict::Failed), testing::noon()).unwrap());
    assert_eq!(
        record,
        json!({
            "time": "2026-11-23T12:00:00.000000Z",
            "level": "warn",
            "event": "run_finished",
            "job_name": "gateway",
            "kind": "ping",
            "run_id": "gateway@2026-11-23T12:00:00Z",
            "labels": { "site": "lab" },
            "scheduled": "2026-11-23T12:00:00.000000Z",
            "started": "2026-11-23T12:00:00.000000Z",
            "duration_seconds": 0.0125,
            "start_lag_seconds": 0.00025,
            "verdict": "failed",
            "reason": "expectation",
            "message": "loss is 25%, wanted <= 5%",
            "hint": null,
            "attempts": 1,
            "samples": { "sent": 4, "loss": 0.25 },
            "expectations": [
                { "name": "loss", "family": null, "wanted": "<= 5%", "measured": 0.25, "held": false },
            ],
            "detail": null,
        })
    );
}

#[test]
fn numbers_have_no_digits_that_nobody_measured() {
    let samples = Samples {
        family: None,
        values: vec![
            ("rtt_avg", Sample::Number((0.1 + 0.2) / 3.0)),
            ("loss", Sample::Number(1.0 / 3.0)),
            ("bytes", Sample::Number(12_345_678.5)),
        ],
    };
    let mut run = testing::finished("a", "ping", Verdict::Passed);
    (run.duration, run.samples) = (std::time::Duration::new(1, 946_987_433), vec![samples]);
    let line = line(&Event::RunFinished(Box::new(run))).unwrap();
    let wanted = r#""samples":{"rtt_avg":0.1,"loss":0.333333333,"bytes":12345678.5}"#;
    assert!(line.contains(wanted) && line.contains(r#""duration_seconds":1.946987433,"#), "{line}");
}

#[test]
fn both_families_have_a_set_of_samples_each() {
    let sets = [("ipv4", 1), ("ipv6", 2)].map(|(family, sent)| Samples {
        family: Some(family),
        values: vec![("sent", Sample::Count(sent)), ("rtt_avg", Sample::Number(f64::NAN))],
    });
    let wanted = json!({ "ipv4": { "sent": 1, "rtt_avg": null }, "ipv6": { "sent": 2, "rtt_avg": null } });
    assert_eq!(serde_json::to_value(Sets(&sets)).unwrap(), wanted);
}

/// Fault case 68: what a peer made is escaped and cut.
#[test]
fn case_68_peers_bytes_are_escaped_and_cut_in_records() {
    let hostile = format!("\"\n\u{1b}[2J\u{202e}{}{}", char::REPLACEMENT_CHARACTER, "x".repeat(65_536));
    let mut run = testing::finished("a", "exchange", Verdict::Failed);
    run.message = Some(hostile.clone());
    run.detail = json!({ "answer": hostile }).into();
    let record = read(&line(&Event::RunFinished(Box::new(run))).unwrap());
    check(&schema(), &record);
    for text in [&record["message"], &record["detail"]["answer"]] {
        let text = text.as_str().unwrap();
        assert!(text.starts_with("\"\\u{a}\\u{1b}[2J\\u{202e}"), "{text}");
    }
    let answer = record["detail"]["answer"].as_str().unwrap();
    assert!(answer.chars().count() < PEER + 32 && answer.ends_with('…'));
}

#[test]
fn answers_and_progress_are_steps_and_nothing_else_is() {
    let steps: Vec<Value> = testing::all()
        .iter()
        .filter(|event| is_step(event))
        .filter_map(line)
        .map(|line| read(&line))
        .collect();
    let names: Vec<&str> = steps.iter().filter_map(|step| step["event"].as_str()).collect();
    assert_eq!(names, ["answer", "progress"]);
}
