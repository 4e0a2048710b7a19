//! One ICMP socket: raw with the right CAP_NET_RAW, else the kernel's ping socket (icmp(7), `ping_group_range`).
//!
//! The right is raised from the permitted set for the time of the open only. A send never takes an error that
//! belongs to another host: the kernel hands those to whoever calls next, so the queue is read and the send tried again.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
        sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Options, Peer,
    ancillary::{packet_info_v4, packet_info_v6, peer_of},
    clock,
    failure::Failure,
    packet,
};
use crate::{
    net::{Error, reason_of},
    outcome::Reason,
    sys::{
        self,
        rights::{self, Right},
    },
};

/// A socket and what is known of it.
#[derive(Debug)]
pub struct IcmpSocket {
    socket: Socket,
    v6: bool,
    raw: bool,
    dont_fragment: bool,
    control: Vec<u8>,
    drops: u32,
}

/// An echo reply's way in: where the bytes are is for the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Who sent it.
    pub peer: Peer,
    /// Its TTL or hop limit.
    pub ttl: Option<u8>,
    /// When the kernel took it in, on the wall clock.
    pub stamp: Option<u64>,
    /// Bytes in the buffer.
    pub length: usize,
}

/// What we want of the receive buffer: room for many thousands of replies.
const WANTED_BUFFER: usize = 8 << 20;
/// What the smallest reply costs of the receive buffer, measured.
const REPLY_COST: usize = 832;
const CONTROL: usize = 512;

impl IcmpSocket {
    /// Opens a socket of a family, with all its options.
    pub fn open(v6: bool) -> Result<Self, Error> {
        let (domain, protocol) =
            if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let raw = rights::with(Right::NetRaw, || Socket::new(domain, Type::RAW, Some(protocol)));
        let opened = match raw {
            Ok(socket) => Ok((socket, true)),
            Err(error) if reason_of(&error) == Reason::Permission => {
                Socket::new(domain, Type::DGRAM, Some(protocol))
                    .map(|socket| (socket, false))
                    .map_err(|_| error)
            }
            Err(error) => Err(error),
        };
        let (socket, raw) = opened.map_err(|source| Error::Icmp { source })?;
        let control = vec![0; CONTROL];
        let mut open = Self { socket, v6, raw, dont_fragment: false, control, drops: 0 };
        open.set_up().map_err(|source| Error::Icmp { source })?;
        Ok(open)
    }

    fn set_up(&mut self) -> io::Result<()> {
        let socket = &self.socket;
        socket.set_nonblocking(true)?;
        if self.v6 {
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
            setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
        } else {
            setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
            setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
        }
        match (self.raw, self.v6) {
            (true, false) => sys::icmp::only_echo_replies(socket)?,
            (true, true) => sys::icmp::only_echo_replies_v6(socket)?,
            (false, _) => {}
        }
        setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
        // The larger one needs CAP_NET_ADMIN; what we really got is read back by `window`.
        if setsockopt(socket, sockopt::RcvBufForce, &WANTED_BUFFER).is_err() {
            socket.set_recv_buffer_size(WANTED_BUFFER)?;
        }
        sys::icmp::dont_fragment(socket, self.v6, false)?;
        self.drops = sys::icmp::drops(socket)?;
        Ok(())
    }

    /// Which bits of identifier and sequence number are ours to choose: a ping socket's identifier is the kernel's.
    pub fn id_seq_mask(&self) -> u32 {
        if self.raw { u32::MAX } else { 0xffff }
    }

    /// Whether it is a raw socket rather than a ping socket.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// How many replies the receive buffer holds, with room to spare.
    pub fn window(&self) -> usize {
        (self.socket.recv_buffer_size().unwrap_or_default() / (2 * REPLY_COST)).max(1)
    }

    /// Asks for another receive buffer; the kernel has a least size of its own.
    pub fn set_buffer(&mut self, bytes: usize) -> io::Result<()> {
        self.socket.set_recv_buffer_size(bytes)
    }

    /// How many packets this machine has lost before we could read them, since the last time we asked.
    pub fn new_drops(&mut self) -> u32 {
        let drops = sys::icmp::drops(&self.socket).unwrap_or(self.drops);
        let fresh = drops.wrapping_sub(self.drops);
        self.drops = drops;
        fresh
    }

