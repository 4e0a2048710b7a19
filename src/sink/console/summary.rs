//! A run in words: the tables in its record and a line of its measurements. Generic but for the shapes that
//! `interface.md` gives to hosts and interfaces.

use serde_json::{Map, Value};

use super::table::Table;
use crate::{
    event::Finished,
    outcome::{Detail, HostList, Notice, Sample, Samples, Unit},
    sink::{
        escape::peer,
        units::{self, Units},
    },
};

/// One answer: `10.0.2.2: seq 1, 213 µs, ttl=64`.
pub(super) fn answer(notice: &Notice) -> Option<String> {
    let Notice::Answer { sequence, from, rtt, reason, note } = notice else { return None };
    let mut line = format!("{}: seq {sequence}, ", peer(from));
    match (rtt, reason) {
        (Some(rtt), _) => line.push_str(&units::seconds(rtt.as_secs_f64())),
        (None, Some(reason)) => line.push_str(reason.as_str()),
        (None, None) => line.push_str("no answer"),
    }
    if !note.is_empty() {
        line.push_str(", ");
        line.push_str(&peer(note));
    }
    Some(line)
}

/// The tables of a run's record: hosts, interfaces, and any other list of records.
pub(super) fn tables(run: &Finished, with_hosts: bool, units: &Units) -> Vec<Table> {
    let detail = match &run.detail {
        Detail::Hosts(list) if with_hosts => return vec![hosts(&**list)],
        Detail::Value(Value::Object(detail)) => detail,
        _ => return vec![],
    };
    let mut tables = vec![];
    for (key, value) in detail {
        let Value::Array(items) = value else { continue };
        match key.as_str() {
            "interfaces" => tables.push(interfaces(items)),
            _ => tables.extend(any(run.job.kind, items, units)),
        }
    }
    tables
}

fn hosts(list: &dyn HostList) -> Table {
    let mut table = Table::new(&["host", "state", "because", "rtt"]);
    list.each(&mut |host| {
        let because = host.evidence.or(host.reason).unwrap_or_default();
        let rtt = host.rtt.map(units::seconds).unwrap_or_default();
        table.rows.push(vec![peer(&host.host).into_owned(), host.state.into(), because.into(), rtt]);
    });
    table
}

fn interfaces(items: &[Value]) -> Table {
    let mut table = Table::new(&["name", "state", "mac", "mtu", "addresses"]);
    for item in items {
        let addresses = item["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let addresses: Vec<String> = addresses
            .iter()
            .map(|entry| format!("{}/{}", text(&entry["address"]), text(&entry["prefix_length"])))
            .collect();
        table.rows.push(vec![
            text(&item["name"]),
            text(&item["oper_state"]),
            text(&item["mac"]),
            text(&item["mtu"]),
            addresses.join(", "),
        ]);
    }
    table
}

/// A list of records that share their keys; one that is named like a measurement in seconds is shown as a time.
fn any(kind: &str, items: &[Value], units: &Units) -> Option<Table> {
    let Some(Value::Object(first)) = items.first() else { return None };
    let head: Vec<&str> = first.keys().map(String::as_str).collect();
    let mut table = Table::new(&head);
    for item in items {
        let shown = |key: &&str| match item[*key].as_f64() {
            Some(value) if units.of(kind, key) == Some(Unit::Seconds) => units::seconds(value),
            _ => text(&item[*key]),
        };
        table.rows.push(head.iter().map(shown).collect());
    }
    Some(table)
}

/// A line for each plain entry of the record, and one for each set of measurements.
pub(super) fn lines(run: &Finished, units: &Units) -> Vec<String> {
    let mut lines = match &run.detail {
        Detail::Value(Value::Object(detail)) => entries(run, detail),
        _ => vec![],
    };
    for set in &run.samples {
        let line = measured(run.job.kind, set, units);
        match set.family {
            _ if line.is_empty() => {}
            Some(family) => lines.push(format!("{family}: {line}")),
            None => lines.push(line),
        }
    }
    lines
}

fn entries(run: &Finished, detail: &Map<String, Value>) -> Vec<String> {
    let measured = |key: &str| run.samples.iter().any(|set| set.find(key).is_some());
    let shown = |value: &Value| match value {
        Value::Null | Value::Object(_) => false,
        // Nought of what seldom happens says nothing.
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty() && items.iter().all(|item| !item.is_object()),
        _ => true,
    };
    let plain = detail.iter().filter(|(key, value)| shown(value) && !measured(key));
    plain.map(|(key, value)| format!("{}: {}", peer(key).replace('_', " "), text(value))).collect()
}

/// `4 sent, 4 received, 0% loss, rtt min/avg/max 0.20 ms/0.21 ms/0.22 ms`.
fn measured(kind: &str, set: &Samples, units: &Units) -> String {
    const SPREAD: [&str; 3] = ["rtt_min", "rtt_avg", "rtt_max"];
    let mut parts = vec![];
    for (at, (name, sample)) in set.values.iter().enumerate() {
        let value = units.show(kind, name, sample);
        let words = name.replace('_', " ");
        // A size names its unit itself.
        let words = words.strip_suffix(" bytes").unwrap_or(&words);
        match sample {
            _ if SPREAD[1..].contains(name) && set.find(SPREAD[0]).is_some() => {}
            Sample::Number(_) if *name == SPREAD[0] => {
                let spread = SPREAD.map(|name| set.find(name).map(|sample| units.show(kind, name, sample)));
                let spread: Vec<String> = spread.into_iter().flatten().collect();
                parts.push(format!("rtt min/avg/max {}", spread.join("/")));
            }
            // Zeros of what seldom happens say nothing; the first two measurements are what was asked.
            Sample::Count(0) if at > 1 => {}
            Sample::Count(_) if matches!(*name, "ttl" | "child_exit") => {
                parts.push(format!("{words} {value}"));
            }
            Sample::Count(_) if *name == "count" => parts.push(format!("{value} found")),
            Sample::Count(1) => parts.push(format!("{value} {}", words.strip_suffix('s').unwrap_or(words))),
            Sample::Count(_) => parts.push(format!("{value} {words}")),
            Sample::Number(_) if value.ends_with('%') => parts.push(format!("{value} {words}")),
            _ => parts.push(format!("{words} {value}")),
        }
    }
    parts.join(", ")
}

/// A plain value of a record; a list's entries with commas.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
        Value::String(text) => peer(text).into_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
