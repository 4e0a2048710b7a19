//! Which hosts are on a link of this machine: the longest matching route of the tables `local` and `main`, rtnetlink(7).
//!
//! Rules of policy routing are not followed: a host that only they put elsewhere is taken as on the link.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    io,
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Mac, table::by_hand};
use crate::{
    net::{icmp::Peer, interface::Interface},
    sys::netlink::{self, attributes, u32_at},
};

/// How a host is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a router, by a link on which nobody is asked for addresses, or not at all.
    Elsewhere,
    /// It is this machine.
    Here,
    /// On the link with this number.
    Link(usize),
}

/// An interface at whose link neighbours are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface's index.
    pub interface: u32,
    /// Its hardware address; `None` where that is not of Ethernet's kind, so that only the kernel can ask.
    pub mac: Option<Mac>,
    /// Its addresses that are in use, each with its network.
    addresses: Vec<(IpAddr, IpNet)>,
}

/// All routes, and the links that they lead to.
#[derive(Debug, Default)]
pub struct Routes {
    links: Vec<Link>,
    local: Table,
    main: Table,
    /// The networks that are here or on a link.
    near: Vec<IpNet>,
    /// Neighbours that were entered by hand: they need not be asked for.
    by_hand: HashSet<(u32, IpAddr)>,
}

