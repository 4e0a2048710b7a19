//! The `echo` kind: sends back what it gets, over TCP, UDP, Unix stream and datagram, until it is told to stop.

mod datagram;
mod metrics;
mod serve;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind, service};
use crate::{
    context::Context,
    diagnostic::Report,
    net::listen::Listen,
    outcome::{Measure, Metric, Outcome, Reason},
    value::{AtLeastOne, Bind, EventRate, Many, Timespan},
};

/// Sends back what it gets, over TCP, UDP, Unix stream and datagram.
///
/// A stream that its client has finished is echoed to its end and then finished too. A datagram is answered with one of the
/// same size, never more. Two echoes that are made to talk to each other by a forged datagram would never stop; so datagrams
/// from ports below 1024, from the ports on which this echo itself listens, and from any other UDP listener of this runner
/// are not answered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Where to listen: a port on 127.0.0.1, `host:port`, `udp://host:port`, `unix:///path`, `unixgram:///path`, or a list of
    /// them. `[::]` listens on IPv4 too.
    pub listen: Many<Bind>,
    /// The most connections at a time; more wait to be accepted. Default 1024.
    #[serde(default = "defaults::max_connections")]
    pub max_connections: AtLeastOne,
    /// A connection on which no byte passed for so long is ended. Default `5m`.
    #[serde(default = "defaults::idle_timeout")]
    pub idle_timeout: Timespan,
    /// A message that ends the service, such as `DONE`: it is answered, then the service ends and has passed. A datagram is
    /// a message; in a stream it is a line, or what has come since the last line end when the stream pauses. Default: none.
    #[serde(default)]
    pub stop_on: Option<String>,
    /// The most datagrams a second that one source address is answered, such as `100/s`; more are dropped. Default: no limit.
    #[serde(default)]
    pub rate: Option<EventRate>,
}

mod defaults {
    use super::{AtLeastOne, Timespan};

    pub(super) fn max_connections() -> AtLeastOne {
        AtLeastOne(1024)
    }
    pub(super) fn idle_timeout() -> Timespan {
        Timespan::secs(300)
    }
}

impl Kind for Echo {
    const SERVICE: bool = true;
    const MAIN: &'static str = "listen";
    const MEASURES: &'static [Measure] = service::MEASURES;
    const METRICS: &'static [&'static Metric] = &[&metrics::CONNECTIONS, &metrics::ACTIVE, &metrics::CLOSES];
    const USUAL: &'static [Reason] = &[Reason::AddressInUse, Reason::Permission];

    fn check(&self, report: &mut Report) {
        if self.idle_timeout.is_zero() {
            report.error("idle_timeout", "`idle_timeout` is zero", Some("write a time such as `5m`"));
        }
        if self.stop_on.as_ref().is_some_and(|word| word.is_empty() || word.contains(['\r', '\n'])) {
            report.error(
                "stop_on",
                "`stop_on` is one line and not empty",
                Some("write a word such as `DONE`"),
            );
        }
        let takes_udp = self.listen.iter().any(|bind| bind.0.scheme() == "udp");
        if self.rate.is_some() && !takes_udp {
            report.error(
                "rate",
                "`rate` is for UDP, and `listen` has none",
                Some("leave it out, or listen on `udp://`"),
            );
        }
    }

    fn listens(&self) -> Vec<Listen> {
        Listen::all("listen", &self.listen)
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        serve::run(self, cx).await
    }
}
