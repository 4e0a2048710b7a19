//! The record of interfaces in the log: interfaces with addresses, networks and IPv6 prefixes, as JSON.

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::net::interface::{Address, Interface};

/// The prefixes of which an IPv6 address says in which one it lies.
const SITES: [(u8, &str); 3] = [(48, "in_48"), (56, "in_56"), (64, "in_64")];

/// `{ "interfaces": […] }`.
pub(super) fn of(interfaces: &[Interface]) -> Value {
    json!({ "interfaces": interfaces.iter().map(interface).collect::<Vec<_>>() })
}

fn interface(interface: &Interface) -> Value {
    json!({
        "name": interface.name,
        "index": interface.index,
        "mac": interface.mac,
        "mtu": interface.mtu,
        "flags": interface.flags,
        "oper_state": interface.oper_state,
        "speed": interface.speed,
        "addresses": interface.addresses.iter().map(address).collect::<Vec<_>>(),
    })
}

/// `peer`, `tentative`, `deprecated` and `duplicate` stand only where they hold, `in_…` only where the interface's own
/// prefix is at least that long.
fn address(address: &Address) -> Value {
    let network = address.network();
    let mut record = Map::new();
    let mut put = |key: &str, value: Value| record.insert(key.to_owned(), value);
    put("family", crate::value::family::label(address.address).into());
    put("address", address.address.to_string().into());
    if let Some(peer) = address.peer {
        put("peer", peer.to_string().into());
    }
    put("prefix_length", address.prefix_length.into());
    put("network", network.to_string().into());
    match address.broadcast {
        Some(broadcast) => put("broadcast", broadcast.to_string().into()),
        None => put("last_address", network.broadcast().to_string().into()),
    };
    put("scope", address.scope.clone().into());
    if address.address.is_ipv6() {
        for (length, key) in SITES.iter().filter(|(length, _)| *length <= address.prefix_length) {
            let site = IpNet::new(address.address, *length).map(|net| net.trunc().to_string());
            put(key, site.ok().into());
        }
    }
    let states = [
        ("tentative", address.is_tentative()),
        ("deprecated", address.is_deprecated()),
        ("duplicate", address.is_duplicate()),
    ];
    for (key, _) in states.iter().filter(|(_, holds)| *holds) {
        put(key, true.into());
    }
    Value::Object(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, broadcast: Option<&str>, wanted: &Value) {
        let (ip, length) = text.split_once('/').unwrap();
        let record = address(&Address {
            address: ip.parse().unwrap(),
            peer: None,
            prefix_length: length.parse().unwrap(),
            broadcast: broadcast.map(|address| address.parse().unwrap()),
            scope: "global".into(),
            flags: 0,
        });
        assert_eq!(&record, wanted);
    }

    #[test]
    fn an_ipv4_address_has_its_broadcast_or_else_the_last_address() {
        check(
            "10.0.0.5/31",
            None,
            &json!({ "family": "ipv4", "address": "10.0.0.5", "prefix_length": 31, "network": "10.0.0.4/31",
                "last_address": "10.0.0.5", "scope": "global" }),
        );
        check(
            "10.0.0.5/24",
            Some("10.0.0.255"),
            &json!({ "family": "ipv4", "address": "10.0.0.5", "prefix_length": 24, "network": "10.0.0.0/24",
                "broadcast": "10.0.0.255", "scope": "global" }),
        );
    }

    #[test]
    fn an_ipv6_address_says_in_which_prefixes_it_lies() {
        check(
            "2001:db8:1:234::5/60",
            None,
            &json!({ "family": "ipv6", "address": "2001:db8:1:234::5", "prefix_length": 60,
                "network": "2001:db8:1:230::/60", "last_address": "2001:db8:1:23f:ffff:ffff:ffff:ffff",
                "scope": "global", "in_48": "2001:db8:1::/48", "in_56": "2001:db8:1:200::/56" }),
        );
    }
}
