//! Packets of both families as bytes: what was asked, and what is answered, each byte of which a script may change.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use netjobs::net::icmp::packet::checksum;

use super::IntoDelay;

/// A packet that came out of the namespace.
#[derive(Clone)]
pub(crate) struct Request {
    /// Which it is, from 0.
    pub(crate) number: usize,
    /// When it was read.
    pub(crate) at: Instant,
    /// Who asks.
    pub(crate) from: IpAddr,
    /// Who is asked.
    pub(crate) to: IpAddr,
    /// The protocol that the IP header names.
    pub(crate) protocol: u8,
    /// What follows the IP header.
    pub(crate) message: Vec<u8>,
    /// All of it.
    pub(crate) packet: Vec<u8>,
}

type Change = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// A packet to come.
pub(crate) struct Answer {
    pub(super) delay: Duration,
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    hops: u8,
    options: bool,
    sealed: bool,
    message: Vec<u8>,
    spoiled: Vec<(usize, u8)>,
    last: Option<Change>,
}

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

impl Request {
    /// Reads a packet; `None` where it is none that a script could answer.
    pub(super) fn read(packet: &[u8], at: Instant) -> Option<Self> {
        let (from, to, protocol, header) = match packet.first()? >> 4 {
            4 => (v4(packet, 12)?, v4(packet, 16)?, packet[9], usize::from(packet[0] & 15) * 4),
            6 => (v6(packet, 8)?, v6(packet, 24)?, packet[6], 40),
            _ => return None,
        };
        let (message, packet) = (packet.get(header..)?.to_vec(), packet.to_vec());
        Some(Self { number: 0, at, from, to, protocol, message, packet })
    }

    /// Whether it is an echo request.
    pub(crate) fn is_echo(&self) -> bool {
        let wanted = if self.to.is_ipv4() { (ICMP, 8) } else { (ICMP_V6, 128) };
        self.message.len() >= 8 && (self.protocol, self.message[0]) == wanted
    }

    /// An honest echo reply.
    pub(crate) fn reply(&self) -> Answer {
        let mut message = self.message.clone();
        message[0] = if self.to.is_ipv4() { 0 } else { 129 };
        self.answer(message)
    }

    /// An ICMP error that quotes the IP header and so many bytes behind it.
    pub(crate) fn error(&self, offender: &str, kind: u8, code: u8, quoted: usize) -> Answer {
        let header = self.packet.len() - self.message.len();
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        message.extend(&self.packet[..(header + quoted).min(self.packet.len())]);
        self.answer(message).from(offender)
    }

    /// Any ICMP message from who was asked to who asks.
    pub(crate) fn answer(&self, message: Vec<u8>) -> Answer {
        Answer {
            delay: Duration::ZERO,
            from: self.to,
            to: self.from,
            protocol: if self.to.is_ipv4() { ICMP } else { ICMP_V6 },
            hops: 64,
            options: false,
            sealed: true,
            message,
            spoiled: vec![],
            last: None,
        }
    }
}

impl Answer {
    /// Sent so many milliseconds, or such a time, after the request.
    pub(crate) fn after(mut self, delay: impl IntoDelay) -> Self {
        self.delay = delay.delay();
        self
    }

    /// Sent from another address of the same family.
    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = address.parse().unwrap();
        self
    }

    /// With another TTL or hop limit than 64.
    pub(crate) fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Changes the ICMP message; its checksum will be right.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.message);
        self
    }

    /// Flips bits of one byte of the ICMP message, and leaves its checksum as it was.
    pub(crate) fn spoil(mut self, at: usize, bits: u8) -> Self {
        self.spoiled.push((at, bits));
        self
    }

    /// With the checksum that stands in the message, right or wrong.
    pub(crate) fn unsealed(mut self) -> Self {
        self.sealed = false;
        self
    }

    /// With IPv4 options, or an IPv6 extension header, that mean nothing.
    pub(crate) fn options(mut self) -> Self {
        self.options = true;
        self
    }

    /// Changes the finished packet, headers and all.
    pub(crate) fn raw(mut self, change: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Self {
        self.last = Some(Box::new(change));
        self
    }

    /// The packet.
    pub(super) fn build(mut self) -> Vec<u8> {
        if self.sealed {
            self.seal();
        }
        for (at, bits) in &self.spoiled {
            self.message[*at] ^= bits;
        }
        let mut packet = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.header_v4(from.octets(), to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.header_v6(from.octets(), to.octets()),
            other => panic!("{other:?} are of two families"),
        };
        packet.append(&mut self.message);
        if let Some(change) = self.last {
            change(&mut packet);
        }
        packet
    }

    /// Sets the right checksum; that of `ICMPv6` covers the addresses.
    fn seal(&mut self) {
        let Some(field) = self.message.get_mut(2..4) else { return };
        field.fill(0);
        let mut covered = vec![];
        if let (IpAddr::V6(from), IpAddr::V6(to)) = (self.from, self.to) {
            covered.extend([from.octets(), to.octets()].concat());
            covered.extend(u32::try_from(self.message.len()).unwrap().to_be_bytes());
            covered.extend(u32::from(ICMP_V6).to_be_bytes());
        }
        covered.extend(&self.message);
        self.message[2..4].copy_from_slice(&checksum(&covered).to_be_bytes());
    }

    fn header_v4(&self, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let words = if self.options { 7 } else { 5 };
        let length = u16::try_from(usize::from(words) * 4 + self.message.len()).unwrap().to_be_bytes();
        let mut header =
            vec![0x40 | words, 0, length[0], length[1], 0, 0, 0, 0, self.hops, self.protocol, 0, 0];
        header.extend([from, to].concat());
        if self.options {
            // No operation, and the end of options.
            header.extend([1, 1, 1, 1, 1, 1, 1, 0]);
        }
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn header_v6(&self, from: [u8; 16], to: [u8; 16]) -> Vec<u8> {
        // Padding of six bytes.
        let padding = [self.protocol, 0, 1, 4, 0, 0, 0, 0];
        let extension = if self.options { &padding[..] } else { &[] };
        let length = u16::try_from(extension.len() + self.message.len()).unwrap().to_be_bytes();
        let next = if self.options { DESTINATION_OPTIONS } else { self.protocol };
        let mut header = vec![0x60, 0, 0, 0, length[0], length[1], next, self.hops];
        header.extend([from, to].concat());
        header.extend(extension);
        header
    }
}

fn v4(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into())
}

fn v6(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?.into())
}
