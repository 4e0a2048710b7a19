//! The `ipv6` kind: says whether this machine can speak IPv6, and why not. "Compiled in" is not enough: a socket must
//! open and `::1` must be there and take a bind; `::` still binds where IPv6 is switched off.

mod look;

use std::{net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{Error, Kind};
use crate::{
    context::Context,
    diagnostic::Report,
    net::{interface, probe, probe::Miss},
    outcome::{Measure, Metric, Outcome, Reason, Sample, Samples, Unit, Verdict},
    value::{Endpoint, Family, Host},
};

/// Says whether this machine can speak IPv6, and why not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6 {
    /// Something that must be reached over IPv6: `tcp://`, `udp://` or `icmp://`, such as `icmp://example.com`.
    /// It is tried for 2 s. Default: nothing is sent.
    pub reach: Option<Endpoint>,
}

const fn flag(name: &'static str, own: Option<&'static str>, help: &'static str) -> Measure {
    Measure { name, unit: Unit::Flag, own, help }
}

impl Kind for Ipv6 {
    const MAIN: &'static str = "reach";
    const MEASURES: &'static [Measure] = &[
        flag("supported", Some("true"), "An IPv6 socket opens, and `::1` is there and takes a bind."),
        flag("loopback", None, "An interface has `::1`."),
        flag("link_local", None, "An interface has a usable address of its link."),
        flag("global", None, "An interface has a usable global address."),
        flag("default_route", None, "There is a way to everywhere."),
        flag("reached", None, "The endpoint of `reach` answered; only with `reach`."),
    ];
    const METRICS: &'static [&'static Metric] = &[&SUPPORTED];
    const USUAL: &'static [Reason] = &[Reason::NoIpv6];

    fn check(&self, report: &mut Report) {
        let Some(reach) = &self.reach else { return };
        let hint = Some("write `tcp://HOST:PORT`, `udp://HOST:PORT` or `icmp://HOST`");
        let host = match reach {
            Endpoint::Tcp(host, ports) | Endpoint::Udp(host, ports) if ports.count() == 1 => host,
            Endpoint::Icmp(host) => host,
            Endpoint::Tcp(..) | Endpoint::Udp(..) => {
                return report.error("reach", "`reach` takes one port and no range", hint);
            }
            other => {
                return report.error("reach", format!("`reach` takes no `{}`", other.scheme()), hint);
            }
        };
        if let Host::Ip(address) = host
            && address.is_ipv4()
        {
            report.error(
                "reach",
                format!("`{address}` is not reached over IPv6"),
                Some("write an IPv6 address or a name"),
            );
        }
    }

    fn longest(&self) -> Option<Duration> {
        Some(PATIENCE)
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        let interfaces = cx.shared().interfaces.current().await?;
        let found = look::addresses(&interfaces);
        let refused = look::refusal()?;
        cx.meters().gauge(&SUPPORTED, &[]).set(f64::from(u8::from(refused.is_none())));
        let mut samples = Samples::default();
        let mut put = |name, value| samples.push(name, Sample::Flag(value));
        put("supported", refused.is_none());
        put("loopback", found.loopback);
        put("link_local", found.link_local);
        put("global", found.global);
        put("default_route", refused.is_none() && interface::default_route(true).await?);
        let reached = match &self.reach {
            Some(endpoint) => Some(reach(cx, endpoint).await?),
            None => None,
        };
        if let Some(reached) = &reached {
            put("reached", reached.is_ok());
        }
        // What is not supported is said by the kind's own expectation of it, which a job may replace.
        let mut outcome = Outcome::passed(samples).with_detail(json!({ "addresses": found.by_scope }));
        if let Some(Err(miss)) = reached {
            outcome.verdict = Verdict::Failed;
            outcome.reason = Some(miss.reason);
            outcome.message = Some(miss.message);
        }
        if let Some(why) = refused {
            outcome.reason = Some(Reason::NoIpv6);
            outcome.message = Some(why);
        }
        Ok(outcome)
    }
}

/// Tries the endpoint once, over IPv6 only.
async fn reach(cx: &Context, endpoint: &Endpoint) -> Result<Result<(), Miss>, Error> {
    let until = Instant::now() + PATIENCE;
    let lookup = async |host: &Host, port: u16| -> Result<Vec<SocketAddr>, Miss> {
        let lookup = cx.shared().resolver.lookup(host, port, Family::V6);
        let late = |_| Miss::new(Reason::Dns, format!("resolve {host}: no answer from the name servers"));
        Ok(timeout_at(until, lookup).await.map_err(late)??)
    };
    let resolved = match endpoint {
        Endpoint::Tcp(host, ports) | Endpoint::Udp(host, ports) => lookup(host, ports.first).await,
        Endpoint::Icmp(host) => lookup(host, 0).await,
        other => Err(Miss::new(Reason::Bug, format!("`{other}` cannot be reached for"))),
    };
    let addresses = match resolved {
        Ok(addresses) => addresses,
        Err(miss) => return Ok(Err(miss)),
    };
    Ok(match endpoint {
        Endpoint::Udp(..) => probe::udp(&addresses, until).await,
        Endpoint::Icmp(_) => probe::icmp(&cx.shared().probers, &addresses, until).await?,
        _ => probe::tcp(&addresses, until).await.map(drop),
    })
}

/// How long `reach` may take, the name's look-up included.
const PATIENCE: Duration = Duration::from_secs(2);

const SUPPORTED: Metric =
    Metric::gauge("netjobs_ipv6_supported", &[], "Whether this machine can speak IPv6 at all.");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::testing::context;

    #[tokio::test]
    async fn what_is_supported_is_what_a_socket_can_do() {
        let (cx, _) = context(vec![], None);
        let outcome = Ipv6 { reach: None }.run(&cx).await.unwrap();
        let works = std::net::TcpListener::bind("[::1]:0").is_ok();
        assert_eq!(outcome.samples[0].find("supported"), Some(&Sample::Flag(works)));
        assert_eq!(outcome.samples[0].find("reached"), None);
        assert_eq!(outcome.reason, if works { None } else { Some(Reason::NoIpv6) });
    }

    #[tokio::test]
    async fn what_is_not_reached_is_failed_with_its_reason() {
        let (cx, _) = context(vec![], None);
        // Either nobody listens there, or this machine has no IPv6: a port of ours that we let go.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let spec: Ipv6 = serde_yaml::from_str(&format!("{{ reach: '[::1]:{free}' }}")).unwrap();
        let outcome = spec.run(&cx).await.unwrap();
        assert_eq!(outcome.verdict, Verdict::Failed);
        assert_eq!(outcome.samples[0].find("reached"), Some(&Sample::Flag(false)));
    }

    #[track_caller]
    fn check_refused(yaml: &str, message: &str) {
        let spec: Ipv6 = serde_yaml::from_str(yaml).unwrap();
        let mut report = Report::default();
        spec.check(&mut report);
        let found: Vec<_> =
            report.diagnostics.iter().map(|found| (found.path.as_str(), found.message.as_str())).collect();
        assert_eq!(found, [("reach", message)]);
    }

    #[test]
    fn only_what_can_be_reached_over_ipv6_is_taken() {
        check_refused("{ reach: 'http://h/' }", "`reach` takes no `http`");
        check_refused("{ reach: 'h:1-2' }", "`reach` takes one port and no range");
        check_refused("{ reach: '10.0.0.1:1' }", "`10.0.0.1` is not reached over IPv6");
    }
}
