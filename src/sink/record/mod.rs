//! Events as records: the objects of the log, of `--json` and of `once --json FILE`. `schema/events.schema.json` says
//! the same to programs. What a peer may have made is escaped and cut here.

mod closed;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Level,
    escape::{self, clean_value, peer, sentence},
};
use crate::{
    diagnostic::{Diagnostic, Place, Report, Severity},
    event::{Event, Finished, JobRef, Judged},
    outcome::{HostState, Notice, Reason, Sample, Samples, Verdict, seconds},
};
use closed::Closed;

/// The record of an event, with the time of now; `None` where an event is no record.
pub fn record(event: &Event) -> Option<Value> {
    record_at(event, Timestamp::now())
}

/// The same as a line of the log.
pub fn line(event: &Event) -> Option<String> {
    if let Event::Notice { job, run_id, notice } = event
        && let Some(closed) = Closed::of(Timestamp::now(), level(event)?, job, run_id, notice)
    {
        return serde_json::to_string(&closed).ok().map(escape::safe);
    }
    record(event).map(|record| escape::json_line(&record))
}

/// The record of an event at a time.
pub fn record_at(event: &Event, time: Timestamp) -> Option<Value> {
    let level = level(event)?;
    let start = |name| Record::new(time, level, name);
    let record = match event {
        Event::Started { jobs } => {
            start("started").put("version", env!("CARGO_PKG_VERSION")).put("jobs", jobs.len())
        }
        Event::Stopped => start("stopped"),
        Event::JobReady { job, addresses } => {
            start("job_ready").job(job, None).put("addresses", addresses.as_slice())
        }
        Event::RunFinished(run) => finished(start("run_finished"), run),
        Event::RunSkipped { job, scheduled, cause, count } => start("run_skipped")
            .job(job, Some(&format!("{}@{scheduled}", job.name)))
            .put("scheduled", instant(*scheduled))
            .put("cause", cause.as_str())
            .put("count", *count),
        Event::StateChanged { job, from, to, reason } => start("state_changed")
            .job(job, None)
            .put("from", from.map(Verdict::as_str))
            .put("to", to.as_str())
            .put("reason", reason.map(Reason::as_str)),
        Event::Notice { job, run_id, notice } => return Some(noticed(time, level, job, run_id, notice)),
        Event::LeftOut { name, why } => start("diagnostic")
            .put("job_name", peer(name))
            .put("message", sentence(&format!("left out: {why}"))),
        Event::ConfigReloaded { added, removed, changed, kept } => start("config_reloaded")
            .put("added", names(added))
            .put("removed", names(removed))
            .put("changed", names(changed))
            .put("kept", *kept),
        Event::ConfigRejected { report } => start("config_rejected").put("diagnostics", mistakes(report)),
        Event::ClockStepped { seconds } => start("clock_stepped").put("seconds", rounded(*seconds)),
        Event::Stopping
        | Event::JobAdded { .. }
        | Event::JobRemoved { .. }
        | Event::NextRun { .. }
        | Event::RunStarted { .. } => return None,
    };
    Some(record.done())
}

/// How much an event matters; `None` where it is no record.
pub fn level(event: &Event) -> Option<Level> {
    Some(match event {
        Event::Stopping
        | Event::JobAdded { .. }
        | Event::JobRemoved { .. }
        | Event::NextRun { .. }
        | Event::RunStarted { .. } => return None,
        Event::RunFinished(run) => of_verdict(run.verdict),
        Event::StateChanged { to, .. } => of_verdict(*to),
        Event::ConfigRejected { .. } => Level::Error,
        Event::ClockStepped { .. } | Event::Notice { notice: Notice::Warning { .. }, .. } => Level::Warn,
        _ => Level::Info,
    })
}

fn of_verdict(verdict: Verdict) -> Level {
    match verdict {
        Verdict::Passed | Verdict::Skipped => Level::Info,
        Verdict::Failed => Level::Warn,
        Verdict::Errored => Level::Error,
    }
}

/// Whether an event is a step of a run that goes on: told to who watches one job, never to the log.
pub fn is_step(event: &Event) -> bool {
    matches!(event, Event::Notice { notice: Notice::Answer { .. } | Notice::Progress { .. }, .. })
}

/// A diagnostic of the program itself.
pub fn diagnostic(level: Level, message: &str, time: Timestamp) -> Value {
    Record::new(time, level, "diagnostic").put("message", sentence(message)).done()
}

/// Samples under their names; one object a family where the run looked at both.
pub fn samples(sets: &[Samples]) -> Value {
    let mut all = Map::new();
    for set in sets {
        let values = set.values.iter().map(|(name, sample)| ((*name).to_owned(), value(sample)));
        match set.family {
            Some(family) => {
                all.insert(family.to_owned(), Value::Object(values.collect()));
            }
            None => all.extend(values),
        }
    }
    Value::Object(all)
}