    /// Reads one packet; `None` where there is none.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let message = match recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut self.control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (mut ttl, mut stamp) = (None, None);
        for part in message.cmsgs().into_iter().flatten() {
            match part {
                ControlMessageOwned::ScmTimestampns(time) => stamp = Some(clock::nanos(time)),
                ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                    ttl = u8::try_from(hops).ok();
                }
                _ => {}
            }
        }
        let length = message.bytes;
        let unknown = Peer::from(IpAddr::from([0, 0, 0, 0]));
        let peer = message.address.and_then(|address| peer_of(&address)).unwrap_or(unknown);
        Ok(Some(Received { peer, ttl, stamp, length }))
    }

    /// The echo reply in what `receive` read; a raw IPv4 socket gives the IP header with it.
    pub fn parse<'a>(&self, packet: &'a [u8]) -> Option<packet::Echo<'a>> {
        let message = if self.raw && !self.v6 { packet::strip_ipv4(packet)?.0 } else { packet };
        let mut echo = packet::parse_reply(self.v6, message)?;
        echo.id_seq &= self.id_seq_mask();
        Some(echo)
    }

    /// Reads one error: the host that was probed, what the error quotes of the probe, and what it says.
    pub fn receive_error(&mut self, buffer: &mut [u8]) -> Option<(Peer, Option<u32>, Failure)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut self.control), flags).ok()?;
        let mut failure = None;
        for part in message.cmsgs().into_iter().flatten() {
            match part {
                ControlMessageOwned::Ipv4RecvErr(error, offender) => {
                    let offender = offender.map(|address| SockaddrIn::from(address).ip().into());
                    failure = Some(Failure::of(&error, offender));
                }
                ControlMessageOwned::Ipv6RecvErr(error, offender) => {
                    let offender = offender.map(|address| SockaddrIn6::from(address).ip().into());
                    failure = Some(Failure::of(&error, offender));
                }
                _ => {}
            }
        }
        let peer = message.address.and_then(|address| peer_of(&address));
        let length = message.bytes;
        let quote = packet::parse_quote(self.v6, &buffer[..length.min(buffer.len())]);
        let id_seq = quote.map(|echo| echo.id_seq & self.id_seq_mask());
        let unknown = Failure { reason: Reason::Io, offender: None, local: true };
        let nobody = Peer::from(IpAddr::from([0, 0, 0, 0]));
        Some((peer.unwrap_or(nobody), id_seq, failure.unwrap_or(unknown)))
    }

    /// Sends one packet. An error that comes back is the kernel's word on this very packet, if `drain` reads all
    /// errors that wait, and says whether there were any.
    pub fn send(
        &mut self,
        packet: &[u8],
        peer: Peer,
        options: &Options,
        mut drain: impl FnMut(&mut Self) -> bool,
    ) -> io::Result<()> {
        if options.df != self.dont_fragment {
            sys::icmp::dont_fragment(&self.socket, self.v6, options.df)?;
            self.dont_fragment = options.df;
        }
        let mut empty_handed = 0;
        for _ in 0..MOST_TRIES {
            match self.send_once(packet, peer, options) {
                Ok(()) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error @ (Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM)) => return Err(error.into()),
                Err(error) => {
                    // The first error may be left over from a queue that was read already.
                    empty_handed += u32::from(!drain(self));
                    if empty_handed > 1 || error == Errno::EMSGSIZE {
                        drain(self);
                        return Err(error.into());
                    }
                }
            }
        }
        Err(io::Error::from_raw_os_error(libc::EAGAIN))
    }

    fn send_once(&self, packet: &[u8], peer: Peer, options: &Options) -> Result<(), Errno> {
        let (ttl, tos) = (options.ttl.map(i32::from), options.tos);
        let class = i32::from(tos);
        let (info4, info6);
        let mut control = Vec::with_capacity(3);
        if self.v6 {
            control.extend(ttl.as_ref().map(ControlMessage::Ipv6HopLimit));
            control.extend((tos != 0).then_some(ControlMessage::Ipv6TClass(&class)));
            info6 = options.source.and_then(packet_info_v6);
            control.extend(info6.as_ref().map(ControlMessage::Ipv6PacketInfo));
        } else {
            control.extend(ttl.as_ref().map(ControlMessage::Ipv4Ttl));
            control.extend((tos != 0).then_some(ControlMessage::Ipv4Tos(&tos)));
            info4 = options.source.and_then(packet_info_v4);
            control.extend(info4.as_ref().map(ControlMessage::Ipv4PacketInfo));
        }
        let to = SockaddrStorage::from(peer.socket_address());
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(packet)], &control, flags, Some(&to)).map(|_| ())
    }
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// More left-over errors than this in front of one packet: send it a little later.
const MOST_TRIES: u32 = 64;
