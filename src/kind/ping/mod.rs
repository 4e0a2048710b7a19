//! The `ping` kind: ICMP echoes to one host, with loss, round trips and reasons. Not a sweep: one host, many probes.
//!
//! sent = received + lost, always: a probe is lost when its own timeout has passed, and by nothing else.

mod run;
mod tally;

use std::{net::IpAddr, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Error, Kind,
    forecast::{Forecast, Surroundings},
};
use crate::{
    context::Context,
    diagnostic::Report,
    outcome::{Measure, Metric, NETWORK_SECONDS, Outcome, Reason, Unit},
    value::{AtLeastOne, Family, Flag, Host, Number, Timespan},
};

/// Sends ICMP echoes to a host and measures what comes back.
///
/// With the right `CAP_NET_RAW`, or without any where `net.ipv4.ping_group_range` allows it. The record says for each
/// family, as `rtt_source`, where round trips were measured: `kernel`, `user` (outside of it) or `mixed`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// The host: a name or an address, such as `10.0.2.2`, `db.example.com` or `fe80::1%eth0`.
    pub host: Host,
    /// How many echoes to send. Default 4.
    #[serde(default = "default_count")]
    pub count: AtLeastOne,
    /// The time from one echo to the next. Default `1s`.
    #[serde(default = "default_interval")]
    pub interval: Timespan,
    /// How long to wait for each answer. Default `2s`.
    #[serde(default = "default_timeout")]
    pub timeout: Timespan,
    /// Bytes of payload, from 16 to 65507. Default 56.
    #[serde(default = "default_size")]
    pub size: Number<u16>,
    /// How many hops the packet may take, from 1 to 255. Default: the system's, mostly 64.
    pub ttl: Option<Number<u8>>,
    /// Whether routers must not split the packet; one that is too big then fails with `too_big`. Default `false`.
    #[serde(default)]
    pub df: Flag,
    /// The byte of the IP header that holds the traffic class, such as `184` for expedited forwarding. Default 0.
    #[serde(default)]
    pub tos: Number<u8>,
    /// Where to send from: an address of this machine or an interface, such as `10.0.2.15` or `eth0`.
    pub source: Option<Host>,
    /// The address family where the host has several: `any`, `4`, `6` or `both`. Default `any`.
    #[serde(default)]
    pub family: Family,
}

impl Kind for Ping {
    const MAIN: &'static str = "host";
    const MEASURES: &'static [Measure] = MEASURES;
    const METRICS: &'static [&'static Metric] = &[&SENT, &RECEIVED, &LOST, &DUPLICATE, &LATE, &RTT];
    const USUAL: &'static [Reason] = &[Reason::Timeout, Reason::HostUnreachable, Reason::Dns];

    fn check(&self, report: &mut Report) {
        if !(SMALLEST..=LARGEST).contains(&self.size.0) {
            let hint = "write a number of bytes from 16 to 65507; the default is 56";
            report.error("size", format!("a payload of {} bytes cannot be sent", self.size.0), Some(hint));
        }
        if self.ttl.is_some_and(|ttl| ttl.0 == 0) {
            report.error("ttl", "a packet with a TTL of 0 goes nowhere", Some("write 1 to 255"));
        }
        if self.timeout.is_zero() {
            report.error("timeout", "no answer comes within no time", Some("write such as `2s`"));
        }
        if let Some(what) = self.host.is_nobody() {
            let message = format!("`{}` is {what}, and no host that could answer", self.host);
            report.error("host", message, Some("write one host's address or name"));
        }
        self.check_families(report);
    }

    fn needs_icmp(&self) -> bool {
        true
    }

    fn longest(&self) -> Option<Duration> {
        let passes = u32::try_from(self.family.passes().len()).unwrap_or(1);
        // What this machine lost is sent again when its timeout has passed, and waits for as long once more.
        let last = self.timeout.saturating_mul(1 + u32::from(RESENDS));
        Some(self.interval.saturating_mul(self.count.0).saturating_add(last).saturating_mul(passes))
    }

    fn longer(&self) -> Duration {
        // Without an interval it is the machine that takes its time.
        let passes = u32::try_from(self.family.passes().len()).unwrap_or(1);
        SLOWEST.saturating_sub(self.interval.0).saturating_mul(self.count.0).saturating_mul(passes)
    }

    fn forecast(&self, _: &Surroundings) -> Result<Option<Forecast>, Error> {
        let families = self.family.passes().len();
        let rest = self.interval.0.max(FASTEST).saturating_mul(self.count.0.saturating_sub(1));
        let (ipv4, ipv6, names) = match &self.host {
            Host::Ip(IpAddr::V4(_)) => (1, 0, 0),
            Host::Ip(IpAddr::V6(_)) | Host::Scoped(..) => (0, 1, 0),
            Host::Name(_) => (0, 0, 1),
        };
        Ok(Some(Forecast {
            ipv4,
            ipv6,
            names,
            packets: u128::from(self.count.0) * families as u128,
            shortest: rest.saturating_mul(u32::try_from(families).unwrap_or(1)),
            longest: self.longest().unwrap_or(Duration::MAX).saturating_add(self.longer()),
            method: "icmp".into(),
            ..Forecast::default()
        }))
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        run::run(self, cx).await
    }
}