/// A run's record without the common fields, for history.
pub fn run_fields(run: &Finished, with_detail: bool) -> Value {
    let mut fields = Record(Map::new())
        .put("run_id", peer(&run.run_id))
        .put("scheduled", instant(run.scheduled))
        .put("started", instant(run.started))
        .put("duration_seconds", seconds(run.duration))
        .put("start_lag_seconds", seconds(run.start_lag))
        .put("verdict", run.verdict.as_str())
        .put("reason", run.reason.map(Reason::as_str))
        .put("message", run.message.as_deref().map(sentence))
        .put("hint", run.hint.as_deref().map(sentence))
        .put("attempts", run.attempts)
        .put("samples", samples(&run.samples))
        .put("expectations", run.expectations.iter().map(judged).collect::<Value>());
    if with_detail {
        fields = fields.put("detail", clean_value(&run.detail));
    }
    fields.done()
}

/// A time as records have it: RFC 3339, UTC, microseconds.
pub fn instant(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn finished(start: Record, run: &Finished) -> Record {
    let mut record = start.job(&run.job, Some(&run.run_id));
    if let Value::Object(fields) = run_fields(run, true) {
        record.0.extend(fields);
    }
    record
}

fn judged(judged: &Judged) -> Value {
    json!({
        "name": judged.name,
        "family": judged.family,
        "wanted": judged.wanted,
        "measured": judged.measured.as_ref().map(value),
        "held": judged.held,
    })
}

fn value(sample: &Sample) -> Value {
    match sample {
        Sample::Count(count) => json!(count),
        Sample::Number(number) => json!(rounded(*number)),
        Sample::Flag(flag) => json!(flag),
        Sample::Word(word) => json!(word),
    }
}

/// A computed number to nine decimals: the others are the noise of its computation.
fn rounded(number: f64) -> f64 {
    // A larger one has fewer decimals as it is.
    if number.abs() < 1e6 { (number * 1e9).round() / 1e9 } else { number }
}

fn noticed(time: Timestamp, level: Level, job: &JobRef, run_id: &str, notice: &Notice) -> Value {
    let start = |name| Record::new(time, level, name).job(job, Some(run_id));
    let record = match notice {
        Notice::ConnectionClosed { .. } => {
            let closed = Closed::of(time, level, job, run_id, notice);
            return serde_json::to_value(closed).unwrap_or_default();
        }
        Notice::HostChanged { host, from, to, why, rtt } => start("host_changed")
            .put("host", peer(host))
            .put("from", from.map(HostState::as_str))
            .put("to", to.as_str())
            .put("reason", *why)
            .put("rtt_seconds", rtt.map(seconds)),
        Notice::Answer { sequence, from, rtt, reason, note } => start("answer")
            .put("sequence", *sequence)
            .put("from", peer(from))
            .put("rtt_seconds", rtt.map(seconds))
            .put("reason", reason.map(Reason::as_str))
            .put("note", peer(note)),
        Notice::StateChanged { what, from, to, message } => start("state_changed")
            .put("what", peer(what))
            .put("from", (!from.is_empty()).then_some(*from))
            .put("to", *to)
            .put("message", sentence(message)),
        Notice::Progress { done, total, what, alive } => {
            start("progress").put("done", *done).put("total", *total).put("what", *what).put("alive", *alive)
        }
        Notice::Remark { message } | Notice::Warning { message } => {
            start("diagnostic").put("message", sentence(message))
        }
    };
    record.done()
}

fn names(names: &[std::sync::Arc<str>]) -> Value {
    names.iter().map(|name| Value::from(&**name)).collect()
}

fn mistakes(report: &Report) -> Value {
    report.diagnostics.iter().map(mistake).collect()
}

fn mistake(diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    let (line, column) = place.map(Place::line_column).unzip();
    json!({
        "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": place.map(|place| peer(&place.source.name)),
        "line": line,
        "column": column,
        "message": sentence(&diagnostic.message),
        "hint": diagnostic.hint.as_deref().map(sentence),
    })
}

/// A record that is being put together, in the order in which it is read.
struct Record(Map<String, Value>);

impl Record {
    fn new(time: Timestamp, level: Level, event: &'static str) -> Self {
        Self(Map::new()).put("time", instant(time)).put("level", level.as_str()).put("event", event)
    }

    fn job(self, job: &JobRef, run_id: Option<&str>) -> Self {
        let mut record = self.put("job_name", peer(&job.name)).put("kind", job.kind);
        if let Some(run_id) = run_id {
            record = record.put("run_id", peer(run_id));
        }
        let labels = job.labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        record.put("labels", Value::Object(labels.collect()))
    }

    /// Adds a field; `None` becomes null, and so does a number that is none.
    fn put(mut self, key: &'static str, value: impl serde::Serialize) -> Self {
        self.0.insert(key.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests;
