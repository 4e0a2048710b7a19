//! Packet sockets, packet(7): the packets of one protocol at one interface, without their link headers. What stands in them
//! is for the caller.
#![allow(unsafe_code, reason = "no crate makes an address of the link layer")]

use std::{io, mem, ptr};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// Opens a socket that receives, once it is bound, what a classic BPF program lets in. Needs `CAP_NET_RAW`.
pub fn open(filter: &[SockFilter]) -> io::Result<Socket> {
    // Of protocol 0 there is nothing to receive, so nothing comes in before the filter stands.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(filter)?;
    Ok(socket)
}

/// The address of a station behind an interface: the protocol is an Ethernet type; no station for `bind`.
pub fn address(protocol: u16, interface: u32, station: Option<[u8; 6]>) -> SockAddr {
    const LENGTH: libc::socklen_t = 20;
    const _: () = assert!(size_of::<libc::sockaddr_ll>() == LENGTH as usize);
    let mut octets = [0; 8];
    if let Some(station) = station {
        octets[..6].copy_from_slice(&station);
    }
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().unwrap_or_default(),
        sll_protocol: protocol.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if station.is_some() { 6 } else { 0 },
        sll_addr: octets,
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `SockAddrStorage` is a `sockaddr_storage` and nothing else, which has room for every address and its alignment.
    unsafe { ptr::from_mut(&mut storage).cast::<libc::sockaddr_ll>().write(address) };
    const { assert!(mem::align_of::<libc::sockaddr_ll>() <= mem::align_of::<SockAddrStorage>()) };
    // SAFETY: the storage holds an address of this length, whose family says what it is.
    unsafe { SockAddr::new(storage, LENGTH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_interface_protocol_and_station() {
        let address = address(0x0806, 7, Some([1, 2, 3, 4, 5, 6]));
        assert_eq!(address.family(), libc::sa_family_t::try_from(libc::AF_PACKET).unwrap());
        // SAFETY: the family says that it is one, and its length is that of one.
        let read = unsafe { address.as_ptr().cast::<libc::sockaddr_ll>().read() };
        assert_eq!((read.sll_ifindex, read.sll_protocol, read.sll_halen), (7, 0x0806u16.to_be(), 6));
        assert_eq!(read.sll_addr, [1, 2, 3, 4, 5, 6, 0, 0]);
    }
}
