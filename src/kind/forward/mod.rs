//! The `forward` kind: takes connections and datagrams and passes them to an upstream, both ways, until it is told to stop.
//!
//! Not a proxy of any protocol: bytes pass as they are. FIN passes as FIN and RST as RST; every close has a reason.

mod carry;
mod check;
mod connect;
mod datagram;
mod gate;
mod greet;
mod health;
mod inject;
mod link;
mod loss;
mod metrics;
mod own;
mod proxy;
mod serve;
mod session;
mod table;
mod upstream;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind, service};
use crate::{
    context::Context,
    diagnostic::Report,
    net::listen::Listen,
    outcome::{Measure, Metric, Outcome, Reason},
    value::{AtLeastOne, Bind, ByteRate, EventRate, Host, JobName, Many, Network, Timespan, many::path},
};

pub use inject::Inject;
pub use proxy::{ProxyProtocol, ProxyVersion};
pub use upstream::Upstream;

/// Forwards TCP, UDP and Unix sockets to an upstream.
///
/// Streams go to streams (TCP or Unix), datagrams to datagrams (UDP or Unix). An end of file is passed on as such and the
/// other direction goes on; a broken connection is passed on as broken. Descriptors sent over a Unix socket and the urgent
/// byte of TCP are left out; the bytes around them pass.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Where to listen: a port on 127.0.0.1, `host:port`, `udp://host:port`, `unix:///path`, `unixgram:///path`, or a list of
    /// them. A range of ports, `127.0.0.1:8000-8010`, goes port by port to a range of the same length in `to`. A client that
    /// is connected to a `unixgram` socket and does not read its answers can keep those of the others waiting: the system
    /// does not limit it.
    pub listen: Many<Bind>,
    /// Where to forward to: `host:port`, `udp://host:port`, `unix:///path`, `unixgram:///path`, `job:NAME`, or a list of them,
    /// among which `balance` chooses. Names are resolved for each connection; an answer holds for 5 seconds.
    pub to: Many<Upstream>,
    /// How one of several upstreams is chosen. Default `round_robin`. An upstream that could not be reached is tried
    /// last for the next 10 seconds.
    #[serde(default)]
    pub balance: Balance,
    /// Checks that say whether an upstream is in: an entry of `to` as it stands there and the name of a check of these
    /// files, such as `{ "10.0.0.1:80": web-check }`. The upstream is in until its check has failed, and in again at the
    /// check's next pass; a run that was skipped, or `errored` and so could not look, changes nothing. While all are out
    /// clients are broken off with `no_upstream`. Connections that are open go on.
    #[serde(default)]
    pub health: Option<BTreeMap<String, JobName>>,
    /// Networks whose clients are served; all others are broken off. Default: everybody. Clients of Unix sockets are not
    /// judged: the socket's file is for its owner alone.
    #[serde(default)]
    pub allow: Option<Many<Network>>,
    /// Networks whose clients are broken off, also where `allow` names them. Default: none.
    #[serde(default)]
    pub deny: Option<Many<Network>>,
    /// The most connections at a time; datagrams have `sessions`. Default: what the limit of open files allows.
    #[serde(default)]
    pub max_connections: Option<AtLeastOne>,
    /// The most connections, and senders of datagrams, at a time from one address; more are broken off. Default: no limit.
    #[serde(default)]
    pub max_per_source: Option<AtLeastOne>,
    /// How long one upstream may take to be reached, its name's look-up and a wait for a free descriptor included; then the next one is tried. Default `5s`.
    #[serde(default = "defaults::connect_timeout")]
    pub connect_timeout: Timespan,
    /// A connection on which no byte passed in either direction for so long is ended. Default `1h`, and `60s` for datagrams.
    #[serde(default)]
    pub idle_timeout: Option<Timespan>,
    /// Once one side has finished, how long the other may be silent. Default `5m`.
    #[serde(default = "defaults::half_closed_timeout")]
    pub half_closed_timeout: Timespan,
    /// What the one side sees when the other breaks off: `reset` (the same) or `fin` (a clean end). Default `reset`.
    #[serde(default)]
    pub on_abort: OnAbort,
    /// What becomes of connections beyond `max_connections` and `rate`: they `wait` to be accepted, or are `reset`. Default `wait`.
    #[serde(default)]
    pub on_full: OnFull,
    /// The PROXY protocol: the client's address from a proxy in front, and to the upstream behind. For streams.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The most bytes and new connections a second, over all connections of the job; datagrams are not held back.
    /// Default: no limit.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Where connections to the upstream start: an address of this machine, or the name of an interface. While the machine
    /// has neither at its start, the forward is `errored`.
    #[serde(default)]
    pub source: Option<Host>,
    /// The most senders of datagrams at a time; beyond it the one that was silent longest is forgotten. Default 4096, or
    /// what the limit of open files allows. A burst waits in the buffer of the listener's socket, for which 4 MiB are asked
    /// and up to the sysctl `net.core.rmem_max` given; 1 MiB are asked for each sender's socket towards the upstream.
    #[serde(default)]
    pub sessions: Option<AtLeastOne>,
    /// Faults made on purpose, for tests: delay, jitter, a slow line, a break. For streams.
    #[serde(default)]
    pub inject: Option<Inject>,
}

