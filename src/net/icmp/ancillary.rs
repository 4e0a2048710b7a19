//! Addresses and sources as the kernel takes them in system calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::sys::socket::SockaddrStorage;

use super::{Peer, Source};

/// Who sent a packet.
pub(super) fn peer_of(address: &SockaddrStorage) -> Option<Peer> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(Peer::from(IpAddr::from(v4.ip())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(Peer::from(SocketAddr::V6(SocketAddrV6::new(v6.ip(), 0, 0, v6.scope_id()))))
}

/// Where an IPv4 packet is to be sent from, see ip(7).
pub(super) fn packet_info_v4(source: Source) -> Option<libc::in_pktinfo> {
    let (index, address) = match source {
        Source::Address(IpAddr::V4(address), _) => (0, address),
        Source::Address(IpAddr::V6(_), _) => return None,
        Source::Interface(index) => (index, Ipv4Addr::UNSPECIFIED),
    };
    let address = libc::in_addr { s_addr: u32::from(address).to_be() };
    let index = index.try_into().ok()?;
    Some(libc::in_pktinfo {
        ipi_ifindex: index,
        ipi_spec_dst: address,
        ipi_addr: libc::in_addr { s_addr: 0 },
    })
}

/// Where an IPv6 packet is to be sent from, see ipv6(7).
pub(super) fn packet_info_v6(source: Source) -> Option<libc::in6_pktinfo> {
    let (index, address) = match source {
        Source::Address(IpAddr::V6(address), scope) => (scope, address),
        Source::Address(IpAddr::V4(_), _) => return None,
        Source::Interface(index) => (index, Ipv6Addr::UNSPECIFIED),
    };
    Some(libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: address.octets() }, ipi6_ifindex: index })
}
