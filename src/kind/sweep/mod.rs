//! The `sweep` kind: which hosts of a set are alive, and which changed since the last sweep. Not a port scanner.
//!
//! "Dead" is said only of a host whose probes all had their time; what this machine itself lost is asked again.

mod bounds;
mod checkpoint;
mod drive;
mod forecast;
mod found;
mod hosts;
mod layout;
mod memory;
#[doc(hidden)]
pub mod order;
mod record;
pub mod spec;
mod stations;
mod tell;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    bounds::seconds,
    drive::Drive,
    hosts::Hosts,
    spec::{Edges, Method, Order, Rate, Shard, Telling},
};
use super::{
    Error, Kind,
    forecast::{Forecast, Surroundings},
};
use crate::{
    context::Context,
    diagnostic::Report,
    outcome::{Measure, Metric, Notice, Outcome, Reason, Unit},
    value::{AddressSet, AtLeastOne, EventRate, Many, Number, Targets, Timespan},
};

/// Finds which hosts of a set are alive, and which appeared or vanished since the last sweep.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The hosts: one entry or a list of addresses, ranges, networks, names, `@file` or `iface:NAME`, such as
    /// `[10.0.2.2-4, 10.0.3.0/24]`. What stands in two of them is probed once.
    pub targets: Many<Targets>,
    /// Hosts to leave out, written like `targets`. Default: none.
    pub exclude: Option<Many<Targets>>,
    /// How a host is asked: `icmp`, `tcp/443` (a refusal is life, too; without a connection where this process has
    /// `CAP_NET_RAW`), `arp` (ARP, or neighbour solicitations for IPv6: only hosts on a link of this machine) or `auto`:
    /// ICMP where this process may send it, else `tcp/443`. With `CAP_NET_RAW`, hosts on a link are always asked by `arp`
    /// first, and what does not answer that is asked no more; with `auto` an answer to it is life. Their records have
    /// `mac`, and `duplicates` where other stations claim the address (a duplicate address); one station that answers for
    /// 8 or more is warned of, since a router may do that for hosts that are not there (proxy ARP). Default `auto`.
    #[serde(default)]
    pub method: Method,
    /// Probes a second, such as `50/s`; `max` sends as fast as answers can be taken, without the cap of 200 a second
    /// for each /24 or /64. Default `1000/s`.
    #[serde(default = "default_rate")]
    pub rate: Rate,
    /// How often a host that does not answer is asked before it counts as dead. Default 2.
    #[serde(default = "default_passes")]
    pub passes: AtLeastOne,
    /// How long to wait for each answer. Default `1s`.
    #[serde(default = "default_timeout")]
    pub timeout: Timespan,
    /// The most targets; more are an error. Default 1048576.
    #[serde(default = "default_max_targets")]
    pub max_targets: Number<u32>,
    /// Whether the network and broadcast addresses of IPv4 networks are left out (`skip`) or probed (`include`).
    /// Default `skip`.
    #[serde(default)]
    pub edges: Edges,
    /// How many sweeps in a row must agree before a change is told. Default 1.
    #[serde(default = "default_confirm")]
    pub confirm: AtLeastOne,
    /// In what order hosts are probed: `random`, `plain`, or `auto`: plain up to 256 targets. Default `auto`.
    #[serde(default)]
    pub order: Order,
    /// A part of the targets, such as `1/4`: of four sweeps, `1/4` to `4/4`, each probes other hosts, and together they
    /// probe all, on whatever machines they run. Counts and changes are of the part. Default: all.
    pub shard: Option<Shard>,
    /// Which hosts are told of: `changes` (the first sweep tells all), `all` or `none`. Default `changes`.
    #[serde(default)]
    pub report: Telling,
}

