//! What the types of a forward's spec cannot say. Pure: names are not resolved here.

use std::net::IpAddr;

use super::Forward;
use crate::{
    diagnostic::Report,
    value::{Endpoint, Host, Ports, many::path},
};

/// Says what is wrong with a forward.
pub(super) fn check(spec: &Forward, report: &mut Report) {
    for (key, is_given) in [
        ("health", spec.health.is_some()),
        ("proxy_protocol", spec.proxy_protocol.is_some()),
        ("inject", spec.inject.is_some()),
    ] {
        if is_given {
            report.not_yet(key);
        }
    }
    for (key, span) in [
        ("connect_timeout", Some(spec.connect_timeout)),
        ("idle_timeout", spec.idle_timeout),
        ("half_closed_timeout", Some(spec.half_closed_timeout)),
    ] {
        if span.is_some_and(|span| span.is_zero()) {
            report.error(key, format!("`{key}` is zero"), Some("write a time such as `5s`"));
        }
    }
    if let Some(Host::Scoped(..)) = spec.source {
        report.error(
            "source",
            "a source has no zone",
            Some("write the interface's name, or an address without a zone"),
        );
    }
    check_upstreams(spec, report);
    check_listeners(spec, report);
}

fn check_upstreams(spec: &Forward, report: &mut Report) {
    let listens = || spec.listen.iter().map(|bind| &bind.0);
    for (index, upstream) in spec.to.iter().enumerate() {
        let at = path("to", index, spec.to.len());
        let to = &upstream.endpoint;
        if matches!(to, Endpoint::Icmp(_) | Endpoint::Http { .. }) {
            let message = format!("`forward` does not go to `{}`", to.scheme());
            report.error(
                at,
                message,
                Some("write `host:port`, `udp://`, `unix:`, `unixgram:` or `job:NAME`"),
            );
        } else if let Some(listen) = listens().find(|listen| is_same_place(listen, to)) {
            let message = format!("it forwards to itself: `{listen}` is in `listen`");
            report.error(at, message, Some("write the address of the upstream"));
        } else if !listens().any(|listen| goes(listen, to)) {
            let (ours, theirs) =
                if to.is_datagram() { ("datagrams", "streams") } else { ("streams", "datagrams") };
            let message = format!("`{}` takes {ours}, and `listen` has only {theirs}", upstream.text);
            report.error(
                at,
                message,
                Some("forward tcp or unix to tcp or unix, and udp or unixgram to udp or unixgram"),
            );
        }
    }
}

fn check_listeners(spec: &Forward, report: &mut Report) {
    for (index, listen) in spec.listen.iter().enumerate() {
        let at = path("listen", index, spec.listen.len());
        let mine: Vec<&Endpoint> =
            spec.to.iter().map(|to| &to.endpoint).filter(|to| goes(&listen.0, to)).collect();
        if mine.is_empty() {
            let what = if listen.0.is_datagram() { "datagrams" } else { "streams" };
            report.error(
                at,
                format!("`to` has nothing that takes {what}"),
                Some("forward streams to streams and datagrams to datagrams"),
            );
            continue;
        }
        let ours = count(&listen.0);
        if let Some(theirs) = mine.iter().map(|to| count(to)).find(|theirs| *theirs != ours) {
            let message = format!("`{listen}` has {ours} ports and `to` has {theirs}");
            report.error(at, message, Some("write ranges of the same length: they go port by port"));
            continue;
        }
        if spec.allow.is_none() && is_world(&listen.0) {
            report.warning(
                at,
                format!("`{listen}` forwards for everybody who reaches this machine"),
                Some("list who may use it in `allow`, or listen on 127.0.0.1"),
            );
        }
    }
    let is_unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_) | Endpoint::Unixgram(_));
    if spec.listen.iter().all(|listen| is_unix(&listen.0)) {
        for (key, is_given) in [
            ("allow", spec.allow.is_some()),
            ("deny", spec.deny.is_some()),
            ("max_per_source", spec.max_per_source.is_some()),
        ] {
            if is_given {
                report.error(
                    key,
                    "clients of a Unix socket have no address",
                    Some("leave it out; the socket is for its owner alone"),
                );
            }
        }
    }
}

/// Whether a listener's clients can go to this upstream: streams to streams, datagrams to datagrams.
fn goes(listen: &Endpoint, to: &Endpoint) -> bool {
    match to {
        Endpoint::Job(_) => true,
        Endpoint::Icmp(_) | Endpoint::Http { .. } => false,
        _ => listen.is_datagram() == to.is_datagram(),
    }
}

fn count(endpoint: &Endpoint) -> usize {
    match endpoint {
        Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports) => ports.count(),
        _ => 1,
    }
}

fn is_world(listen: &Endpoint) -> bool {
    match listen {
        Endpoint::Tcp(Host::Ip(ip), _) | Endpoint::Udp(Host::Ip(ip), _) => !ip.is_loopback(),
        _ => false,
    }
}

/// Whether the target is the listener in another spelling, as far as that can be told without a look-up.
fn is_same_place(listen: &Endpoint, to: &Endpoint) -> bool {
    let meets = |a: &Ports, b: &Ports| a.first == b.first && a.first != 0;
    match (listen, to) {
        (Endpoint::Tcp(host, ports), Endpoint::Tcp(target, target_ports))
        | (Endpoint::Udp(host, ports), Endpoint::Udp(target, target_ports)) => {
            meets(ports, target_ports) && is_same_host(host, target)
        }
        _ => listen == to,
    }
}

fn is_same_host(listen: &Host, to: &Host) -> bool {
    let is_local = |host: &Host| match host {
        Host::Ip(ip) => ip.is_loopback() || ip.is_unspecified(),
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Scoped(..) => false,
    };
    match (listen, to) {
        (Host::Ip(any), to) if any.is_unspecified() => is_local(to),
        // 0.0.0.0 and :: as a target mean this machine's loopback.
        (Host::Ip(ip), Host::Ip(any)) if any.is_unspecified() => is_usual_loopback(*ip),
        (Host::Ip(ip), Host::Name(_)) => is_usual_loopback(*ip) && is_local(to),
        (Host::Name(_), Host::Ip(ip)) => is_usual_loopback(*ip) && is_local(listen),
        (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
        _ => listen == to,
    }
}

fn is_usual_loopback(ip: IpAddr) -> bool {
    ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from(std::net::Ipv6Addr::LOCALHOST)
}
