//! What is wrong with a `wait` that its types cannot say.

use std::time::Duration;

use super::{Http, Wait};
use crate::{
    diagnostic::Report,
    value::{Endpoint, Family, Host},
};

/// The most endpoints of one job, each port of a range counted: each has an attempt of its own under way.
const MOST: usize = 1000;

pub(super) fn check(spec: &Wait, report: &mut Report) {
    check_endpoints(spec, report);
    for (path, span) in [("timeout", spec.timeout), ("interval", spec.interval)] {
        if *span == Duration::ZERO {
            report.error(path, format!("`{path}` is zero"), Some("write a time such as `1s`"));
        }
    }
    if let Some(http) = &spec.http {
        check_http(spec, http, report);
    }
}

fn check_endpoints(spec: &Wait, report: &mut Report) {
    let count: usize = spec.r#for.iter().map(count).sum();
    if count > MOST {
        let message = format!("{count} endpoints are too many to wait for, the most are {MOST}");
        report.error("for", message, Some("write shorter ranges of ports, or several jobs"));
    }
    for (at, endpoint) in spec.r#for.iter().enumerate() {
        if let Some(address) = host(endpoint)
            && let Some(wanted) = unfit(address, spec.family)
        {
            let message = format!("`{endpoint}` has no {wanted} address");
            report.error(spec.path(at), message, Some("write a host name, or another `family`"));
        }
        if let Endpoint::Icmp(host) = endpoint
            && let Some(what) = host.is_nobody()
        {
            let message = format!("`{endpoint}` is {what}, and no host that could answer");
            report.error(spec.path(at), message, Some("write one host's address or name"));
        }
        if cfg!(not(feature = "tls")) && matches!(endpoint, Endpoint::Http { tls: true, .. }) {
            report.error(
                spec.path(at),
                "this program was built without TLS",
                Some("write `http://…`, or build it with the feature `tls`"),
            );
        }
    }
}

fn count(endpoint: &Endpoint) -> usize {
    match endpoint {
        Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports) => ports.count(),
        _ => 1,
    }
}

fn host(endpoint: &Endpoint) -> Option<&Host> {
    match endpoint {
        Endpoint::Tcp(host, _)
        | Endpoint::Udp(host, _)
        | Endpoint::Icmp(host)
        | Endpoint::Http { host, .. } => Some(host),
        Endpoint::Unix(_) | Endpoint::Unixgram(_) | Endpoint::Job(_) => None,
    }
}

/// The family that is wanted and that an address can never have.
fn unfit(host: &Host, family: Family) -> Option<&'static str> {
    let is_v6 = match host {
        Host::Ip(address) => address.is_ipv6(),
        Host::Scoped(..) => true,
        Host::Name(_) => return None,
    };
    match (family, is_v6) {
        (Family::V6 | Family::Both, false) => Some("IPv6"),
        (Family::V4 | Family::Both, true) => Some("IPv4"),
        _ => None,
    }
}

fn check_http(spec: &Wait, http: &Http, report: &mut Report) {
    let any = |wanted: fn(&Endpoint) -> bool| spec.r#for.iter().any(wanted);
    if !any(|endpoint| matches!(endpoint, Endpoint::Http { .. })) {
        report.error(
            "http",
            "`http` is given and no endpoint is `http://` or `https://`",
            Some("leave it out"),
        );
        return;
    }
    let encrypted = any(|endpoint| matches!(endpoint, Endpoint::Http { tls: true, .. }));
    let keys = [("http.ca", http.ca.is_some()), ("http.verify", !http.verify.0)];
    for (path, given) in keys {
        if given && !encrypted {
            report.error(
                path,
                format!("`{path}` is given and no endpoint is `https://`"),
                Some("leave it out"),
            );
        }
    }
    if http.ca.is_some() && !http.verify.0 {
        report.error("http.ca", "`ca` does nothing where `verify` is false", Some("leave one of them out"));
    }
}
