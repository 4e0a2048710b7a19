//! The `interfaces` kind: lists interfaces, their state and addresses, as the kernel itself gives them (rtnetlink(7)).

mod detail;
mod pattern;
mod series;

use schemars::JsonSchema;
use serde::Deserialize;

pub use pattern::Pattern;

use super::{Error, Kind};
use crate::{
    context::Context,
    net::interface::Interface,
    outcome::{Measure, Metric, Outcome, Reason, Samples, Unit},
    value::{Family, Many},
};

/// Lists interfaces, their state, addresses, networks and IPv6 prefixes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {
    /// Which interfaces: names or globs, such as `eth0` or `[eth*, wlan0]`. An entry that matches none is a failure with
    /// the reason `no_interface`. Default `*`.
    #[serde(default = "all")]
    pub select: Many<Pattern>,
    /// Which addresses are listed and counted: `any`, `4`, `6` or `both`. Default `any`.
    #[serde(default)]
    pub family: Family,
}

fn all() -> Many<Pattern> {
    Pattern::any().into()
}

const fn count(name: &'static str, help: &'static str) -> Measure {
    Measure { name, unit: Unit::Count, own: None, help }
}

impl Kind for Interfaces {
    const MAIN: &'static str = "select";
    const MEASURES: &'static [Measure] = &[
        count("count", "Interfaces that `select` matches."),
        count("up", "Those that are switched on (administratively); loopback counts."),
        count("ipv4", "IPv4 addresses on them."),
        count("ipv6", "IPv6 addresses on them."),
    ];
    const METRICS: &'static [&'static Metric] =
        &[&series::UP, &series::INFO, &series::ADDRESS_INFO, &series::MTU];
    const USUAL: &'static [Reason] = &[Reason::NoInterface, Reason::Expectation];

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        let all = cx.shared().interfaces.current().await?;
        let found: Vec<Interface> =
            all.iter().filter(|interface| self.selects(&interface.name)).map(|i| self.narrowed(i)).collect();
        series::show(cx, &found);
        let samples = samples(&found);
        let unmatched: Vec<String> = self
            .select
            .iter()
            .filter(|pattern| !all.iter().any(|interface| pattern.matches(&interface.name)))
            .map(|pattern| format!("`{pattern}`"))
            .collect();
        let outcome = if unmatched.is_empty() {
            Outcome::passed(samples)
        } else {
            let message = format!("no interface matches {}", unmatched.join(", "));
            Outcome::failed(Reason::NoInterface, message, samples)
        };
        Ok(outcome.with_detail(detail::of(&found)))
    }
}

impl Interfaces {
    fn selects(&self, name: &str) -> bool {
        self.select.iter().any(|pattern| pattern.matches(name))
    }

    /// The interface with the addresses of the wanted family only.
    fn narrowed(&self, interface: &Interface) -> Interface {
        let mut interface = interface.clone();
        interface.addresses.retain(|address| self.family.admits(address.address));
        interface
    }
}

fn samples(interfaces: &[Interface]) -> Samples {
    let mut samples = Samples::default();
    let up = interfaces.iter().filter(|interface| interface.is_up()).count();
    let addresses = || interfaces.iter().flat_map(|interface| &interface.addresses);
    let v4 = addresses().filter(|address| address.address.is_ipv4()).count();
    let v6 = addresses().count() - v4;
    for (name, value) in [("count", interfaces.len()), ("up", up), ("ipv4", v4), ("ipv6", v6)] {
        samples.count(name, value as u64);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::testing::context, outcome::Sample, outcome::Verdict};

    async fn run(yaml: &str) -> (Outcome, Context) {
        let spec: Interfaces = serde_yaml::from_str(yaml).unwrap();
        let (cx, _) = context(vec![], None);
        (spec.run(&cx).await.unwrap(), cx)
    }

    #[tokio::test]
    async fn the_loopback_is_there_with_its_true_prefix() {
        let (outcome, _) = run("{ select: lo, family: 4 }").await;
        assert_eq!(outcome.verdict, Verdict::Passed);
        assert_eq!(outcome.samples[0].find("count"), Some(&Sample::Count(1)));
        let first = &outcome.detail.value()["interfaces"][0]["addresses"][0];
        assert_eq!(first["network"], "127.0.0.0/8");
        assert_eq!(first["last_address"], "127.255.255.255");
    }

    #[tokio::test]
    async fn an_entry_that_matches_nothing_is_failed_and_named() {
        let (outcome, _) = run("{ select: [lo, nosuch*] }").await;
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::NoInterface)));
        assert_eq!(outcome.message.unwrap(), "no interface matches `nosuch*`");
        assert_eq!(outcome.samples[0].find("count"), Some(&Sample::Count(1)));
    }

    #[tokio::test]
    async fn an_interface_has_its_series() {
        let (_, cx) = run("{ select: lo }").await;
        let mut text = String::new();
        cx.shared().registry.render(&mut text);
        assert!(
            text.contains("netjobs_interface_up{job_name=\"test\",kind=\"test\",device=\"lo\"} 1"),
            "{text}"
        );
        assert!(text.contains("netjobs_interface_mtu_bytes{"), "{text}");
    }
}