impl Kind for Sweep {
    const MAIN: &'static str = "targets";
    const MEASURES: &'static [Measure] = MEASURES;
    const METRICS: &'static [&'static Metric] = &[&HOSTS, &CHANGES, &PACKETS, &LOCAL_DROPS];
    const USUAL: &'static [Reason] = &[Reason::Expectation];

    fn check(&self, report: &mut Report) {
        self.check_targets(report);
        if self.timeout.is_zero() {
            report.error("timeout", "no answer comes within no time", Some("write such as `1s`"));
        }
        if self.passes.0 > MOST_PASSES {
            let message = format!("{} passes are more than {MOST_PASSES}", self.passes.0);
            report.error("passes", message, Some("2 or 3 are enough on most networks"));
        }
        if self.max_targets.0 == 0 {
            report.error("max_targets", "a sweep of no targets", Some("write 1 or more"));
        }
    }

    fn needs_icmp(&self) -> bool {
        self.method == Method::Icmp
    }

    fn needs_raw(&self) -> bool {
        self.method == Method::Arp
    }

    fn longest(&self) -> Option<Duration> {
        let pass = seconds(self.slowest_pass()).saturating_add(self.timeout.0);
        Some(pass.saturating_mul(self.passes.0).saturating_add(SLACK))
    }

    fn longer(&self) -> Duration {
        // Hosts of links may be asked twice, for their stations and for themselves.
        let pass = seconds(self.slowest_pass() + self.slowest_gate()).saturating_add(self.timeout.0);
        pass.saturating_mul(self.passes.0)
    }

    fn forecast(&self, around: &Surroundings) -> Result<Option<Forecast>, Error> {
        forecast::forecast(self, around).map(Some)
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        let hosts = tokio::select! {
            hosts = Hosts::collect(self, cx) => hosts?,
            () = cx.cancelled() => return Ok(tell::nothing()),
        };
        self.say_how_long(cx, &hosts);
        let mut drive = Drive::new(self, cx, &hosts)?;
        let method = self.ask(cx, &mut drive).await?;
        let (outcome, told) = tell::outcome(self, cx, &hosts, &drive, method).await;
        // What was found is kept by now.
        drive.end();
        let Drive { findings, near, .. } = drive;
        Ok(outcome.with_detail(record::detail(hosts, findings, near.seen, told)))
    }
}

impl Sweep {
    /// Tells whoever waits for it that it takes long.
    fn say_how_long(&self, cx: &Context, hosts: &Hosts) {
        let [shortest, longest] = forecast::durations(self, self.method, hosts.set(), 0).into();
        if cx.is_ad_hoc() && longest >= LONG {
            let [shortest, longest] = [shortest, longest].map(|time| Timespan::secs(time.as_secs()));
            let message = format!(
                "this takes {shortest} if all hosts answer at once, and {longest} if none does; `rate`, `passes` and \
                 `timeout` say so"
            );
            cx.notice(Notice::Remark { message });
        }
    }

    /// Asks all hosts, those of the machine's own links by their stations first; gives the method that was used.
    async fn ask(&self, cx: &Context, drive: &mut Drive<'_>) -> Result<Method, Error> {
        drive.begin(self.method);
        drive.link().await?;
        let used = match self.method {
            Method::Arp => Ok(Method::Arp),
            _ => self.ask_hosts(cx, drive).await,
        };
        drive.settle();
        used
    }

    /// Asks the hosts themselves; gives the method that was used.
    async fn ask_hosts(&self, cx: &Context, drive: &mut Drive<'_>) -> Result<Method, Error> {
        if let Method::Tcp(port) = self.method {
            drive.tcp(port).await?;
            return Ok(self.method);
        }
        match drive.open().await {
            Ok(sessions) => {
                drive.icmp(sessions).await?;
                Ok(Method::Icmp)
            }
            Err(error) if self.method == Method::Auto && error.reason() == Reason::Permission => {
                let hint = error.hint().unwrap_or_default();
                let message = format!("{error}: asking by TCP port {FALLBACK_PORT} instead; {hint}");
                cx.notice(Notice::Warning { message });
                drive.tcp(FALLBACK_PORT).await?;
                Ok(Method::Tcp(FALLBACK_PORT))
            }
            Err(error) => Err(error),
        }
    }