impl Ping {
    /// Addresses of which one cannot be reached from the other, or not in the family that is asked for.
    fn check_families(&self, report: &mut Report) {
        let source = self.source.as_ref().and_then(Host::address);
        if let (Some(source), Some(host)) = (source, self.host.address())
            && source.is_ipv4() != host.is_ipv4()
        {
            report.error("source", "`source` and `host` are of different address families", None);
        }
        for (address, key, hint) in [
            (self.host.address(), "host", "leave `family` out, or write a name that has such addresses"),
            (source, "source", "leave `family` out, or write an interface such as `eth0`"),
        ] {
            let lacking = |address: &IpAddr| self.family == Family::Both || !self.family.admits(*address);
            if let Some(address) = address.filter(lacking) {
                let lacks = if address.is_ipv4() { "IPv6" } else { "IPv4" };
                let message = format!("`{key}` is no {lacks} address, and this `family` asks for one");
                report.error("family", message, Some(hint));
            }
        }
    }
}

fn default_count() -> AtLeastOne {
    AtLeastOne(4)
}

fn default_interval() -> Timespan {
    Timespan::secs(1)
}

fn default_timeout() -> Timespan {
    Timespan::secs(2)
}

fn default_size() -> Number<u16> {
    Number(56)
}

/// How often an echo is sent again whose answer this machine itself may have lost; then it ends with `local_loss`.
const RESENDS: u8 = 2;
/// From one echo to the next without an interval, on a fast machine.
const FASTEST: Duration = Duration::from_micros(10);
/// The same on a slow one.
const SLOWEST: Duration = Duration::from_micros(200);
/// The smallest payload: the mark that tells our packets from others.
const SMALLEST: u16 = 16;
/// The largest payload of one IPv4 packet.
const LARGEST: u16 = 65_507;

const fn measure(name: &'static str, unit: Unit, help: &'static str) -> Measure {
    Measure { name, unit, own: None, help }
}

const MEASURES: &[Measure] = &[
    measure("sent", Unit::Count, "Echoes that were sent."),
    Measure { own: Some("> 0"), ..measure("received", Unit::Count, "Echoes that were answered in time.") },
    measure("lost", Unit::Count, "Echoes that were not answered in time."),
    measure(
        "unsent",
        Unit::Count,
        "Echoes that this machine did not send, such as over a link that is down.",
    ),
    measure("duplicates", Unit::Count, "Answers that came more than once."),
    measure("late", Unit::Count, "Answers that came after their timeout."),
    measure("reordered", Unit::Count, "Answers that came after that of a later echo."),
    measure("loss", Unit::Ratio, "The part that was lost, 0 to 1."),
    measure("rtt_min", Unit::Seconds, "The shortest round trip."),
    measure("rtt_avg", Unit::Seconds, "The mean round trip."),
    measure("rtt_max", Unit::Seconds, "The longest round trip."),
    measure("rtt_stddev", Unit::Seconds, "The standard deviation of round trips."),
    measure("rtt_p50", Unit::Seconds, "The median round trip."),
    measure("rtt_p95", Unit::Seconds, "The round trip that 95 of 100 do not exceed."),
    measure("rtt_p99", Unit::Seconds, "The round trip that 99 of 100 do not exceed."),
    measure("jitter", Unit::Seconds, "The mean difference between round trips that follow each other."),
    measure("ttl", Unit::Count, "The TTL or hop limit of the last answer."),
];

const TARGET: &[&str] = &["target", "family"];

const SENT: Metric = Metric::counter("netjobs_ping_sent_packets_total", TARGET, "Echoes that were sent.");
const RECEIVED: Metric =
    Metric::counter("netjobs_ping_received_packets_total", TARGET, "Echoes that were answered in time.");
const LOST: Metric =
    Metric::counter("netjobs_ping_lost_packets_total", TARGET, "Echoes that were not answered in time.");
const DUPLICATE: Metric =
    Metric::counter("netjobs_ping_duplicate_packets_total", TARGET, "Answers that came more than once.");
const LATE: Metric =
    Metric::counter("netjobs_ping_late_packets_total", TARGET, "Answers that came after their timeout.");
const RTT: Metric = Metric::histogram("netjobs_ping_rtt_seconds", TARGET, NETWORK_SECONDS, "Round trips.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_interval_a_run_has_the_time_that_its_echoes_take() {
        let ping: Ping = serde_yaml::from_str("{ host: 10.0.0.1, count: 1000000, interval: 0s }").unwrap();
        assert_eq!(ping.longer(), Duration::from_secs(200));
        let slow: Ping = serde_yaml::from_str("{ host: 10.0.0.1, count: 4294967295 }").unwrap();
        assert_eq!(slow.longer(), Duration::ZERO);
    }

    #[test]
    fn an_address_that_no_single_host_has_is_refused() {
        let wrong = |host: &str| {
            let ping: Ping = serde_yaml::from_str(&format!("{{ host: '{host}' }}")).unwrap();
            let mut report = Report::default();
            ping.check(&mut report);
            report.diagnostics.first().map(|found| found.path.clone())
        };
        for host in ["224.0.0.1", "ff02::1%lo", "255.255.255.255", "0.0.0.0", "::"] {
            assert_eq!(wrong(host).as_deref(), Some("host"), "{host}");
        }
        for host in ["10.0.0.1", "fe80::1%lo", "::1", "db"] {
            assert_eq!(wrong(host), None, "{host}");
        }
    }
}
