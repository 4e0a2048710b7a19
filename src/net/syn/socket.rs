//! One raw TCP socket, the ports it asks from, and the kernel's word on where packets go. Needs `CAP_NET_RAW`.
//!
//! The ports are bound and nobody listens there: no other program gets them, and the kernel itself answers each SYN/ACK
//! with the RST that closes what was half opened. A filter keeps all other TCP packets of the machine out of the buffer.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
        sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;

use super::packet::{self, Answer, Quote};
use crate::{
    net::{
        Error,
        icmp::{
            Failure, Peer,
            drops::{self, Drops},
        },
    },
    outcome::Reason,
    sys::{
        self,
        datagram::Batch,
        rights::{self, Right},
    },
};

/// A raw socket of one family.
pub(super) struct SynSocket {
    socket: OwnedFd,
    v6: bool,
    /// Asked for the source of each packet; nothing is sent over it.
    routes: Socket,
    /// Holds the ports.
    _holders: Vec<Socket>,
    /// The ports to ask from: an answer's port says which time it answers.
    pub(super) ports: Vec<u16>,
    batch: Batch,
    control: Vec<u8>,
    drops: Drops,
}

/// An answer that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) peer: Peer,
    pub(super) answer: Answer,
    pub(super) stamp: Option<u64>,
}

/// Ports to ask from where there are so many, one for each time that a host is asked; then from the first again.
const PORTS: usize = 8;
/// What we want of the receive buffer: room for many thousands of answers.
const WANTED_BUFFER: usize = 8 << 20;
/// What an answer costs of the receive buffer, measured.
const ANSWER_COST: usize = 834;
/// The longest headers, and a little data.
const SLOT: usize = 256;
const CONTROL: usize = 512;

