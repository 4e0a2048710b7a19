//! The key `inject`: faults made on purpose, for tests of what stands on either side of a forward.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    diagnostic::Report,
    net::relay::Faults,
    value::{ByteRate, Size, Timespan},
};

/// Faults made on purpose, in each direction of each connection. A broken connection is passed on at once, whatever waits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inject {
    /// How late each byte is, and the end of the stream, such as `50ms`; a round trip takes twice as long. At most 1 MiB
    /// waits in each direction: with `latency: 100ms` that lets 10 MiB/s pass. Default: not late.
    #[serde(default)]
    pub latency: Option<Timespan>,
    /// The most by which bytes are later still: each chunk by a random part of it. Bytes never overtake others. Default: none.
    #[serde(default)]
    pub jitter: Option<Timespan>,
    /// The most bytes a second in each direction of one connection, such as `64KiB/s`; all connections of the job share
    /// the `rate` beside `inject`. Default: no limit.
    #[serde(default)]
    pub rate: Option<ByteRate>,
    /// Once exactly so many bytes have passed in one direction, both sides see a broken connection (on a Unix socket an end
    /// of file), whatever `on_abort` says; bytes that wait are dropped. `0B`: before the first byte. Default: never.
    #[serde(default)]
    pub reset_after: Option<Size>,
}

impl Inject {
    /// Says what is wrong with it.
    pub(super) fn check(&self, report: &mut Report) {
        for (key, span) in [("inject.latency", self.latency), ("inject.jitter", self.jitter)] {
            if span.is_some_and(|span| span.is_zero()) {
                report.error(
                    key,
                    format!("`{key}` is zero"),
                    Some("write a time such as `50ms`, or leave it out"),
                );
            }
        }
        let is_empty = self.latency.is_none() && self.jitter.is_none() && self.rate.is_none();
        if is_empty && self.reset_after.is_none() {
            let hint = "write `latency`, `jitter`, `rate` or `reset_after` in it";
            report.error("inject", "`inject` injects nothing", Some(hint));
        }
    }

    /// What the relay does.
    pub(super) fn faults(&self) -> Faults {
        Faults {
            latency: self.latency.unwrap_or_default().0,
            jitter: self.jitter.unwrap_or_default().0,
            rate: self.rate.map(|rate| rate.0),
            reset_after: self.reset_after.map(|size| size.0),
        }
    }
}
