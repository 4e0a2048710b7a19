//! One ICMP socket: raw with the right CAP_NET_RAW, else the kernel's ping socket (icmp(7), `ping_group_range`).
//!
//! The right is raised from the permitted set for the time of the open only. Packets are moved in batches. A raw socket
//! keeps away, before it costs room in the buffer, what does not carry the tag of its prober.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::{
    Failure, Peer,
    ancillary::{Word, arrival, word_of},
    drops::{self, Drops},
    packet,
};
use crate::{
    net::{Error, reason_of},
    outcome::Reason,
    sys::{
        self,
        datagram::{self, Batch, Message, Outgoing},
        rights::{self, Right},
    },
};

/// A socket and what is known of it.
#[derive(Debug)]
pub struct IcmpSocket {
    socket: Socket,
    v6: bool,
    kind: Type,
    numbered: bool,
    dont_fragment: bool,
    drops: Drops,
}

/// An echo reply's way in.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Who sent it.
    pub peer: Peer,
    /// Its TTL or hop limit.
    pub ttl: Option<u8>,
    /// When the kernel took it in, on the wall clock.
    pub stamp: Option<u64>,
}

/// What the queue of errors says of a packet of ours.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// The packet with this number has left, at this time of the wall clock.
    Left(u32, u64),
    /// The host that was probed, what the error quotes of the probe, and what it says.
    Failed(Peer, Option<u32>, Failure),
}

/// What we want of the receive buffer: room for many thousands of replies.
const WANTED_BUFFER: usize = 8 << 20;
/// What the smallest reply costs of the receive buffer, measured; the stamp of a packet that has left costs as much.
const REPLY_COST: usize = 832;
/// The end of a packet filter.
const RETURN: u16 = 0x06;

impl IcmpSocket {
    /// Opens a socket of a family, with all its options. Replies without the tag are kept away from a raw one.
    pub fn open(v6: bool, tag: u16) -> Result<Self, Error> {
        let (domain, protocol) =
            if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let raw = rights::with(Right::NetRaw, || Socket::new(domain, Type::RAW, Some(protocol)));
        let opened = match raw {
            Ok(socket) => Ok((socket, Type::RAW)),
            Err(error) if reason_of(&error) == Reason::Permission => {
                Socket::new(domain, Type::DGRAM, Some(protocol))
                    .map(|socket| (socket, Type::DGRAM))
                    .map_err(|_| error)
            }
            Err(error) => Err(error),
        };
        let (socket, kind) = opened.map_err(|source| Error::Icmp { source })?;
        let numbered = sys::icmp::takes(sys::icmp::STAMP_NUMBER);
        let drops = set_up(&socket, v6, kind, tag).map_err(|source| Error::Icmp { source })?;
        Ok(Self { socket, v6, kind, numbered, dont_fragment: false, drops })
    }

    /// Which bits of identifier and sequence number are ours to choose: a ping socket's identifier is the kernel's.
    pub fn id_seq_mask(&self) -> u32 {
        if self.is_raw() { u32::MAX } else { 0xffff }
    }

    /// Whether it is a raw socket rather than a ping socket.
    pub fn is_raw(&self) -> bool {
        self.kind == Type::RAW
    }

    /// Whether packets take the numbers of their stamps with them, rather than that the kernel counts them.
    pub fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Lets the kernel count packets also where it would take numbers, as kernels before 6.13 do.
    pub fn count_stamps(&mut self) {
        self.numbered = false;
    }

    /// Lets the kernel count packets for their stamps from 0 again: nobody can say whether it counted one that failed.
    pub fn restart_numbers(&self) {
        // Without stamps, round trips are told as what they are: measured outside the kernel.
        let _ = sys::icmp::stamp(&self.socket, false).and_then(|()| sys::icmp::stamp(&self.socket, true));
    }

    /// How many replies the receive buffer holds beside the stamps of their requests.
    pub fn window(&self) -> usize {
        (self.socket.recv_buffer_size().unwrap_or_default() / (2 * REPLY_COST)).max(1)
    }

    /// Asks for another receive buffer; the kernel has a least size of its own.
    pub fn set_buffer(&mut self, bytes: usize) -> io::Result<()> {
        self.socket.set_recv_buffer_size(bytes)
    }

    /// How many packets this machine has lost before we could read them, since the last time we asked. What came with a
    /// wrong checksum is no loss.
    pub fn new_drops(&mut self) -> u32 {
        self.drops.fresh(&self.socket)
    }