/// Routes by network, with the lengths of prefixes that there are.
#[derive(Debug, Default)]
struct Table {
    routes: HashMap<IpNet, Vec<Route>>,
    lengths: [BTreeSet<Reverse<u8>>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    metric: u32,
    interface: u32,
    leads: Leads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leads {
    Here,
    Link,
    Elsewhere,
}

/// Bytes of `struct rtmsg`.
const HEADER: usize = 12;

impl Routes {
    /// Reads the kernel's tables.
    pub fn read(interfaces: &[Interface]) -> io::Result<Self> {
        let mut found = Self { links: interfaces.iter().filter_map(Link::of).collect(), ..Self::default() };
        for family in [libc::AF_INET, libc::AF_INET6].map(|family| u8::try_from(family).unwrap_or_default()) {
            let mut request = [0; HEADER];
            request[0] = family;
            netlink::dump(libc::RTM_GETROUTE, &request, |body| {
                // Without IPv6 the kernel answers with what it has, which are other families.
                if let Some((table, network, route)) = route(body).filter(|_| body.first() == Some(&family)) {
                    found.add(table, network, route);
                }
            })?;
        }
        let Self { main, near, .. } = &mut found;
        // A router knows many networks: those that lie in none of ours decide nothing.
        main.routes.retain(|network, _| near.iter().any(|near| near.contains(network)));
        found.by_hand = by_hand()?;
        Ok(found)
    }

    /// The links, by their numbers.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// How a host is reached.
    pub fn way(&self, peer: Peer) -> Way {
        let route = self.local.find(peer).or_else(|| self.main.find(peer));
        match route {
            Some(Route { leads: Leads::Here, .. }) => Way::Here,
            Some(Route { leads: Leads::Link, interface, .. }) => {
                let link = self.links.iter().position(|link| link.interface == interface);
                // Without an address of the family, nobody would answer.
                let link = link.filter(|link| self.links[*link].source(peer.address).is_some());
                link.map_or(Way::Elsewhere, Way::Link)
            }
            _ => Way::Elsewhere,
        }
    }

    /// Whether a host of a link was entered by hand: then nobody needs to be asked for its station.
    pub fn is_by_hand(&self, link: usize, address: IpAddr) -> bool {
        self.links.get(link).is_some_and(|link| self.by_hand.contains(&(link.interface, address)))
    }

    /// Whether a range may have hosts here or on a link: a quick look that spares the sweep of far networks a closer one.
    pub fn touches(&self, first: IpAddr, last: IpAddr) -> bool {
        let family = self.near.iter().filter(|network| network.addr().is_ipv4() == first.is_ipv4());
        family.into_iter().any(|network| network.network() <= last && first <= network.broadcast())
    }

    fn add(&mut self, table: u8, network: IpNet, mut route: Route) {
        if !self.links.iter().any(|link| link.interface == route.interface) && route.leads == Leads::Link {
            route.leads = Leads::Elsewhere;
        }
        let table = match table {
            libc::RT_TABLE_LOCAL => &mut self.local,
            libc::RT_TABLE_MAIN => &mut self.main,
            _ => return,
        };
        table.add(network, route);
        if route.leads != Leads::Elsewhere {
            self.near.push(network);
        }
    }
}

impl Table {
    fn add(&mut self, network: IpNet, route: Route) {
        self.lengths[usize::from(network.addr().is_ipv6())].insert(Reverse(network.prefix_len()));
        let routes = self.routes.entry(network).or_default();
        routes.push(route);
        routes.sort_unstable();
    }

    fn find(&self, peer: Peer) -> Option<Route> {
        let lengths = &self.lengths[usize::from(peer.address.is_ipv6())];
        lengths.iter().find_map(|Reverse(length)| {
            let network = IpNet::new(peer.address, *length).ok()?.trunc();
            let mut routes = self.routes.get(&network)?.iter().copied();
            routes.find(|route| peer.scope == 0 || peer.scope == route.interface)
        })
    }
}

impl Link {
    /// `None` where nobody is asked for addresses.
    fn of(interface: &Interface) -> Option<Self> {
        if ["LOOPBACK", "POINTOPOINT", "NOARP"].iter().any(|flag| interface.has_flag(flag)) {
            return None;
        }
        let used = interface.addresses.iter().filter(|own| !own.is_tentative() && !own.is_duplicate());
        let addresses = used.map(|own| (own.address, own.network())).collect();
        let mac = interface.mac.as_ref().and_then(|mac| mac.parse().ok());
        Some(Self { interface: interface.index, mac, addresses })
    }

    /// The address that a host is asked from: of its own network, else of the link, else any of its family.
    pub fn source(&self, target: IpAddr) -> Option<IpAddr> {
        let family = || self.addresses.iter().filter(|(own, _)| own.is_ipv4() == target.is_ipv4());
        let near = family().find(|(_, network)| network.contains(&target));
        let of_link =
            || family().find(|(own, _)| matches!(own, IpAddr::V6(own) if own.is_unicast_link_local()));
        near.or_else(of_link).or_else(|| family().next()).map(|(own, _)| *own)
    }

    /// Whether it has this address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }
}

/// The table, network and meaning of an entry; `None` for what routes no packet of ours.
fn route(body: &[u8]) -> Option<(u8, IpNet, Route)> {
    let [family, length, _, tos, table, _, _, kind, ..] = *body else { return None };
    let flags = u32_at(body, 8)?;
    if tos != 0 || flags & (libc::RTM_F_CLONED | RTNH_F_DEAD) != 0 {
        return None;
    }
    let v6 = i32::from(family) == libc::AF_INET6;
    let mut to = if v6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
    let (mut interface, mut metric, mut routed) = (0, 0, false);
    for (attribute, value) in attributes(body.get(HEADER..)?) {
        match attribute {
            libc::RTA_DST => to = address(value)?,
            libc::RTA_OIF => interface = u32_at(value, 0)?,
            libc::RTA_PRIORITY => metric = u32_at(value, 0)?,
            libc::RTA_GATEWAY | libc::RTA_MULTIPATH | RTA_VIA | RTA_ENCAP => routed = true,
            _ => {}
        }
    }
    let leads = match kind {
        libc::RTN_LOCAL => Leads::Here,
        libc::RTN_UNICAST if !routed && interface != 0 => Leads::Link,
        _ => Leads::Elsewhere,
    };
    Some((table, IpNet::new(to, length).ok()?.trunc(), Route { metric, interface, leads }))
}

pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().copied().map(IpAddr::from),
        16 => bytes.first_chunk::<16>().copied().map(IpAddr::from),
        _ => None,
    }
}

