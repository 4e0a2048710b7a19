//! Datagrams of a listener, UDP or Unix: who sent each, to which of our addresses, and the answer back the same way.
//!
//! ip(7) and ipv6(7), `IP_PKTINFO`: the answer leaves from the address that the client spoke to. A datagram is whole or it is
//! told to be cut; sizes from 0 to the largest are exact.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, RawFd},
    time::Duration,
};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike as _, SockaddrStorage, UnixAddr, recvmsg,
    sendmsg,
};
use tokio::{
    io::Interest,
    net::{UdpSocket, UnixDatagram},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{listen::Socket, stream::Peer};

/// The largest datagram that is taken whole; a Unix one can be larger than a UDP one.
pub const LARGEST: usize = 256 << 10;

/// The pause after an error of a receive.
const PAUSE: Duration = Duration::from_millis(100);

/// A datagram socket that many peers speak to.
#[derive(Clone, Copy, Debug)]
pub enum Port<'a> {
    /// UDP.
    Udp(&'a UdpSocket),
    /// Unix.
    Unix(&'a UnixDatagram),
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// How many bytes of the buffer it fills.
    pub length: usize,
    /// Who sent it; `None`: a Unix socket without a name, which cannot be answered.
    pub from: Option<Peer>,
    /// Which of our addresses it was sent to.
    pub to: Option<Local>,
    /// Whether it may have been larger than the buffer.
    pub is_cut: bool,
}

/// One of our addresses, and the interface that a link-local one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address.
    pub ip: IpAddr,
    interface: u32,
}

impl<'a> Port<'a> {
    /// The datagram side of a listener; `None` for one that takes connections.
    pub fn of(socket: &'a Socket) -> Option<Self> {
        match socket {
            Socket::Udp(udp) => Some(Self::Udp(udp)),
            Socket::Unixgram(unix) => Some(Self::Unix(unix)),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// Waits for a datagram and reads it into the buffer, which is larger than the largest that is taken.
    pub async fn receive(self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let fd = self.fd();
        match self {
            Self::Udp(udp) => udp.async_io(Interest::READABLE, || receive(fd, buffer)).await,
            Self::Unix(unix) => receive_unix(unix, buffer).await,
        }
    }

    /// Hands on each datagram that comes, until it is told to stop. An error of a receive is about an earlier answer, or a
    /// lack of memory: it is told, and after a pause the port goes on.
    pub async fn serve(
        self,
        stop: &CancellationToken,
        mut take: impl FnMut(Arrived, &[u8]) + Send,
        mut told: impl FnMut(io::Error) + Send,
    ) {
        let mut buffer = vec![0; LARGEST + 1];
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.receive(&mut buffer) => received,
            };
            match received {
                Ok(arrived) => take(arrived, &buffer[..arrived.length]),
                Err(error) => {
                    told(error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends a datagram to a peer from one of our addresses; waits while the kernel's buffers are full.
    pub async fn send(self, bytes: &[u8], to: &Peer, from: Option<Local>) -> io::Result<()> {
        let fd = self.fd();
        match self {
            Self::Udp(udp) => udp.async_io(Interest::WRITABLE, || send(fd, bytes, to, from)).await,
            Self::Unix(unix) => unix.async_io(Interest::WRITABLE, || send(fd, bytes, to, from)).await,
        }
    }

    /// The same without waiting.
    pub fn try_send(self, bytes: &[u8], to: &Peer, from: Option<Local>) -> io::Result<()> {
        send(self.fd(), bytes, to, from)
    }

    fn fd(self) -> RawFd {
        match self {
            Self::Udp(udp) => udp.as_raw_fd(),
            Self::Unix(unix) => unix.as_raw_fd(),
        }
    }
}

fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<Arrived> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let to = message.cmsgs().ok().and_then(|mut parts| parts.find_map(|part| local(&part)));
    Ok(Arrived {
        length: message.bytes,
        from: message.address.as_ref().and_then(peer),
        to,
        is_cut: message.flags.contains(MsgFlags::MSG_TRUNC),
    })
}

fn local(part: &ControlMessageOwned) -> Option<Local> {
    match part {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
            Some(Local { ip: ip.into(), interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let is_multicast = ip.is_multicast();
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            (!is_multicast).then(|| Local { ip: IpAddr::V6(ip).to_canonical(), interface })
        }
        _ => None,
    }
}

fn peer(address: &SockaddrStorage) -> Option<Peer> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(Peer::Ip(SocketAddr::V4((*v4).into())));
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Some(Peer::ip(SocketAddr::V6((*v6).into())));
    }
    None
}

/// Not by recvmsg: nix does not take senders without a name. So a buffer that is filled tells that it was cut.
async fn receive_unix(unix: &UnixDatagram, buffer: &mut [u8]) -> io::Result<Arrived> {
    let (length, from) = unix.recv_from(buffer).await?;
    let name = match (from.as_pathname(), from.as_abstract_name()) {
        (Some(path), _) => UnixAddr::new(path).ok(),
        (_, Some(name)) => UnixAddr::new_abstract(name).ok(),
        _ => None,
    };
    Ok(Arrived { length, from: name.map(Peer::Unix), to: None, is_cut: length == buffer.len() })
}

fn send(fd: RawFd, bytes: &[u8], to: &Peer, from: Option<Local>) -> io::Result<()> {
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let address = match to {
        Peer::Unix(address) => return Ok(sendmsg(fd, &parts, &[], flags, Some(address)).map(drop)?),
        Peer::Ip(address) => SockaddrStorage::from(fit(*address, fd)),
    };
    let v4;
    let v6;
    let control = match from {
        Some(Local { ip: IpAddr::V4(ip), .. }) => {
            let spec = libc::in_addr { s_addr: u32::from(ip).to_be() };
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: spec,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some(Local { ip: IpAddr::V6(ip), interface }) => {
            let ip = libc::in6_addr { s6_addr: ip.octets() };
            v6 = libc::in6_pktinfo { ipi6_addr: ip, ipi6_ifindex: interface };
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
        None => None,
    };
    sendmsg(fd, &parts, control.as_slice(), flags, Some(&address))?;
    Ok(())
}

/// An IPv4 peer of a dual-stack socket in IPv6's clothes again.
fn fit(address: SocketAddr, fd: RawFd) -> SocketAddr {
    let is_v6 = || {
        nix::sys::socket::getsockname::<SockaddrStorage>(fd)
            .is_ok_and(|ours| ours.family() == Some(nix::sys::socket::AddressFamily::Inet6))
    };
    match address {
        SocketAddr::V4(v4) if is_v6() => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        listen::{Listen, Pool},
        resolve::Resolver,
    };

    /// Answers one datagram that was sent to `to` on a listener bound to `bind`, and tells where the answer came from.
    async fn answer_from(bind: &str, to: &str, local: &str) -> SocketAddr {
        let listen = Listen { path: "listen".into(), bind: bind.parse().unwrap() };
        let listener = Pool::default().open(&listen, &Resolver::default()).await.unwrap().remove(0);
        let port = Port::of(listener.socket()).unwrap();
        let client = UdpSocket::bind(local).await.unwrap();
        let to = SocketAddr::new(to.parse().unwrap(), listener.local().unwrap().port());
        client.send_to(b"x", to).await.unwrap();
        let mut buffer = [0; 16];
        let arrived = port.receive(&mut buffer).await.unwrap();
        assert_eq!(arrived.from, Some(Peer::Ip(client.local_addr().unwrap())));
        port.send(b"y", &arrived.from.unwrap(), arrived.to).await.unwrap();
        client.recv_from(&mut buffer).await.unwrap().1
    }

    /// Case 48 of the forward's list.
    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        let v4 = answer_from("udp://0.0.0.0:0", "127.0.0.3", "127.0.0.1:0").await;
        assert_eq!(v4.ip(), "127.0.0.3".parse::<IpAddr>().unwrap());
        let mapped = answer_from("udp://[::]:0", "127.0.0.3", "127.0.0.1:0").await;
        assert_eq!(mapped.ip(), "127.0.0.3".parse::<IpAddr>().unwrap());
        let v6 = answer_from("udp://[::]:0", "::1", "[::1]:0").await;
        assert_eq!(v6.ip(), Ipv6Addr::LOCALHOST);
    }
}
