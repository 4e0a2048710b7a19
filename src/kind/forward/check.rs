//! What the types of a forward's spec cannot say. Pure: names are not resolved here.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Forward, OnAbort, OnFull};
use crate::{
    diagnostic::{Report, near},
    net::resolve::is_localhost,
    value::{Bind, Endpoint, Host, Ports, many::path},
};

/// Says what is wrong with a forward.
pub(super) fn check(spec: &Forward, report: &mut Report) {
    if let Some(key) = &spec.proxy_protocol {
        key.check(spec, report);
    }
    if let Some(key) = &spec.inject {
        key.check(report);
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
    if spec.rate.is_some_and(|rate| rate.bytes.is_none() && rate.connections.is_none()) {
        report.error("rate", "`rate` limits nothing", Some("write `bytes`, `connections` or both in it"));
    }
    let errors = report.diagnostics.len();
    check_upstreams(spec, report);
    let are_right = report.diagnostics.len() == errors;
    check_source(spec, report);
    check_health(spec, report);
    check_listeners(spec, are_right, report);
    check_nets(spec, report);
}

/// Keys that nothing in `listen` heeds.
fn check_nets(spec: &Forward, report: &mut Report) {
    let mut refuse = |keys: &[(&str, bool)], message: &str, hint: &'static str| {
        for (key, _) in keys.iter().filter(|(_, is_given)| *is_given) {
            report.error(*key, message.replace("{}", key), Some(hint));
        }
    };
    if spec.listen.iter().all(|listen| listen.0.is_datagram()) {
        let keys = [
            ("max_connections", spec.max_connections.is_some()),
            ("rate", spec.rate.is_some()),
            ("on_abort", spec.on_abort != OnAbort::default()),
            ("on_full", spec.on_full != OnFull::default()),
        ];
        let message = "`{}` is for streams, and `listen` has only datagrams";
        refuse(&keys, message, "leave it out; `sessions` limits the senders of datagrams");
        let keys = [("proxy_protocol", spec.proxy_protocol.is_some()), ("inject", spec.inject.is_some())];
        refuse(&keys, message, "leave it out; datagrams pass as they are");
    }
    if !spec.listen.iter().any(|listen| listen.0.is_datagram()) {
        let keys = [("sessions", spec.sessions.is_some())];
        let message = "`{}` is for datagrams, and `listen` has only streams";
        refuse(&keys, message, "leave it out; `max_connections` limits connections");
    }
    let has_header = spec.proxy_protocol.as_ref().is_some_and(|key| key.accept.0);
    let is_unix = |listen: &Bind| matches!(listen.0, Endpoint::Unix(_) | Endpoint::Unixgram(_));
    if spec.listen.iter().all(is_unix) && !has_header {
        let keys = [
            ("allow", spec.allow.is_some()),
            ("deny", spec.deny.is_some()),
            ("max_per_source", spec.max_per_source.is_some()),
        ];
        let message = "clients of a Unix socket have no address";
        refuse(&keys, message, "leave it out; the socket is for its owner alone");
    }
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

/// Upstreams that cannot be reached from `source`, whatever this machine has.
fn check_source(spec: &Forward, report: &mut Report) {
    let Some(source) = &spec.source else { return };
    if let Host::Scoped(..) = source {
        let hint = "write the interface's name, or an address without a zone";
        report.error("source", "a source has no zone", Some(hint));
    }
    if spec.to.iter().all(|to| matches!(to.endpoint, Endpoint::Unix(_) | Endpoint::Unixgram(_))) {
        let message = "`source` is for TCP and UDP, and `to` has only Unix sockets";
        report.error("source", message, Some("leave it out"));
    }
    let Host::Ip(from) = source else { return };
    for (index, upstream) in spec.to.iter().enumerate() {
        let (Endpoint::Tcp(host, _) | Endpoint::Udp(host, _)) = &upstream.endpoint else { continue };
        let is_v4 = match host {
            Host::Ip(ip) => ip.is_ipv4(),
            Host::Scoped(..) => false,
            Host::Name(_) => continue,
        };
        if is_v4 != from.is_ipv4() {
            let family = |is_v4| if is_v4 { "IPv4" } else { "IPv6" };
            let message = format!(
                "`{}` is {} and the source `{from}` {}",
                upstream.text,
                family(is_v4),
                family(!is_v4)
            );
            report.error(
                path("to", index, spec.to.len()),
                message,
                Some("write a source of the same family, or the name of an interface"),
            );
        }
    }
}

fn check_health(spec: &Forward, report: &mut Report) {
    if spec.health.as_ref().is_some_and(BTreeMap::is_empty) {
        report.error("health", "`health` names no check", Some("write `{ \"10.0.0.1:80\": web-check }`"));
    }
    for entry in spec.health.iter().flat_map(BTreeMap::keys) {
        let entries = || spec.to.iter().map(|upstream| upstream.text.as_str());
        if entries().any(|known| known == entry) {
            continue;
        }
        let hint = match near(entry, entries()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an entry as it stands in `to`".to_owned(),
        };
        report.error(format!("health.{entry}"), format!("`{entry}` is no entry of `to`"), Some(&hint));
    }
}

/// `are_right`: nothing is wrong with `to` in itself. Where something is, what is left of it is not judged.
fn check_listeners(spec: &Forward, are_right: bool, report: &mut Report) {
    for (index, listen) in spec.listen.iter().enumerate() {
        let at = path("listen", index, spec.listen.len());
        let mine: Vec<&Endpoint> =
            spec.to.iter().map(|to| &to.endpoint).filter(|to| goes(&listen.0, to)).collect();
        if mine.is_empty() && !are_right {
            continue;
        }
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
        Endpoint::Tcp(Host::Ip(ip), _) | Endpoint::Udp(Host::Ip(ip), _) => !ip.to_canonical().is_loopback(),
        Endpoint::Tcp(Host::Scoped(..), _) | Endpoint::Udp(Host::Scoped(..), _) => true,
        _ => false,
    }
}

/// Whether the target is the listener in another spelling, as far as that can be told without a look-up.
fn is_same_place(listen: &Endpoint, to: &Endpoint) -> bool {
    let meets = |a: &Ports, b: &Ports| a.first <= b.last && b.first <= a.last && a.first != 0;
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
        Host::Name(name) => is_localhost(name),
        Host::Scoped(..) => false,
    };
    match (&plain(listen), &plain(to)) {
        (Host::Ip(any), to) if any.is_unspecified() => is_local(to),
        // 0.0.0.0 and :: as a target mean this machine's loopback.
        (Host::Ip(ip), Host::Ip(any)) if any.is_unspecified() => is_usual_loopback(*ip),
        (Host::Ip(ip), Host::Name(_)) => is_usual_loopback(*ip) && is_local(to),
        (Host::Name(_), Host::Ip(ip)) => is_usual_loopback(*ip) && is_local(listen),
        (Host::Name(a), Host::Name(b)) => a == b || is_localhost(a) && is_localhost(b),
        (listen, to) => listen == to,
    }
}

/// An IPv4 address in IPv6's clothes as IPv4; a name without the dot at its end.
fn plain(host: &Host) -> Host {
    match host {
        Host::Ip(ip) => Host::Ip(ip.to_canonical()),
        Host::Name(name) => Host::Name(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()),
        Host::Scoped(..) => host.clone(),
    }
}

fn is_usual_loopback(ip: IpAddr) -> bool {
    ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from(std::net::Ipv6Addr::LOCALHOST)
}
