//! Asking the stations of links: a packet socket for each link and family, and what came in answer. Not when to ask.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    task::Poll,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
};
use socket2::{SockFilter, SockRef};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Link, Mac, arp, nd};
use crate::{
    net::{Error, icmp::clock},
    sys::{
        self, packet,
        rights::{self, Right},
    },
};

/// Asks at some links.
#[derive(Debug)]
pub struct Asker {
    doors: Vec<Door>,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

/// A socket at a link.
#[derive(Debug)]
struct Door {
    number: usize,
    link: Link,
    mac: Mac,
    v6: bool,
    socket: AsyncFd<OwnedFd>,
    drops: u32,
}

/// A station that says that it has an address. Whether it was asked for is for the caller.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The number of the link.
    pub link: usize,
    /// The index of its interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// The station.
    pub mac: Mac,
    /// When the kernel took the answer in, on the wall clock.
    pub stamp: Option<u64>,
}

/// Answers that are read before the caller sends again.
const MOST: usize = 1024;
/// No advertisement that we read is longer; of a longer packet the rest is cut off.
const BUFFER: usize = 2048;
const CONTROL: usize = 128;
/// What we want of the receive buffer: room for many thousands of answers.
const WANTED_BUFFER: usize = 8 << 20;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

impl Asker {
    /// Opens sockets at links, each with its number, family and hardware address. Fails without the right `CAP_NET_RAW`.
    pub fn open<'a>(links: impl IntoIterator<Item = (usize, bool, Mac, &'a Link)>) -> Result<Self, Error> {
        let open =
            |(number, v6, mac, link): (usize, bool, Mac, &Link)| Door::open(number, v6, mac, link.clone());
        let doors: io::Result<Vec<Door>> = links.into_iter().map(open).collect();
        let doors = doors.map_err(|source| Error::Packet { source })?;
        Ok(Self { doors, buffer: vec![0; BUFFER], control: vec![0; CONTROL] })
    }

    /// Asks who has an address, once.
    pub fn ask(&self, link: usize, target: IpAddr) -> io::Result<()> {
        let mut doors = self.doors.iter();
        let door = doors.find(|door| door.number == link && door.v6 == target.is_ipv6());
        door.ok_or(io::ErrorKind::NotFound)?.ask(target)
    }

    /// Reads what has come, without waiting; more may be left.
    pub fn receive(&mut self, answers: &mut Vec<Answer>) {
        for door in &self.doors {
            for _ in 0..MOST {
                match door.receive(&mut self.buffer, &mut self.control) {
                    Ok(answer) => answers.extend(answer),
                    Err(Errno::EINTR) => {}
                    // Nothing is there, or the interface is gone or down: then nobody answers.
                    Err(_) => break,
                }
            }
        }
    }

    /// Waits until something has come since the last time; what had come before must have been read.
    pub async fn readable(&self) {
        std::future::poll_fn(|cx| {
            let mut ready = Poll::Pending;
            for door in &self.doors {
                if let Poll::Ready(Ok(mut guard)) = door.socket.poll_read_ready(cx) {
                    guard.clear_ready();
                    ready = Poll::Ready(());
                }
            }
            ready
        })
        .await;
    }

    /// How many packets this machine has lost before we could read them, since the last time we asked.
    pub fn new_drops(&mut self) -> u32 {
        let mut fresh = 0;
        for door in &mut self.doors {
            let drops = sys::icmp::drops(door.socket.get_ref()).unwrap_or(door.drops);
            fresh += drops.wrapping_sub(door.drops);
            door.drops = drops;
        }
        fresh
    }
}

impl Door {
    fn open(number: usize, v6: bool, mac: Mac, link: Link) -> io::Result<Self> {
        let filter = if v6 { advertisements() } else { replies_to(mac) };
        let socket = rights::with(Right::NetRaw, || packet::open(&filter))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // The larger one needs CAP_NET_ADMIN; what a smaller one loses is seen and asked for again.
        if setsockopt(&socket, sockopt::RcvBufForce, &WANTED_BUFFER).is_err() {
            socket.set_recv_buffer_size(WANTED_BUFFER)?;
        }
        socket.bind(&packet::address(ethertype(v6), link.interface, None))?;
        let socket = sys::interest::register(socket.into(), Interest::READABLE)?;
        Ok(Self { number, link, mac, v6, socket, drops: 0 })
    }

    fn ask(&self, target: IpAddr) -> io::Result<()> {
        let to = |station: Mac| packet::address(ethertype(self.v6), self.link.interface, Some(station.0));
        let socket = SockRef::from(self.socket.get_ref());
        let sent = match (target, self.link.source(target)) {
            (IpAddr::V4(target), Some(IpAddr::V4(own))) => {
                socket.send_to(&arp::request(self.mac, own, target), &to(Mac::BROADCAST))
            }
            (IpAddr::V6(target), Some(IpAddr::V6(own))) => {
                let (_, station) = nd::group(target);
                socket.send_to(&nd::solicitation(self.mac, own, target), &to(station))
            }
            _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        sent.map(|_| ())
    }

    /// One packet; `None` where it is no answer to this link.
    fn receive(&self, buffer: &mut [u8], control: &mut [u8]) -> Result<Option<Answer>, Errno> {
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.get_ref().as_fd().as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let stamp = message.cmsgs().into_iter().flatten().find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(time) => Some(clock::nanos(time)),
            _ => None,
        });
        let length = message.bytes;
        let packet = &buffer[..length.min(buffer.len())];
        let answer = if self.v6 {
            nd::parse_advertisement(packet, self.mac)
                .map(|heard| (heard.address.into(), heard.mac, heard.to.into()))
        } else {
            arp::parse_reply(packet, self.mac).map(|heard| (heard.address.into(), heard.mac, heard.to.into()))
        };
        let answer = answer.filter(|(.., to): &(IpAddr, Mac, IpAddr)| self.link.has(*to));
        Ok(answer.map(|(address, mac, _)| Answer {
            link: self.number,
            interface: self.link.interface,
            address,
            mac,
            stamp,
        }))
    }
}

fn ethertype(v6: bool) -> u16 {
    if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_ARP }
}

/// A program of classic BPF that lets a packet in where all comparisons hold; each is a load, and what must be loaded.
fn all(comparisons: &[(u32, u32, u32)]) -> Vec<SockFilter> {
    let mut program = vec![];
    for (at, (load, place, value)) in comparisons.iter().enumerate() {
        let rest = u8::try_from(2 * (comparisons.len() - at) - 1).unwrap_or(u8::MAX);
        program.push(step(*load, 0, 0, *place));
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, rest, *value));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX));
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    program
}

fn step(code: u32, yes: u8, no: u8, value: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or_default(), yes, no, value)
}

const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;

/// ARP replies whose target is this station; some answer to all stations.
fn replies_to(Mac(own): Mac) -> Vec<SockFilter> {
    let half = |at: usize| u32::from(u16::from_be_bytes([own[at], own[at + 1]]));
    all(&[(HALF, 6, 2), (HALF, 18, half(0)), (HALF, 20, half(2)), (HALF, 22, half(4))])
}

/// Neighbour advertisements.
fn advertisements() -> Vec<SockFilter> {
    all(&[(BYTE, 6, 58), (BYTE, 7, 255), (BYTE, 40, 136)])
}
