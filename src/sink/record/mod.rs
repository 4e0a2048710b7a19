//! Events as records: the objects of the log, of `--json` and of `once --json FILE`. `schema/events.schema.json` says
//! the same to programs. What a peer may have made is escaped and cut here.
//!
//! A record is written as text without a detour: ten thousand runs or connections may end in a second, and what is said
//! of one must not cost more than itself.

mod parts;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Level,
    escape::{self, peer, sentence},
};
use crate::{
    event::{Event, Finished, JobRef},
    outcome::{HostState, Notice, Reason, Verdict, seconds},
};
use parts::{Expectations, Labels, Mistakes, Names, Recorded, Sets, rounded};

/// The record of an event as one line, with the time of now; `None` where an event is no record.
pub fn line(event: &Event) -> Option<String> {
    line_at(event, Timestamp::now())
}

/// The record of an event at a time.
pub fn line_at(event: &Event, time: Timestamp) -> Option<String> {
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
        Event::RunFinished(run) => start("run_finished")
            .job(&run.job, Some(&run.run_id))
            .run(run)
            .put("detail", Recorded(&run.detail)),
        Event::RunStuck { job, run_id } => start("run_stuck").job(job, Some(run_id)),
        Event::RunReturned { job, run_id } => start("run_returned").job(job, Some(run_id)),
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
        Event::Notice { job, run_id, notice } => noticed(|name| start(name).job(job, Some(run_id)), notice),
        Event::LeftOut { name, why } => start("diagnostic")
            .put("job_name", peer(name))
            .put("message", sentence(&format!("left out: {why}"))),
        Event::ConfigReloaded { added, removed, changed, kept } => start("config_reloaded")
            .put("added", Names(added))
            .put("removed", Names(removed))
            .put("changed", Names(changed))
            .put("kept", *kept),
        Event::ConfigRejected { report } => start("config_rejected").put("diagnostics", Mistakes(report)),
        Event::ClockStepped { seconds } => start("clock_stepped").put("seconds", rounded(*seconds)),
        Event::ConfigReading
        | Event::Stopping
        | Event::JobClosing { .. }
        | Event::JobAdded { .. }
        | Event::JobRemoved { .. }
        | Event::NextRun { .. }
        | Event::RunStarted { .. } => return None,
    };
    Some(escape::safe(record.done()))
}

/// How much an event matters; `None` where it is no record.
pub fn level(event: &Event) -> Option<Level> {
    Some(match event {
        Event::ConfigReading
        | Event::Stopping
        | Event::JobClosing { .. }
        | Event::JobAdded { .. }
        | Event::JobRemoved { .. }
        | Event::NextRun { .. }
        | Event::RunStarted { .. } => return None,
        Event::RunFinished(run) => of_verdict(run.verdict),
        Event::StateChanged { to, .. } => of_verdict(*to),
        Event::ConfigRejected { .. } => Level::Error,
        Event::ClockStepped { .. }
        | Event::RunStuck { .. }
        | Event::Notice { notice: Notice::Warning { .. }, .. } => Level::Warn,
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

/// A diagnostic of the program itself, as one line.
pub fn diagnostic(level: Level, message: &str, time: Timestamp) -> String {
    escape::safe(Record::new(time, level, "diagnostic").put("message", sentence(message)).done())
}

/// A run's record without the common fields and the kind's own record, for history.
pub fn run_fields(run: &Finished) -> String {
    Record::default().put("run_id", peer(&run.run_id)).run(run).done()
}

/// A time as records have it: RFC 3339, UTC, microseconds.
pub fn instant(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn noticed(start: impl Fn(&'static str) -> Record, notice: &Notice) -> Record {
    match notice {
        Notice::ConnectionClosed {
            peer: client,
            upstream,
            close,
            received_bytes,
            sent_bytes,
            duration,
            engine,
        } => start("connection_closed")
            .put("peer", peer(client))
            .put("upstream", peer(upstream))
            .put("reason", close.as_str())
            .put("received_bytes", *received_bytes)
            .put("sent_bytes", *sent_bytes)
            .put("duration_seconds", seconds(*duration))
            .put("engine", *engine),
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
    }
}

/// A record that is being written, in the order in which it is read.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn new(time: Timestamp, level: Level, event: &'static str) -> Self {
        // Room for most, so that it need not move while it grows.
        let record = Self(Vec::with_capacity(1024));
        record.put("time", instant(time)).put("level", level.as_str()).put("event", event)
    }

    fn job(self, job: &JobRef, run_id: Option<&str>) -> Self {
        let mut record = self.put("job_name", peer(&job.name)).put("kind", job.kind);
        if let Some(run_id) = run_id {
            record = record.put("run_id", peer(run_id));
        }
        record.put("labels", Labels(job))
    }

    fn run(self, run: &Finished) -> Self {
        self.put("scheduled", instant(run.scheduled))
            .put("started", instant(run.started))
            .put("duration_seconds", seconds(run.duration))
            .put("start_lag_seconds", seconds(run.start_lag))
            .put("verdict", run.verdict.as_str())
            .put("reason", run.reason.map(Reason::as_str))
            .put("message", run.message.as_deref().map(sentence))
            .put("hint", run.hint.as_deref().map(sentence))
            .put("attempts", run.attempts)
            .put("samples", Sets(&run.samples))
            .put("expectations", Expectations(&run.expectations))
    }

    /// Adds a field, each once; `None` becomes null, and so does a number that is none.
    fn put(mut self, key: &'static str, value: impl Serialize) -> Self {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
        let start = self.0.len();
        if serde_json::to_writer(&mut self.0, &value).is_err() {
            self.0.truncate(start);
            self.0.extend_from_slice(b"null");
        }
        self
    }

    fn done(mut self) -> String {
        self.0.push(b'}');
        String::from_utf8(self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
