//! The record of a closed connection, written without a detour: a forward may close ten thousand a second, and a record
//! must not cost more than the connection. All other records are put together as values.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Level, instant};
use crate::{
    event::JobRef,
    outcome::{Notice, seconds},
    sink::escape::peer,
};

/// The fields in the order in which they are read.
#[derive(Serialize)]
pub(super) struct Closed<'a> {
    time: String,
    level: &'static str,
    event: &'static str,
    job_name: Cow<'a, str>,
    kind: &'a str,
    run_id: Cow<'a, str>,
    labels: Labels<'a>,
    peer: Cow<'a, str>,
    upstream: Cow<'a, str>,
    reason: &'static str,
    received_bytes: u64,
    sent_bytes: u64,
    duration_seconds: f64,
    engine: &'static str,
}

/// A job's labels as an object.
struct Labels<'a>(&'a JobRef);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.labels.iter())
    }
}

impl<'a> Closed<'a> {
    /// The record of a notice, if it tells of a close.
    pub(super) fn of(
        time: Timestamp,
        level: Level,
        job: &'a JobRef,
        run_id: &'a str,
        notice: &'a Notice,
    ) -> Option<Self> {
        let Notice::ConnectionClosed {
            peer: client,
            upstream,
            close,
            received_bytes,
            sent_bytes,
            duration,
            engine,
        } = notice
        else {
            return None;
        };
        Some(Self {
            time: instant(time),
            level: level.as_str(),
            event: "connection_closed",
            job_name: peer(&job.name),
            kind: job.kind,
            run_id: peer(run_id),
            labels: Labels(job),
            peer: peer(client),
            upstream: peer(upstream),
            reason: close.as_str(),
            received_bytes: *received_bytes,
            sent_bytes: *sent_bytes,
            duration_seconds: seconds(*duration),
            engine,
        })
    }
}
