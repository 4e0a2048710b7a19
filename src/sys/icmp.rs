//! Options of ICMP sockets that no crate wraps: filters, path MTU, memory figures, and random bytes. See raw(7), ip(7), ipv6(7).
#![allow(unsafe_code, reason = "setsockopt, getsockopt and getrandom with structures of the kernel's own")]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
};

use socket2::{Domain, MsgHdr, Socket, Type};

use super::control::push;

const ICMP_FILTER: libc::c_int = 1;
const ICMP6_FILTER: libc::c_int = 1;
const ECHO_REPLY: u32 = 0;
const ECHO_REPLY_V6: usize = 129;
/// The control message with the number that a packet's transmit stamp carries: `SCM_TS_OPT_ID`.
pub const STAMP_NUMBER: libc::c_int = 81;
/// A send that only looks for a way to go.
const MSG_PROBE: libc::c_int = 0x10;
/// The index of the drop count among the figures of `SO_MEMINFO`.
const DROPS: usize = 8;

/// Lets a raw ICMP socket receive echo replies only.
pub fn only_echo_replies(socket: impl AsFd) -> io::Result<()> {
    // A set bit is a type that is kept away.
    let blocked: u32 = !(1 << ECHO_REPLY);
    set(socket, libc::SOL_RAW, ICMP_FILTER, &blocked)
}

/// Lets a raw `ICMPv6` socket receive echo replies only.
pub fn only_echo_replies_v6(socket: impl AsFd) -> io::Result<()> {
    let mut blocked = [u32::MAX; 8];
    blocked[ECHO_REPLY_V6 / 32] &= !(1 << (ECHO_REPLY_V6 % 32));
    set(socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
}

/// Says whether packets of this socket may be split, here or on their way.
pub fn dont_fragment(socket: impl AsFd, v6: bool, on: bool) -> io::Result<()> {
    if v6 {
        let mode = if on { libc::IPV6_PMTUDISC_DO } else { libc::IPV6_PMTUDISC_DONT };
        set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &mode)?;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &libc::c_int::from(on))
    } else {
        let mode = if on { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
        set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &mode)
    }
}

/// How many packets the kernel has dropped because this socket's buffer was full; it wraps around.
pub fn drops(socket: impl AsFd) -> io::Result<u32> {
    let mut figures = [0u32; DROPS + 1];
    let size = size_of_val(&figures);
    let mut length = libc::socklen_t::try_from(size).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    let target = figures.as_mut_ptr().cast();
    // SAFETY: `target` points to `length` writable bytes, and the kernel writes no more than that.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, target, &raw mut length) };
    if result == 0 { Ok(figures[DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// Wants stamps of this kernel's clock for each packet that comes and, where a bit says so, for each that leaves.
pub fn stamp(socket: impl AsFd, numbered: bool) -> io::Result<()> {
    let mut flags = libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_TX_SOFTWARE;
    flags |= libc::SOF_TIMESTAMPING_OPT_TSONLY;
    if numbered {
        flags |= libc::SOF_TIMESTAMPING_OPT_ID;
    }
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &flags)
}

/// Whether the kernel takes this control message of four bytes with a packet. The number of a transmit stamp it takes since
/// Linux 6.13; older ones count by themselves.
pub fn takes(kind: libc::c_int) -> bool {
    let ask = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        stamp(&socket, true)?;
        let mut control = vec![];
        push(&mut control, libc::SOL_SOCKET, kind, &0u32.to_ne_bytes());
        let to = SocketAddr::from(([127, 0, 0, 1], 9)).into();
        let message = MsgHdr::new().with_addr(&to).with_control(&control);
        // With these two flags and without a byte nothing is sent.
        socket.sendmsg(&message, libc::MSG_CONFIRM | MSG_PROBE).map(|_| ())
    };
    // It reads control messages before it looks for a way to go.
    !matches!(ask(), Err(error) if error.raw_os_error() == Some(libc::EINVAL))
}

/// A key that nobody else knows.
pub fn random_key() -> io::Result<[u64; 2]> {
    let mut key = [0u64; 2];
    let size = size_of_val(&key);
    loop {
        // SAFETY: `key` has `size` writable bytes, and every pattern of them is a valid value.
        let read = unsafe { libc::getrandom(key.as_mut_ptr().cast(), size, 0) };
        let error = io::Error::last_os_error();
        if usize::try_from(read) == Ok(size) {
            return Ok(key);
        } else if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn set<T>(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` points to `length` readable bytes for the time of the call.
    let result = unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
