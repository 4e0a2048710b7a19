//! One reading of all links and addresses: `RTM_GETLINK` and `RTM_GETADDR` of rtnetlink(7), joined by index.
//!
//! The two tables are read one after the other; a link that comes or goes between is noticed, and both are read again.

use std::{collections::BTreeMap, io, net::IpAddr};

use crate::sys::{
    ethtool::Ethtool,
    netlink::{self, Dump, attributes, u16_at, u32_at},
};

use super::{Address, Interface, words};

/// How often tables that change while they are read are read again before the last reading is taken as it is.
const READINGS: usize = 5;

/// Bytes of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// `ifinfomsg` and an `IFLA_EXT_MASK` attribute that asks to leave statistics out.
const LINK_REQUEST: [u8; LINK_HEADER + 8] = {
    let mut request = [0; LINK_HEADER + 8];
    let (length, kind, mask) =
        (8u16.to_ne_bytes(), libc::IFLA_EXT_MASK.to_ne_bytes(), SKIP_STATS.to_ne_bytes());
    let mut at = 0;
    while at < 2 {
        request[LINK_HEADER + at] = length[at];
        request[LINK_HEADER + 2 + at] = kind[at];
        request[LINK_HEADER + 4 + at] = mask[at];
        request[LINK_HEADER + 6 + at] = mask[2 + at];
        at += 1;
    }
    request
};
const SKIP_STATS: u32 = 1 << 3;

/// All interfaces of this network namespace with their addresses, in the order of their index.
pub fn read() -> io::Result<Vec<Interface>> {
    let mut links = BTreeMap::new();
    for _ in 0..READINGS {
        links.clear();
        let mut whole = netlink::dump(libc::RTM_GETLINK, &LINK_REQUEST, |body| {
            links.extend(link(body).map(|link| (link.interface.index, link)));
        })? == Dump::Whole;
        whole &= netlink::dump(libc::RTM_GETADDR, &[0; ADDRESS_HEADER], |body| {
            let Some((index, address)) = address(body) else { return };
            match links.get_mut(&index) {
                Some(link) => link.interface.addresses.push(address),
                None => whole = false,
            }
        })? == Dump::Whole;
        if whole {
            break;
        }
    }
    Ok(finish(links))
}

/// An interface before what it stands on is known.
struct Link {
    interface: Interface,
    bits: u32,
    /// The link that it stands on, in this namespace.
    lower: Option<u32>,
}

fn finish(links: BTreeMap<u32, Link>) -> Vec<Interface> {
    let switched_off: Vec<u32> =
        links.values().filter(|link| link.bits & words::UP == 0).map(|link| link.interface.index).collect();
    let ethtool = Ethtool::open().ok();
    links
        .into_values()
        .map(|Link { mut interface, bits, lower }| {
            let lower_down = lower.is_some_and(|lower| switched_off.binary_search(&lower).is_ok());
            interface.flags = words::flags(bits, lower_down);
            interface.speed = ethtool.as_ref().and_then(|ethtool| ethtool.speed(&interface.name));
            interface
        })
        .collect()
}

fn link(body: &[u8]) -> Option<Link> {
    let hardware = u16_at(body, 2)?;
    let index = u32_at(body, 4)?;
    let bits = u32_at(body, 8)?;
    let mut interface = Interface {
        name: String::new(),
        index,
        mac: None,
        mtu: 0,
        flags: vec![],
        oper_state: words::oper_state(0),
        speed: None,
        addresses: vec![],
    };
    let (mut lower, mut elsewhere) = (None, false);
    for (kind, value) in attributes(body.get(LINK_HEADER..)?) {
        match kind {
            libc::IFLA_IFNAME => interface.name = text(value),
            libc::IFLA_ADDRESS => interface.mac = hardware_address(hardware, value),
            libc::IFLA_MTU => interface.mtu = u32_at(value, 0)?,
            libc::IFLA_OPERSTATE => interface.oper_state = words::oper_state(*value.first()?),
            libc::IFLA_LINK => lower = u32_at(value, 0),
            libc::IFLA_LINK_NETNSID => elsewhere = true,
            _ => {}
        }
    }
    let lower = lower.filter(|lower| *lower != 0 && !elsewhere);
    (!interface.name.is_empty()).then_some(Link { interface, bits, lower })
}

fn address(body: &[u8]) -> Option<(u32, Address)> {
    let family = i32::from(*body.first()?);
    let prefix_length = *body.get(1)?;
    let mut flags = u32::from(*body.get(2)?);
    let scope = words::scope(*body.get(3)?);
    let index = u32_at(body, 4)?;
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return None;
    }
    let (mut local, mut other, mut broadcast) = (None, None, None);
    for (kind, value) in attributes(body.get(ADDRESS_HEADER..)?) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => other = ip(value),
            libc::IFA_BROADCAST => broadcast = ip(value),
            libc::IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    // With one address only, that is the interface's own; with two that differ, IFA_ADDRESS is the other end.
    let address = local.or(other)?;
    let peer = other.filter(|other| *other != address);
    let broadcast = match broadcast {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    Some((index, Address { address, peer, prefix_length, broadcast, scope, flags }))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Tunnels have IP addresses for hardware addresses; `hardware` is an `ARPHRD_…`.
fn hardware_address(hardware: u16, bytes: &[u8]) -> Option<String> {
    const TUNNELS: [u16; 5] =
        [libc::ARPHRD_TUNNEL, libc::ARPHRD_SIT, libc::ARPHRD_IPGRE, libc::ARPHRD_TUNNEL6, ARPHRD_IP6GRE];
    const ARPHRD_IP6GRE: u16 = 823;
    if bytes.is_empty() {
        return None;
    }
    if TUNNELS.contains(&hardware)
        && let Some(address) = ip(bytes)
    {
        return Some(address.to_string());
    }
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_read_whole() {
        let interfaces = read().unwrap();
        let lo = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.has_flag("LOOPBACK"));
        assert_eq!(lo.mac.as_deref(), Some("00:00:00:00:00:00"));
        assert!(interfaces.is_sorted_by_key(|interface| interface.index));
    }

    #[test]
    fn a_tunnels_hardware_address_is_an_ip_address() {
        assert_eq!(hardware_address(libc::ARPHRD_SIT, &[10, 0, 0, 1]).unwrap(), "10.0.0.1");
        assert_eq!(hardware_address(libc::ARPHRD_ETHER, &[2, 0, 0, 0, 0, 255]).unwrap(), "02:00:00:00:00:ff");
        assert_eq!(hardware_address(libc::ARPHRD_NONE, &[]), None);
    }

    #[test]
    fn a_message_cut_short_is_no_interface() {
        assert!(link(&[0; 10]).is_none());
        assert!(address(&[2, 24, 0, 0, 1, 0, 0, 0]).is_none());
    }
}
