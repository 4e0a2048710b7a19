//! The `exchange` kind: sends bytes and checks the answer, over TCP, UDP, Unix stream and datagram; the echo client.

mod answer;
mod line;
mod talk;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    diagnostic::Report,
    outcome::{Measure, Metric, NETWORK_SECONDS, Outcome, Reason, Unit},
    value::{AtLeastOne, Endpoint, Family, Host, JobName, Payload, Timespan, Want},
};

/// Sends bytes and checks the answer.
///
/// All messages of a run go over one connection, one after the other. It passes when every answer is as wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Whom to ask: `host:port`, `udp://host:port`, `unix:///path`, `unixgram:///path` or `job:NAME`.
    pub to: Endpoint,
    /// What to send: a text; `hex: 00ff` for bytes; `random: 64KiB` for random bytes, new for each run; `text:` before a
    /// text sends it as it stands. Nothing is appended.
    pub send: Payload,
    /// What the answer should be: `same` as sent, a text or `hex:` bytes (the whole answer), or `/pattern/` (found in the
    /// answer); `text:` before a text wants it as it stands. Default `same`.
    #[serde(default)]
    pub want: Want,
    /// How many times to send. Default 1.
    #[serde(default = "defaults::count")]
    pub count: AtLeastOne,
    /// The pause between an answer and the next sending. Default `0s`.
    #[serde(default)]
    pub interval: Timespan,
    /// How long to wait for each answer, and for the connection before it. An answer is read until it is as wanted, the
    /// peer ends, or 1 MiB has come. Default `2s`.
    #[serde(default = "defaults::timeout")]
    pub timeout: Timespan,
    /// The address family: `any`, `4`, `6`, or `both` one after the other. Default `any`.
    #[serde(default)]
    pub family: Family,
}

/// The longest answer that is read.
pub const LONGEST_ANSWER: u64 = 1 << 20;

/// The largest UDP payload.
const LARGEST_DATAGRAM: u64 = 65_507;

static RTT_SECONDS: Metric = Metric::histogram(
    "netjobs_exchange_rtt_seconds",
    &[],
    NETWORK_SECONDS,
    "Time from sending to an answer as wanted.",
);

const fn measure(name: &'static str, unit: Unit, help: &'static str) -> Measure {
    Measure { name, unit, own: None, help }
}

mod defaults {
    use super::{AtLeastOne, Timespan};

    pub(super) fn count() -> AtLeastOne {
        AtLeastOne(1)
    }
    pub(super) fn timeout() -> Timespan {
        Timespan::secs(2)
    }
}

impl Kind for Exchange {
    const MAIN: &'static str = "to";
    const MEASURES: &'static [Measure] = &[
        measure("sent_bytes", Unit::Bytes, "Bytes that were sent."),
        measure("received_bytes", Unit::Bytes, "Bytes of the answers."),
        measure("connect_time", Unit::Seconds, "Time to connect, the name's look-up included; streams only."),
        measure("rtt_min", Unit::Seconds, "The shortest time from sending to an answer as wanted."),
        measure("rtt_avg", Unit::Seconds, "The mean of these times."),
        measure("rtt_max", Unit::Seconds, "The longest."),
        measure("rtt_stddev", Unit::Seconds, "Their standard deviation."),
        measure("rtt_p50", Unit::Seconds, "Their median."),
        measure("rtt_p95", Unit::Seconds, "95 of 100 are at most this."),
        measure("rtt_p99", Unit::Seconds, "99 of 100 are at most this."),
    ];
    const METRICS: &'static [&'static Metric] = &[&RTT_SECONDS];
    const USUAL: &'static [Reason] = &[Reason::Timeout, Reason::Refused, Reason::Mismatch];

    fn check(&self, report: &mut Report) {
        self.check_target(report);
        if self.timeout.is_zero() {
            report.error("timeout", "`timeout` is zero", Some("write a time such as `2s`"));
        }
        if matches!(self.want, Want::Same) && self.send.size() > LONGEST_ANSWER {
            report.error(
                "send",
                "an answer is read up to 1MiB, and this is more",
                Some("send at most 1MiB, or say in `want` how the answer begins"),
            );
        } else if matches!(self.to, Endpoint::Udp(..)) && self.send.size() > LARGEST_DATAGRAM {
            report.error(
                "send",
                format!("a UDP datagram has at most {LARGEST_DATAGRAM} bytes"),
                Some("send less"),
            );
        }
        if matches!(self.want, Want::Same) && self.send.size() == 0 && !self.to.is_datagram() {
            report.error(
                "send",
                "there is nothing to send and nothing to wait for",
                Some("write a text, or what to wait for in `want`"),
            );
        }
    }

    fn refers(&self) -> Vec<(String, &JobName)> {
        self.to.job().map(|job| ("to".to_owned(), job)).into_iter().collect()
    }

    fn longest(&self) -> Option<Duration> {
        let answers = self.timeout.saturating_mul(self.count.0);
        let pauses = self.interval.saturating_mul(self.count.0 - 1);
        let rounds = u32::try_from(self.family.passes().len()).unwrap_or(2);
        Some((self.timeout.saturating_add(answers).saturating_add(pauses)).saturating_mul(rounds))
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        talk::run(self, cx).await
    }
}

impl Exchange {
    fn check_target(&self, report: &mut Report) {
        match &self.to {
            Endpoint::Icmp(_) | Endpoint::Http { .. } => {
                let message = format!("`exchange` does not speak `{}`", self.to.scheme());
                report.error(
                    "to",
                    message,
                    Some("write `host:port`, `udp://`, `unix:`, `unixgram:` or `job:NAME`"),
                );
            }
            Endpoint::Tcp(host, ports) | Endpoint::Udp(host, ports) => {
                if ports.count() > 1 {
                    report.error("to", "`exchange` asks one port", Some("write one job for each port"));
                }
                if let Host::Ip(ip) = host
                    && self.family.passes().iter().any(|family| !family.admits(*ip))
                {
                    let is = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                    report.error("family", format!("`{ip}` is an {is} address"), Some("leave `family` out"));
                }
            }
            Endpoint::Unix(_) | Endpoint::Unixgram(_) if self.family != Family::Any => {
                report.error("family", "a Unix socket has no address family", Some("leave it out"));
            }
            _ => {}
        }
    }
}
