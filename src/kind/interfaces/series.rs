//! The series of interfaces: those of interfaces and addresses that are gone go with them.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{
    context::Context,
    net::interface::{Address, Interface},
    outcome::Metric,
    value::family,
};

/// `netjobs_interface_up`.
pub(super) const UP: Metric = Metric::gauge(
    "netjobs_interface_up",
    &["device"],
    "Whether the interface is switched on (administratively).",
);
/// `netjobs_interface_info`.
pub(super) const INFO: Metric = Metric::gauge(
    "netjobs_interface_info",
    &["device", "mac", "oper_state"],
    "An interface with its hardware address and operational state; always 1.",
);
/// `netjobs_interface_address_info`.
pub(super) const ADDRESS_INFO: Metric = Metric::gauge(
    "netjobs_interface_address_info",
    &["device", "family", "address", "prefix_length", "scope"],
    "An address of an interface; always 1.",
);
/// `netjobs_interface_mtu_bytes`.
pub(super) const MTU: Metric =
    Metric::gauge("netjobs_interface_mtu_bytes", &["device"], "The longest packet of the interface.");

/// Shows these interfaces and no others. What did not change is not taken away in between, so that no scrape misses it.
pub(super) fn show(cx: &Context, interfaces: &[Interface]) {
    let shown = fingerprint(interfaces);
    if cx.recall::<u64>() != Some(shown) {
        for metric in [&UP, &INFO, &ADDRESS_INFO, &MTU] {
            cx.meters().clear(metric);
        }
        cx.keep(&shown);
    }
    for interface in interfaces {
        let name = interface.name.as_str();
        let mac = interface.mac.as_deref().unwrap_or_default();
        cx.meters().gauge(&UP, &[name]).set(f64::from(u8::from(interface.is_up())));
        cx.meters().gauge(&INFO, &[name, mac, interface.oper_state]).set(1.0);
        cx.meters().gauge(&MTU, &[name]).set(f64::from(interface.mtu));
        for address in &interface.addresses {
            show_address(cx, name, address);
        }
    }
}

fn show_address(cx: &Context, device: &str, address: &Address) {
    let family = family::label(address.address);
    let (ip, length) = (address.address.to_string(), address.prefix_length.to_string());
    cx.meters().gauge(&ADDRESS_INFO, &[device, family, &ip, &length, &address.scope]).set(1.0);
}

/// Of all that stands in labels.
fn fingerprint(interfaces: &[Interface]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for interface in interfaces {
        (&interface.name, &interface.mac, interface.oper_state).hash(&mut hasher);
        for address in &interface.addresses {
            (address.address, address.prefix_length, &address.scope).hash(&mut hasher);
        }
    }
    hasher.finish()
}
