//! Asking the stations of links: a packet socket for each link, family and question, and what came in answer. Not when to
//! ask. What comes is seen before any rule of a local firewall, and takes no place in the neighbour table.

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
use socket2::SockRef;
use tokio::io::{Interest, unix::AsyncFd};

use super::{Link, Mac, arp, echo, filter, nd};
use crate::{
    net::{
        Error,
        icmp::{
            clock,
            mark::{self, Key, Mark},
        },
    },
    sys::{
        self, packet,
        rights::{self, Right},
    },
};

/// Asks at some links.
#[derive(Debug)]
pub struct Asker {
    /// For the marks of echoes.
    key: Key,
    doors: Vec<Door>,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

/// What a host is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which station has its address.
    Station,
    /// For an echo.
    Echo,
}

/// A socket at a link.
#[derive(Debug)]
struct Door {
    question: Question,
    number: usize,
    link: Link,
    mac: Mac,
    v6: bool,
    socket: AsyncFd<OwnedFd>,
    drops: u32,
}

/// What a host says. Whether it was asked is for the caller.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The number of the link.
    pub link: usize,
    /// The index of its interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// What it says.
    pub said: Said,
    /// When the kernel took the answer in, on the wall clock.
    pub stamp: Option<u64>,
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// This station has the address.
    Station(Mac),
    /// The echo to the question with this number.
    Echo(u8),
}

/// Answers that are read before the caller sends again.
const MOST: usize = 1024;
/// No advertisement that we read is longer; of a longer packet the rest is cut off.
const BUFFER: usize = 2048;
const CONTROL: usize = 128;
/// What we want of the receive buffer: room for many thousands of answers.
const WANTED_BUFFER: usize = 8 << 20;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

impl Asker {
    /// Opens sockets at links, each with its number, family and hardware address, for some questions. Fails without the
    /// right `CAP_NET_RAW`.
    pub fn open<'a>(
        links: impl IntoIterator<Item = (usize, bool, Mac, &'a Link)>,
        questions: &[Question],
    ) -> Result<Self, Error> {
        let open = || {
            let key = Key::new()?;
            let mut doors = vec![];
            for (number, v6, mac, link) in links {
                for question in questions {
                    doors.push(Door::open(*question, (number, v6), mac, link.clone(), key.tag())?);
                }
            }
            Ok(Self { key, doors, buffer: vec![0; BUFFER], control: vec![0; CONTROL] })
        };
        open().map_err(|source| Error::Packet { source })
    }

    /// Asks at a link who has an address, once.
    pub fn ask(&self, link: usize, target: IpAddr) -> io::Result<()> {
        self.door(Question::Station, link, target)?.ask(target)
    }