    /// Reads packets that have come, in slots of this size; whether there may be more.
    pub fn receive(&self, batch: &mut Batch, slot: usize) -> io::Result<bool> {
        batch.receive(self.socket.as_fd(), slot, true)
    }

    /// Reads errors and stamps; whether there may be more.
    pub fn receive_errors(&self, batch: &mut Batch, slot: usize) -> io::Result<bool> {
        batch.receive_errors(self.socket.as_fd(), slot)
    }

    /// The echo reply in what came; a raw IPv4 socket gives the IP header with it.
    pub fn parse<'a>(&self, message: &Message<'a>) -> Option<(Received, packet::Echo<'a>)> {
        if message.is_cut {
            return None;
        }
        let strip = self.is_raw() && !self.v6;
        let inner = if strip { packet::strip_ipv4(message.bytes)?.0 } else { message.bytes };
        let mut echo = packet::parse_reply(self.v6, inner)?;
        echo.id_seq &= self.id_seq_mask();
        let (ttl, stamp) = arrival(message.control);
        Some((Received { peer: peer(&message.from)?, ttl, stamp }, echo))
    }

    /// What an entry of the queue of errors says.
    pub fn parse_error(&self, message: &Message<'_>) -> Option<Told> {
        Some(match word_of(message.control)? {
            Word::Left(number, wall) => Told::Left(number, wall),
            Word::Failed(failure) => {
                let quote = packet::parse_quote(self.v6, message.bytes);
                let nobody = Peer::from(IpAddr::from([0, 0, 0, 0]));
                let id_seq = quote.map(|echo| echo.id_seq & self.id_seq_mask());
                Told::Failed(peer(&message.from).unwrap_or(nobody), id_seq, failure)
            }
        })
    }

    /// Sends packets in order; how many have gone. An error is about the first, or left over from any packet before.
    pub fn send(&mut self, packets: &[Outgoing<'_>], dont_fragment: bool) -> io::Result<usize> {
        if dont_fragment != self.dont_fragment {
            sys::icmp::dont_fragment(&self.socket, self.v6, dont_fragment)?;
            self.dont_fragment = dont_fragment;
        }
        datagram::send(self.socket.as_fd(), packets)
    }
}

fn peer(address: &SockAddr) -> Option<Peer> {
    address.as_socket().map(Peer::from)
}

/// Sets all options of a socket that is to receive nothing without the tag; what it drops from now on is counted.
fn set_up(socket: &Socket, v6: bool, kind: Type, tag: u16) -> io::Result<Drops> {
    socket.set_nonblocking(true)?;
    if v6 {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
        setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
    }
    let mut witness = None;
    if kind == Type::RAW {
        if v6 {
            sys::icmp::only_echo_replies_v6(socket)?;
        } else {
            sys::icmp::only_echo_replies(socket)?;
        }
        socket.attach_filter(&filter(v6, tag))?;
        if v6 {
            let open = drops::witness(Protocol::ICMPV6)?;
            sys::icmp::only_echo_replies_v6(&open)?;
            witness = Some(open);
        }
    }
    sys::icmp::stamp(socket, true)?;
    // The larger one needs CAP_NET_ADMIN; what we really got is read back by `window`.
    if setsockopt(socket, sockopt::RcvBufForce, &WANTED_BUFFER).is_err() {
        socket.set_recv_buffer_size(WANTED_BUFFER)?;
    }
    sys::icmp::dont_fragment(socket, v6, false)?;
    Drops::new(socket, witness)
}

/// Passes packets with the tag in their mark: a program of the classic packet filter, see socket(7).
fn filter(v6: bool, tag: u16) -> Vec<SockFilter> {
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_HALF_BEHIND: u16 = 0x48;
    const LOAD_HALF: u16 = 0x28;
    const JUMP_IF_EQUAL: u16 = 0x15;
    let at = packet::HEADER_LENGTH + super::mark::TAG_AT;
    // The kernel shows an IPv4 packet with its header, of an IPv6 one only what follows.
    let mut program = if v6 {
        vec![SockFilter::new(LOAD_HALF, 0, 0, at)]
    } else {
        vec![SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0), SockFilter::new(LOAD_HALF_BEHIND, 0, 0, at)]
    };
    program.extend([
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, tag.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]);
    program
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
