//! Opens TCP and UDP sockets to listen on. `SO_REUSEPORT` stays off: closing one member drops the connections queued at it.

use std::{io, net::SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Type};

use super::{Net, Socket};
use crate::sys::rights::{self, Right};

/// Opens one address; `only_v6` where another socket has its IPv4 side.
pub(super) fn open(net: Net, at: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = bound(net, at, only_v6)?;
    match net {
        Net::Tcp => {
            socket.listen(BACKLOG)?;
            Ok(Socket::Tcp(socket.into()))
        }
        Net::Udp => {
            // A burst waits here until it is taken; the system cuts this to `net.core.rmem_max`, and no more is asked of it.
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            Ok(Socket::Udp(socket.into()))
        }
    }
}

/// A socket that has its address; of TCP nobody can connect to it yet.
pub(super) fn bound(net: Net, at: SocketAddr, only_v6: bool) -> io::Result<socket2::Socket> {
    let (kind, protocol) = match net {
        Net::Tcp => (Type::STREAM, Protocol::TCP),
        Net::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = socket2::Socket::new(Domain::for_address(at), kind.nonblocking().cloexec(), Some(protocol))?;
    if at.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    match net {
        Net::Tcp => {
            // A port whose old connections are in TIME_WAIT can be listened on again.
            socket.set_reuse_address(true)?;
            // Accepted connections inherit it.
            socket.set_tcp_nodelay(true)?;
        }
        Net::Udp => {
            // Tells the address that a datagram was sent to, so that the answer leaves from it.
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            if at.is_ipv6() {
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
            // Tells with each datagram how many were dropped before it.
            setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        }
    }
    rights::with(Right::NetBindService, || socket.bind(&at.into()))?;
    Ok(socket)
}

/// As many as the system allows; it cuts this to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// What a UDP listener asks for; the kernel counts a small datagram as some 800 bytes.
const RECEIVE_BUFFER: usize = 4 << 20;