/// How one of several upstreams is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest connections.
    LeastConnections,
    /// The same one for the same client address, as long as the list stays as it is.
    SourceHash,
    /// The first that can be reached, in the order of the list.
    First,
}

/// What one side sees when the other breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnAbort {
    /// A broken connection.
    #[default]
    Reset,
    /// A clean end.
    Fin,
}

/// What becomes of connections beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// They wait until another ends.
    #[default]
    Wait,
    /// They are broken off.
    Reset,
}

/// The most a second, over all connections of the job.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Bytes a second in each direction, such as `10MiB/s`.
    #[serde(default)]
    pub bytes: Option<ByteRate>,
    /// New connections a second, such as `100/s`.
    #[serde(default)]
    pub connections: Option<EventRate>,
}

mod defaults {
    use super::Timespan;

    pub(super) fn connect_timeout() -> Timespan {
        Timespan::secs(5)
    }
    pub(super) fn half_closed_timeout() -> Timespan {
        Timespan::secs(300)
    }
}

impl Kind for Forward {
    const SERVICE: bool = true;
    const MAIN: &'static str = "listen";
    const MEASURES: &'static [Measure] = service::MEASURES;
    const METRICS: &'static [&'static Metric] = &[
        &metrics::CONNECTIONS,
        &metrics::ACTIVE,
        &metrics::CLOSES,
        &metrics::RECEIVED_BYTES,
        &metrics::SENT_BYTES,
        &metrics::SPLICED_BYTES,
        &metrics::UPSTREAM_UP,
        &metrics::CONNECT_SECONDS,
        &metrics::DROPPED_DATAGRAMS,
    ];
    const USUAL: &'static [Reason] = &[Reason::AddressInUse, Reason::Permission];

    fn check(&self, report: &mut Report) {
        check::check(self, report);
    }

    fn listens(&self) -> Vec<Listen> {
        Listen::all("listen", &self.listen)
    }

    fn refers(&self) -> Vec<(String, &JobName)> {
        let count = self.to.len();
        (self.to.iter().enumerate())
            .filter_map(|(index, upstream)| Some((path("to", index, count), upstream.endpoint.job()?)))
            .collect()
    }

    fn watches(&self) -> Vec<(String, &JobName)> {
        let checks = self.health.iter().flatten();
        checks.map(|(upstream, check)| (format!("health.{upstream}"), check)).collect()
    }

    fn open_files(&self, allowed: u64) -> Option<Result<u64, Error>> {
        gate::open_files(self, allowed)
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        serve::run(self, cx).await
    }
}
