//! What raw TCP sockets need and nobody wraps: the source that a route gives, and checksums by the kernel. See raw(7), ipv6(7).
#![allow(unsafe_code, reason = "connect to no address, and a socket option without a wrapper")]

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

const LENGTH: libc::socklen_t = 16;
const _: () = assert!(size_of::<libc::sockaddr_in>() == LENGTH as usize);

/// From which address of ours packets to a host go, by its route. The socket must be one of datagrams or raw; nothing is sent.
pub fn source_of(socket: BorrowedFd<'_>, host: Ipv4Addr) -> io::Result<Ipv4Addr> {
    // A connected socket would keep its source.
    connect(socket, libc::AF_UNSPEC, Ipv4Addr::UNSPECIFIED)?;
    connect(socket, libc::AF_INET, host)?;
    let mut own = address(libc::AF_INET, Ipv4Addr::UNSPECIFIED);
    let mut length = LENGTH;
    let target = (&raw mut own).cast();
    // SAFETY: `target` points to `length` writable bytes, and the kernel writes no more than that.
    let result = unsafe { libc::getsockname(socket.as_raw_fd(), target, &raw mut length) };
    if result == 0 {
        Ok(Ipv4Addr::from(u32::from_be(own.sin_addr.s_addr)))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has the kernel write and check the checksum that stands at an offset of what a raw IPv6 socket carries.
pub fn checksum_at(socket: BorrowedFd<'_>, offset: u8) -> io::Result<()> {
    let offset = libc::c_int::from(offset);
    let length = libc::socklen_t::try_from(size_of_val(&offset)).map_err(io::Error::other)?;
    let value = (&raw const offset).cast();
    // SAFETY: `value` points to `length` readable bytes for the time of the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_CHECKSUM, value, length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn connect(socket: BorrowedFd<'_>, family: libc::c_int, host: Ipv4Addr) -> io::Result<()> {
    let to = address(family, host);
    // SAFETY: `to` is a socket address of this length, and lives until the call returns.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), LENGTH) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn address(family: libc::c_int, host: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(family).unwrap_or_default(),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(host).to_be() },
        sin_zero: [0; 8],
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd as _};

    use super::*;

    #[test]
    fn each_host_has_the_source_of_its_own_route() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for host in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::LOCALHOST] {
            let connected = UdpSocket::bind("0.0.0.0:0").unwrap();
            connected.connect((host, 9)).unwrap();
            let wanted = connected.local_addr().unwrap().ip();
            assert_eq!(source_of(socket.as_fd(), host).unwrap(), wanted, "{host}");
        }
    }
}
