//! What IPv6 this machine has: addresses by scope, and what a socket meets.

use std::{
    fs, io,
    net::{Ipv6Addr, UdpSocket},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde_json::{Map, Value, json};

use crate::{
    net::{
        Error,
        interface::{Address, Interface},
        reason_of,
    },
    outcome::Reason,
};

/// IPv6 addresses of all interfaces.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) loopback: bool,
    pub(super) link_local: bool,
    pub(super) global: bool,
    /// `{ "host": [{ device, address, prefix_length }], "link": […], … }`.
    pub(super) by_scope: Map<String, Value>,
}

/// Sorts the addresses; one that is tentative or somebody else's is listed and not counted.
pub(super) fn addresses(interfaces: &[Interface]) -> Found {
    let mut found = Found::default();
    for interface in interfaces {
        for address in interface.addresses.iter().filter(|address| address.address.is_ipv6()) {
            found.loopback |= address.address == Ipv6Addr::LOCALHOST;
            let usable = !address.is_tentative() && !address.is_duplicate();
            found.link_local |= usable && address.scope == "link";
            found.global |= usable && address.scope == "global";
            let list = found.by_scope.entry(address.scope.clone()).or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(record(interface, address)));
        }
    }
    found
}

fn record(interface: &Interface, address: &Address) -> Value {
    json!({
        "device": interface.name,
        "address": address.address.to_string(),
        "prefix_length": address.prefix_length,
    })
}

/// Why this machine cannot speak IPv6; `None` where it can. `Err`: it is out of what it takes to look.
pub(super) fn refusal() -> Result<Option<String>, Error> {
    let opened = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let (open, bind) = match opened.map_err(io::Error::from) {
        Ok(_) => (None, UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).err()),
        Err(error) => (Some(error), None),
    };
    match (open, bind) {
        (Some(source), _) | (_, Some(source)) if reason_of(&source) == Reason::Resources => {
            Err(Error::Open { what: "an IPv6 socket".into(), source })
        }
        (Some(error), _) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            Ok(Some("the kernel has no IPv6".into()))
        }
        (Some(error), _) => Ok(Some(format!("no IPv6 socket opens: {error}"))),
        (_, Some(error)) => Ok(Some(unbound(&error))),
        (None, None) => Ok(None),
    }
}

/// Why `::1` cannot be bound.
fn unbound(error: &io::Error) -> String {
    match (error.raw_os_error(), switch()) {
        (Some(libc::EADDRNOTAVAIL), Some(switch)) => format!("`::1` is not there: `{switch}` is 1"),
        (Some(libc::EADDRNOTAVAIL), None) => "`::1` is not there: is the loopback interface up?".into(),
        _ => format!("`::1` takes no bind: {error}"),
    }
}

/// The setting that switches IPv6 off.
fn switch() -> Option<&'static str> {
    let settings = ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.lo.disable_ipv6"];
    settings.into_iter().find(|setting| is_one(setting).unwrap_or_default())
}

fn is_one(setting: &str) -> io::Result<bool> {
    let path = format!("/proc/sys/{}", setting.replace('.', "/"));
    Ok(fs::read_to_string(path)?.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, scope: &str, flags: u32) -> Address {
        let (address, length) = (text.parse().unwrap(), 64);
        Address { address, peer: None, prefix_length: length, broadcast: None, scope: scope.into(), flags }
    }

    #[test]
    fn a_tentative_address_is_listed_and_not_counted() {
        const TENTATIVE: u32 = 0x40;
        let interface = Interface {
            name: "eth0".into(),
            index: 2,
            mac: None,
            mtu: 1500,
            flags: vec![],
            oper_state: "UP",
            speed: None,
            addresses: vec![
                address("2001:db8::1", "global", TENTATIVE),
                address("fe80::1", "link", 0),
                address("10.0.0.1", "global", 0),
            ],
        };
        let found = addresses(&[interface]);
        assert!(found.link_local && !found.global && !found.loopback);
        assert_eq!(found.by_scope["global"][0]["address"], "2001:db8::1");
        assert_eq!(found.by_scope.len(), 2);
    }
}