    /// Asks the host at a station for an echo, once; its answer has the same number.
    pub fn ask_echo(&self, link: usize, target: IpAddr, station: Mac, number: u8) -> io::Result<()> {
        let tag = self.key.tag();
        let id_seq = u32::from(tag) << 16 | u32::from(number);
        let mark = Mark { generation: number, index: 0, tag, session: 0 };
        let write = |out: &mut Vec<u8>| self.key.write(target, id_seq, mark, mark::LENGTH, out);
        let door = self.door(Question::Echo, link, target)?;
        let packet = match (target, door.link.source(target)) {
            (IpAddr::V4(target), Some(IpAddr::V4(own))) => echo::request(own, target, id_seq, write),
            (IpAddr::V6(target), Some(IpAddr::V6(own))) => echo::request_v6(own, target, id_seq, write),
            _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        door.send(&packet, station)
    }

    fn door(&self, question: Question, link: usize, target: IpAddr) -> io::Result<&Door> {
        let mut doors = self.doors.iter().filter(|door| door.question == question);
        let door = doors.find(|door| door.number == link && door.v6 == target.is_ipv6());
        door.ok_or(io::ErrorKind::NotFound.into())
    }

    /// Reads what has come, without waiting; more may be left.
    pub fn receive(&mut self, answers: &mut Vec<Answer>) {
        for door in &self.doors {
            for _ in 0..MOST {
                match door.receive(&self.key, &mut self.buffer, &mut self.control) {
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
    fn open(
        question: Question,
        (number, v6): (usize, bool),
        mac: Mac,
        link: Link,
        tag: u16,
    ) -> io::Result<Self> {
        let filter = match (question, v6) {
            (Question::Station, false) => filter::arp_replies(mac),
            (Question::Station, true) => filter::advertisements(),
            (Question::Echo, _) => filter::echo_replies(v6, tag),
        };
        let socket = rights::with(Right::NetRaw, || packet::open(&filter))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // The larger one needs CAP_NET_ADMIN; what a smaller one loses is seen and asked for again.
        if setsockopt(&socket, sockopt::RcvBufForce, &WANTED_BUFFER).is_err() {
            socket.set_recv_buffer_size(WANTED_BUFFER)?;
        }
        socket.bind(&packet::address(ethertype(question, v6), link.interface, None))?;
        let socket = sys::interest::register(socket.into(), Interest::READABLE)?;
        Ok(Self { question, number, link, mac, v6, socket, drops: 0 })
    }

    fn ask(&self, target: IpAddr) -> io::Result<()> {
        match (target, self.link.source(target)) {
            (IpAddr::V4(target), Some(IpAddr::V4(own))) => {
                self.send(&arp::request(self.mac, own, target), Mac::BROADCAST)
            }
            (IpAddr::V6(target), Some(IpAddr::V6(own))) => {
                let (_, station) = nd::group(target);
                self.send(&nd::solicitation(self.mac, own, target), station)
            }
            _ => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    fn send(&self, packet: &[u8], Mac(station): Mac) -> io::Result<()> {
        let to = packet::address(ethertype(self.question, self.v6), self.link.interface, Some(station));
        SockRef::from(self.socket.get_ref()).send_to(packet, &to).map(|_| ())
    }

    /// One packet; `None` where it is no answer to this link.
    fn receive(&self, key: &Key, buffer: &mut [u8], control: &mut [u8]) -> Result<Option<Answer>, Errno> {
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.get_ref().as_fd().as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let stamp = message.cmsgs().into_iter().flatten().find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(time) => Some(clock::nanos(time)),
            _ => None,
        });
        let length = message.bytes;
        let heard = self.parse(key, &buffer[..length.min(buffer.len())]);
        let heard = heard.filter(|(.., to)| self.link.has(*to));
        let (link, interface) = (self.number, self.link.interface);
        Ok(heard.map(|(address, said, _)| Answer { link, interface, address, said, stamp }))
    }

    /// Who says what, and to whom.
    fn parse(&self, key: &Key, packet: &[u8]) -> Option<(IpAddr, Said, IpAddr)> {
        match (self.question, self.v6) {
            (Question::Station, false) => arp::parse_reply(packet, self.mac)
                .map(|heard| (heard.address.into(), Said::Station(heard.mac), heard.to.into())),
            (Question::Station, true) => nd::parse_advertisement(packet, self.mac)
                .map(|heard| (heard.address.into(), Said::Station(heard.mac), heard.to.into())),
            (Question::Echo, v6) => {
                let echo::Reply { from, to, echo } = echo::parse_reply(v6, packet)?;
                let mark = mark::read(echo.payload).filter(|_| echo.payload.len() == mark::LENGTH)?;
                let ours = key.verify(from, echo.id_seq, echo.payload);
                ours.then_some((from, Said::Echo(mark.generation), to))
            }
        }
    }
}

fn ethertype(question: Question, v6: bool) -> u16 {
    match (question, v6) {
        (_, true) => ETHERTYPE_IPV6,
        (Question::Station, false) => ETHERTYPE_ARP,
        (Question::Echo, false) => ETHERTYPE_IPV4,
    }
}
