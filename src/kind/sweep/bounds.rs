//! How long a sweep may take at most, from its file alone. How long it will take is the forecast's affair.

use std::time::Duration;

use super::{
    Sweep, drive, fixed, hosts,
    spec::{Edges, Method, Order, Rate},
};
use crate::{net, value::AddressSet};

/// A slow machine at `rate: max`, probes a second.
pub(super) const SLOWEST_MAX: f64 = 2000.0;
/// The hosts of the largest link that there is.
const LINK_HOSTS: f64 = 65_536.0;

impl Sweep {
    /// How many seconds one pass needs at most to send its probes.
    pub(super) fn slowest_pass(&self) -> f64 {
        let at_once = drive::most_unanswered(self.method, self.rate) / self.timeout.as_secs_f64();
        let Rate::Limited(rate) = self.rate else {
            return f64::from(self.max_targets.0) / SLOWEST_MAX.min(at_once);
        };
        let rate = rate.0.min(at_once);
        let (fixed, open) = fixed(&self.targets, self.edges == Edges::Include);
        // A shard has its part of each network.
        let (count, shard) = (self.most(), self.shard.unwrap_or_default());
        let v4 = fixed.ranges().take_while(|(first, _)| first.is_ipv4());
        let v4 = AddressSet::new(v4).count();
        // A /24 has 256 addresses, a /64 may have them all.
        let network = shard.count(v4.min(256).max(fixed.count() - v4)).max(if open > 0 { count } else { 0 });
        // With both families, each has half of the rate.
        let families = if v4 > 0 && v4 < fixed.count() || open > 0 { 2.0 } else { 1.0 };
        let probing = (families * count as f64 / rate).max(network as f64 / drive::NETWORK_RATE);
        // One network after the other: each has to wait for its own cap.
        let waiting = if self.order == Order::Plain { shard.count(hosts::neighbours(&fixed)) } else { 0 };
        probing + waiting as f64 / drive::NETWORK_RATE
    }

    /// How many seconds hosts of a link wait for each other in one pass at most, so as not to fill the neighbour table.
    pub(super) fn slowest_gate(&self) -> f64 {
        match self.method {
            Method::Arp => 0.0,
            // Where stations can be asked for, echoes go there without the kernel's table.
            Method::Auto | Method::Icmp if net::syn::is_allowed() => 0.0,
            _ => {
                let hosts = (self.most() as f64).min(LINK_HOSTS);
                drive::slowest_gate(hosts, drive::LEAST_ROOM, self.timeout.0)
            }
        }
    }

    /// How many targets there are at most.
    pub(super) fn most(&self) -> u128 {
        let (fixed, open) = fixed(&self.targets, self.edges == Edges::Include);
        if open > 0 { self.max_targets.0.into() } else { self.shard.unwrap_or_default().count(fixed.count()) }
    }
}

/// A time that no one lives to see, where there are too many.
pub(super) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::Kind as _, default_rate},
        *,
    };

    /// What a sweep of the dead takes at least, in seconds, must be within what it is given.
    #[track_caller]
    fn check_longest(yaml: &str, seconds: f64) {
        let sweep: Sweep = serde_yaml::from_str(yaml).unwrap();
        let longest = sweep.longest().unwrap().as_secs_f64();
        let wanted = seconds..seconds * 1.3 + 30.0;
        assert!(wanted.contains(&longest), "{yaml}: {longest} s is not within {wanted:?}");
    }

    #[test]
    fn a_sweep_that_goes_as_planned_is_never_cut_short() {
        check_longest("{ targets: 10.0.0.0/24, passes: 1 }", 254.0 / 200.0);
        check_longest("{ targets: 10.0.0.0/16, passes: 2, method: icmp }", 2.0 * 65.5);
        // One /24 after the other, each at its own cap; but single hosts of many networks do not wait for each other.
        check_longest("{ targets: 10.0.0.0/16, passes: 1, order: plain, method: icmp }", 65_534.0 / 200.0);
        check_longest("{ targets: '10.0-3.*.1', passes: 1, order: plain, method: icmp }", 1.024);
        // What is unanswered holds up what comes after it.
        let slow = "{ targets: 10.0.0.0/16, passes: 1, timeout: 60s, method: icmp }";
        check_longest(slow, 65_534.0 / 8192.0 * 60.0);
        let fast = "{ targets: 10.0.0.0/12, passes: 1, timeout: 2s, rate: 100000/s, method: icmp }";
        check_longest(fast, f64::from(1 << 20) / 8192.0 * 2.0);
        // A connection that nobody answers keeps its place until its timeout.
        let at_once = drive::most_unanswered(Method::Tcp(9), default_rate());
        let tcp = "{ targets: 10.0.0.0/16, passes: 1, timeout: 4s, method: tcp/9 }";
        check_longest(tcp, (65_534.0 / at_once * 4.0).max(65.5));
    }

    #[test]
    fn a_large_link_may_take_longer_than_the_file_says() {
        // Who may not ask for stations waits three seconds, or a timeout, for 256 others.
        for (targets, hosts, timeout) in [("10.0.0.0/20", 4094.0, 0.3), ("10.0.0.0/16", 65_534.0, 10.0)] {
            let yaml = format!(
                "{{ targets: {targets}, timeout: {timeout}s, rate: 10000/s, method: tcp/9, passes: 2 }}"
            );
            let sweep: Sweep =
                serde_yaml::from_str(&yaml.replace("0.3s", "300ms").replace("10.0s", "10s")).unwrap();
            let waves: f64 = hosts / 256.0 * f64::max(3.2, timeout);
            assert!(sweep.longer().as_secs_f64() > 2.0 * waves, "{yaml}: {:?}", sweep.longer());
        }
        let arp: Sweep = serde_yaml::from_str("{ targets: 10.0.0.0/24, passes: 1, method: arp }").unwrap();
        assert!(arp.longer() < Duration::from_secs(3));
    }
}