const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
const RTNH_F_DEAD: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn link(interface: u32, addresses: &[&str]) -> Link {
        let addresses = addresses.iter().map(|own| (net(own).addr(), net(own).trunc())).collect();
        Link { interface, mac: None, addresses }
    }

    fn peer(address: &str, scope: u32) -> Peer {
        Peer { address: address.parse().unwrap(), scope }
    }

    #[test]
    fn the_longest_prefix_decides_and_the_local_table_comes_first() {
        let links = vec![link(2, &["10.1.0.1/16", "fd01::1/64", "fe80::1/64"]), link(3, &["fe80::2/64"])];
        let mut routes = Routes { links, ..Routes::default() };
        let route = |interface, leads| Route { metric: 0, interface, leads };
        routes.add(libc::RT_TABLE_LOCAL, net("10.1.0.1/32"), route(2, Leads::Here));
        routes.add(libc::RT_TABLE_LOCAL, net("10.1.255.255/32"), route(2, Leads::Elsewhere));
        routes.add(libc::RT_TABLE_MAIN, net("10.1.0.0/16"), route(2, Leads::Link));
        routes.add(libc::RT_TABLE_MAIN, net("10.1.7.0/24"), route(2, Leads::Elsewhere));
        routes.add(libc::RT_TABLE_MAIN, net("0.0.0.0/0"), route(2, Leads::Elsewhere));
        routes.add(libc::RT_TABLE_MAIN, net("fd01::/64"), route(2, Leads::Link));
        routes.add(libc::RT_TABLE_MAIN, net("fe80::/64"), route(2, Leads::Link));
        routes.add(libc::RT_TABLE_MAIN, net("fe80::/64"), route(3, Leads::Link));
        routes.add(libc::RT_TABLE_MAIN, net("10.3.0.0/24"), route(3, Leads::Link));
        routes.by_hand.insert((2, "10.1.0.9".parse().unwrap()));
        for (host, scope, way) in [
            ("10.1.0.1", 0, Way::Here),
            ("10.1.0.2", 0, Way::Link(0)),
            ("10.1.0.9", 0, Way::Link(0)),
            ("10.1.7.2", 0, Way::Elsewhere),
            ("10.1.255.255", 0, Way::Elsewhere),
            ("10.2.0.1", 0, Way::Elsewhere),
            ("10.3.0.1", 0, Way::Elsewhere),
            ("fd01::7", 0, Way::Link(0)),
            ("fe80::7", 2, Way::Link(0)),
            ("fe80::7", 3, Way::Link(1)),
            ("fe80::7", 4, Way::Elsewhere),
        ] {
            assert_eq!(routes.way(peer(host, scope)), way, "{host}");
        }
        let by_hand = |host: &str| routes.is_by_hand(0, host.parse().unwrap());
        assert!(by_hand("10.1.0.9") && !by_hand("10.1.0.2"));
        let touches = |first: &str, last: &str| routes.touches(first.parse().unwrap(), last.parse().unwrap());
        assert!(touches("10.0.0.0", "10.1.0.0") && touches("10.1.255.255", "10.9.0.0"));
        assert!(!touches("10.0.0.0", "10.0.255.255") && !touches("11.0.0.0", "11.0.0.9"));
    }

    #[test]
    fn a_host_is_asked_from_its_own_network() {
        let link = link(2, &["10.1.0.1/24", "10.2.0.1/24", "fd01::1/64", "fe80::1/64"]);
        for (target, source) in [
            ("10.2.0.9", "10.2.0.1"),
            ("10.9.0.9", "10.1.0.1"),
            ("fd01::9", "fd01::1"),
            ("fd02::9", "fe80::1"),
        ] {
            assert_eq!(link.source(target.parse().unwrap()), source.parse().ok(), "{target}");
        }
    }

    #[test]
    fn a_message_cut_short_is_no_route() {
        assert_eq!(route(&[2, 24, 0, 0, 254, 2, 253, 1]), None);
        assert_eq!(route(&[]), None);
    }
}
