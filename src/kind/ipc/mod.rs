//! The `ipc` kind: exchanges messages with a child process. The child is this program started again, which gets its
//! end of the channel as standard input: never a fork of a process that has threads.
//!
//! However a run ends, its child has ended and was waited for; the private folder of a Unix socket is gone.

mod channel;
mod child;
mod folder;
mod parent;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

pub use child::child;

use super::{Error, Kind};
use crate::{
    context::Context,
    diagnostic::Report,
    outcome::{Measure, Metric, NETWORK_SECONDS, Outcome, Reason, Unit},
    value::{AtLeastOne, Size},
};

/// Exchanges messages with a child process over a socketpair or a Unix socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipc {
    /// What the messages go over: `socketpair`, `unix_stream` or `unix_datagram`. Default `socketpair`.
    #[serde(default)]
    pub via: Via,
    /// How many messages are sent, each answered before the next; at most 1000000. Default 10.
    #[serde(default = "messages")]
    pub messages: AtLeastOne,
    /// The length of a message, `1B` to `16MiB`; a datagram that the system does not take is a failure with the reason
    /// `too_big`. Default `64B`.
    #[serde(default = "size")]
    pub size: Size,
}

/// What the messages of an `ipc` go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A pair of connected stream sockets without an address.
    #[default]
    Socketpair,
    /// A Unix stream socket in a private folder, to which the child connects.
    UnixStream,
    /// Unix datagram sockets in a private folder.
    UnixDatagram,
}

/// What is started as the child.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// Before the child's own arguments.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This program, also where its file was replaced meanwhile; its hidden command is `ipc-child`.
    pub fn own() -> Self {
        Self { path: "/proc/self/exe".into(), arguments: vec![CHILD.into()] }
    }
}

/// The hidden command that makes this program the child; `child` takes what follows it.
pub const CHILD: &str = "ipc-child";

fn messages() -> AtLeastOne {
    AtLeastOne(10)
}

fn size() -> Size {
    Size(64)
}

const fn seconds(name: &'static str, help: &'static str) -> Measure {
    Measure { name, unit: Unit::Seconds, own: None, help }
}

const fn count(name: &'static str, help: &'static str) -> Measure {
    Measure { name, unit: Unit::Count, own: None, help }
}

impl Kind for Ipc {
    const MAIN: &'static str = "via";
    const MEASURES: &'static [Measure] = &[
        count("messages", "Messages that were answered as wanted."),
        seconds("rtt_min", "The shortest round trip."),
        seconds("rtt_avg", "The mean of the round trips."),
        seconds("rtt_max", "The longest round trip."),
        seconds("rtt_stddev", "The spread of the round trips."),
        seconds("rtt_p50", "The median of the round trips."),
        seconds("rtt_p95", "95 of 100 round trips were at most this."),
        seconds("rtt_p99", "99 of 100 round trips were at most this."),
        count("child_exit", "The child's exit status; 128 and the signal's number where one ended it."),
    ];
    const METRICS: &'static [&'static Metric] = &[&RTT];
    const USUAL: &'static [Reason] = &[Reason::Timeout, Reason::Closed];

    fn check(&self, report: &mut Report) {
        if !(1..=LARGEST).contains(&self.size.0) {
            let message = format!("a message of {} is not from 1B to 16MiB", self.size);
            report.error("size", message, Some("write a size such as `64B`"));
        }
        if self.messages.0 > MOST {
            let message = format!("{} messages are more than {MOST}", self.messages.0);
            report.error("messages", message, Some("write a smaller number"));
        }
    }

    fn longest(&self) -> Option<Duration> {
        let each = Duration::from_millis(1) + Duration::from_nanos(20 * self.size.0);
        Some(2 * PATIENCE + each * self.messages.0)
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        self.run_with(cx, &Program::own()).await
    }
}

impl Ipc {
    /// A run with another program for a child.
    #[doc(hidden)]
    pub async fn run_with(&self, cx: &Context, program: &Program) -> Result<Outcome, Error> {
        parent::run(self, cx, program).await
    }
}

/// How long a child may take for an answer, to come and to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest message, in bytes.
const LARGEST: u64 = 16 << 20;
/// The most messages of a run.
const MOST: u32 = 1_000_000;

const RTT: Metric = Metric::histogram(
    "netjobs_ipc_rtt_seconds",
    &[],
    NETWORK_SECONDS,
    "From sending a message to having the child's whole answer.",
);

#[cfg(test)]
mod tests;