impl SynSocket {
    /// Opens a socket of a family that asks this port.
    pub(super) fn open(v6: bool, port: u16) -> Result<Self, Error> {
        Self::try_open(v6, port).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => Error::NoPort { source },
            _ => Error::Open { what: "a raw TCP socket".to_owned(), source },
        })
    }

    fn try_open(v6: bool, port: u16) -> io::Result<Self> {
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let raw = |protocol| rights::with(Right::NetRaw, || Socket::new(domain, Type::RAW, Some(protocol)));
        let socket = raw(Protocol::TCP)?;
        let routes = raw(Protocol::from(libc::IPPROTO_RAW))?;
        let (holders, ports) = hold(domain, port)?;
        socket.attach_filter(&filter(v6, &ports))?;
        socket.set_nonblocking(true)?;
        if v6 {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
            sys::syn::checksum_at(socket.as_fd(), packet::CHECKSUM_AT)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // The larger one needs CAP_NET_ADMIN; what we really got is read back by `window`.
        if setsockopt(&socket, sockopt::RcvBufForce, &WANTED_BUFFER).is_err() {
            socket.set_recv_buffer_size(WANTED_BUFFER)?;
        }
        let witness = v6.then(|| drops::witness(Protocol::TCP)).transpose()?;
        if let Some(witness) = &witness {
            sys::syn::checksum_at(witness.as_fd(), packet::CHECKSUM_AT)?;
        }
        let drops = Drops::new(&socket, witness)?;
        let (socket, batch, control) =
            (socket.into(), Batch::new(sys::datagram::MOST * SLOT), vec![0; CONTROL]);
        Ok(Self { socket, v6, routes, _holders: holders, ports, batch, control, drops })
    }

    /// How many answers the receive buffer holds, with room to spare.
    pub(super) fn window(&self) -> usize {
        let bytes = nix::sys::socket::getsockopt(&self.socket, sockopt::RcvBuf).unwrap_or_default();
        (bytes / (2 * ANSWER_COST)).max(1)
    }

    /// Asks for another receive buffer; the kernel has a least size of its own.
    pub(super) fn set_buffer(&self, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(&self.socket, sockopt::RcvBuf, &bytes)?)
    }

    /// How many packets this machine has lost before we could read them, since the last time we asked.
    pub(super) fn new_drops(&mut self) -> u32 {
        self.drops.fresh(&self.socket)
    }

    /// Waits until something is there to be read. Only then does the runtime look at the socket: while much comes, each
    /// packet would wake a thread that has nothing to do.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let interest = Interest::READABLE.add(Interest::ERROR);
        let watched = sys::interest::watch(self.socket.as_fd(), interest)?;
        watched.ready(interest).await.map(drop)
    }

    /// Reads a batch; hands over each answer, and `None` for what is none. Whether more may wait.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Option<Arrived>)) -> io::Result<bool> {
        let more = match self.batch.receive(self.socket.as_fd(), SLOT, true) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            other => other?,
        };
        for received in self.batch.iter() {
            let answer =
                if self.v6 { packet::parse(received.bytes) } else { packet::parse_v4(received.bytes) };
            let answer = answer.filter(|_| !received.is_cut);
            let peer = received.from.as_socket().map(Peer::from);
            let arrived = peer.zip(answer);
            take(arrived.map(|(peer, answer)| Arrived { peer, answer, stamp: received.stamp }));
        }
        Ok(more)
    }

    /// Reads one error: the host that was asked, what the error quotes of the SYN, and what it says.
    pub(super) fn receive_error(&mut self) -> Option<(Peer, Option<Quote>, Failure)> {
        let mut buffer = [0; SLOT];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut self.control), flags).ok()?;
        let mut failure = Failure { reason: Reason::Io, offender: None, local: true };
        for part in message.cmsgs().into_iter().flatten() {
            match part {
                ControlMessageOwned::Ipv4RecvErr(error, offender) => {
                    let offender = offender.map(|address| SockaddrIn::from(address).ip().into());
                    failure = Failure::of(&error, offender);
                }
                ControlMessageOwned::Ipv6RecvErr(error, offender) => {
                    let offender = offender.map(|address| SockaddrIn6::from(address).ip().into());
                    failure = Failure::of(&error, offender);
                }
                _ => {}
            }
        }
        let asked = message.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), 0)));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
        });
        let length = message.bytes.min(SLOT);
        let nobody = Peer::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
        Some((asked.map_or(nobody, Peer::from), packet::parse_quote(&buffer[..length]), failure))
    }

    /// Sends a SYN. An error that comes back is the kernel's word on this very packet, if `drain` reads all errors that
    /// wait, and says whether there were any.
    pub(super) fn send(
        &mut self,
        peer: Peer,
        (from, to, sequence): (u16, u16, u32),
        mut drain: impl FnMut(&mut Self) -> bool,
    ) -> io::Result<()> {
        let mut segment = packet::build(from, to, sequence);
        let mut info = None;
        if let IpAddr::V4(host) = peer.address {
            let source = sys::syn::source_of(self.routes.as_fd(), host)?;
            packet::seal(&mut segment, source, host);
            info = Some(libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            });
        }
        let to = SockaddrStorage::from(peer.socket_address());
        let (parts, flags) = ([IoSlice::new(&segment)], MsgFlags::MSG_DONTWAIT);
        let control = info.as_ref().map(ControlMessage::Ipv4PacketInfo);
        let mut empty_handed = 0;
        for _ in 0..MOST_TRIES {
            let fd = self.socket.as_raw_fd();
            match sendmsg(fd, &parts, control.as_slice(), flags, Some(&to)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error @ (Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM)) => return Err(error.into()),
                Err(error) => {
                    // The first error may be left over from a queue that was read already.
                    empty_handed += u32::from(!drain(self));
                    if empty_handed > 1 {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }
}

/// More left-over errors than this in front of one packet: send it a little later.
const MOST_TRIES: u32 = 64;

/// Binds ports that nobody else gets, none of them the one that is asked: a machine may ask itself.
fn hold(domain: Domain, port: u16) -> io::Result<(Vec<Socket>, Vec<u16>)> {
    let any: IpAddr =
        if domain == Domain::IPV6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let (mut holders, mut ports) = (vec![], vec![]);
    while ports.len() < PORTS {
        let holder = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if domain == Domain::IPV6 {
            holder.set_only_v6(true)?;
        }
        match holder.bind(&SocketAddr::from((any, 0)).into()) {
            // Fewer do: then a late answer may be taken for one to a later question.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !ports.is_empty() => break,
            bound => bound?,
        }
        let bound = holder.local_addr()?.as_socket().map_or(0, |address| address.port());
        ports.extend(Some(bound).filter(|bound| *bound != port));
        holders.push(holder);
    }
    Ok((holders, ports))
}

/// Lets packets to these ports through and nothing else. A raw IPv4 socket sees the IP header, a raw IPv6 socket does not.
fn filter(v6: bool, ports: &[u16]) -> Vec<SockFilter> {
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_HALF_BEHIND: u16 = 0x48;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const TO: u32 = 2;
    let mut program = if v6 {
        vec![SockFilter::new(LOAD_HALF, 0, 0, TO)]
    } else {
        vec![SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0), SockFilter::new(LOAD_HALF_BEHIND, 0, 0, TO)]
    };
    for (at, port) in (0u8..).zip(ports) {
        let rest = u8::try_from(ports.len()).unwrap_or(u8::MAX) - at;
        program.push(SockFilter::new(JUMP_IF_EQUAL, rest, 0, (*port).into()));
    }
    program.extend([SockFilter::new(RETURN, 0, 0, 0), SockFilter::new(RETURN, 0, 0, u32::MAX)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_jumps_to_the_end_that_lets_it_in() {
        for v6 in [false, true] {
            let ports = [1000, 2000, 3000];
            let program = filter(v6, &ports);
            let first = program.len() - 5;
            assert_eq!(first, if v6 { 1 } else { 2 });
        }
    }
}