    /// What is wrong with the set as a whole, as far as the file alone says it.
    fn check_targets(&self, report: &mut Report) {
        let excluded = self.exclude.iter().flat_map(|exclude| exclude.iter());
        let (fixed, open) = fixed(&self.targets, self.edges == Edges::Include);
        let targets = self.targets.iter().enumerate().map(|(at, entry)| (format!("targets[{at}]"), entry));
        let left_out = excluded.clone().enumerate().map(|(at, entry)| (format!("exclude[{at}]"), entry));
        for (path, entry) in targets.chain(left_out) {
            if let Some(right) = entry.target.suggestion() {
                let message = format!("`{entry}` has bits set beyond its prefix");
                report.warning(path, message, Some(&format!("write `{right}`")));
            }
        }
        // What is excluded is excluded with its edges.
        let left = fixed
            .without(&AddressSet::new(excluded.filter_map(|entry| entry.target.addresses(true)).flatten()));
        let count = self.shard.unwrap_or_default().count(left.count());
        if count > u128::from(self.max_targets.0) {
            let message = format!("{count} targets are more than `max_targets` ({})", self.max_targets.0);
            report.error("targets", message, Some("write fewer, or raise `max_targets`"));
        }
        if let Some(address) = hosts::nobody(&left) {
            report.error("targets", format!("`{address}` is no single host's"), Some(hosts::EXCLUDE_IT));
        }
        if left.is_empty() && open == 0 {
            report.error("targets", "no target is left", Some("look at `exclude` and `edges`"));
        }
    }
}

/// The addresses that entries themselves name, and how many entries are known only when they are swept.
fn fixed(entries: &[Targets], edges: bool) -> (AddressSet, usize) {
    let known: Vec<_> = entries.iter().filter_map(|entry| entry.target.addresses(edges)).collect();
    let open = entries.len() - known.len();
    (AddressSet::new(known.into_iter().flatten()), open)
}

fn default_rate() -> Rate {
    Rate::Limited(EventRate(1000.0))
}

fn default_passes() -> AtLeastOne {
    AtLeastOne(2)
}

fn default_timeout() -> Timespan {
    Timespan::secs(1)
}

fn default_max_targets() -> Number<u32> {
    Number(1 << 20)
}

fn default_confirm() -> AtLeastOne {
    AtLeastOne(1)
}

/// The port that is asked where ICMP may not be sent.
const FALLBACK_PORT: u16 = 443;
/// An ad-hoc sweep that may take so long says so first.
const LONG: Duration = Duration::from_mins(1);
/// What a sweep takes besides its probes: names, files, the last answers.
const SLACK: Duration = Duration::from_secs(15);
/// More passes than this serve no network.
const MOST_PASSES: u32 = 1000;

const fn measure(name: &'static str, help: &'static str) -> Measure {
    Measure { name, unit: Unit::Count, own: None, help }
}

const MEASURES: &[Measure] = &[
    measure("targets", "Hosts that were to be probed."),
    measure("alive", "Hosts that answered."),
    measure("dead", "Hosts that did not answer."),
    measure("unreachable", "Those of the dead for which something answered that they cannot be reached."),
    measure("appeared", "Hosts that are alive and were not."),
    measure("vanished", "Hosts that are dead and were alive."),
    measure("local_drops", "Packets that this machine itself lost; their probes were sent again."),
    measure("packets", "Probes that were sent."),
];

const HOSTS: Metric =
    Metric::gauge("netjobs_sweep_hosts", &["state"], "Hosts by what the last sweep found of them.");
const CHANGES: Metric =
    Metric::counter("netjobs_sweep_changes_total", &["to"], "Hosts that appeared or vanished.");
const PACKETS: Metric = Metric::counter("netjobs_sweep_packets_total", &[], "Probes that were sent.");
const LOCAL_DROPS: Metric =
    Metric::counter("netjobs_sweep_local_drops_total", &[], "Packets that this machine itself lost.");
