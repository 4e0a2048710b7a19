//! ICMP echoes with their IP headers as bytes, for packets that go to a station without the kernel's neighbour table: RFC
//! 791, 792, 4443 and 8200. Pure; what a peer sent is never trusted, only read or refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nd;
use crate::net::icmp::packet::{self, Echo, checksum};

/// Who answers, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The host that answers.
    pub from: IpAddr,
    /// The address that asked.
    pub to: IpAddr,
    /// What it says.
    pub echo: Echo<'a>,
}

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// What the kernel gives packets of its own.
const HOP_LIMIT: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// Asks a host for an echo of what `write` appends.
pub fn request(from: Ipv4Addr, to: Ipv4Addr, id_seq: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = vec![0; V4_HEADER];
    packet::build(false, id_seq, &mut packet, write);
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    packet[8..10].copy_from_slice(&[HOP_LIMIT, ICMP]);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&packet[..V4_HEADER]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The same in IPv6.
pub fn request_v6(from: Ipv6Addr, to: Ipv6Addr, id_seq: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = vec![0; V6_HEADER];
    packet::build(true, id_seq, &mut packet, write);
    let length = u16::try_from(packet.len() - V6_HEADER).unwrap_or(u16::MAX);
    packet[0] = 6 << 4;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&[ICMPV6, HOP_LIMIT]);
    packet[8..24].copy_from_slice(&from.octets());
    packet[24..40].copy_from_slice(&to.octets());
    let sum = nd::sum(&packet[8..V6_HEADER], &packet[V6_HEADER..]);
    packet[V6_HEADER + 2..V6_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// An echo reply in an IP packet; what follows the packet fills the frame up.
pub fn parse_reply(v6: bool, packet: &[u8]) -> Option<Reply<'_>> {
    if v6 { parse_v6(packet) } else { parse_v4(packet) }
}

fn parse_v4(packet: &[u8]) -> Option<Reply<'_>> {
    let header: &[u8; V4_HEADER] = packet.first_chunk()?;
    let packet = packet.get(..usize::from(u16::from_be_bytes([header[2], header[3]])))?;
    let (message, _) = packet::strip_ipv4(packet)?;
    let address = |at: usize| header[at..].first_chunk::<4>().copied().map(IpAddr::from);
    Some(Reply { from: address(12)?, to: address(16)?, echo: packet::parse_reply(false, message)? })
}

fn parse_v6(packet: &[u8]) -> Option<Reply<'_>> {
    let header: &[u8; V6_HEADER] = packet.first_chunk()?;
    let message = packet[V6_HEADER..].get(..usize::from(u16::from_be_bytes([header[4], header[5]])))?;
    let honest = header[0] >> 4 == 6 && header[6] == ICMPV6 && nd::sum(&header[8..], message) == 0;
    let address = |at: usize| header[at..].first_chunk::<16>().copied().map(IpAddr::from);
    let echo = packet::parse_reply(true, message).filter(|_| honest)?;
    Some(Reply { from: address(8)?, to: address(24)?, echo })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    const TO: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
    const FROM_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
    const TO_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 7);

    /// The answer of the host that was asked, with right checksums.
    fn reply(v6: bool) -> Vec<u8> {
        let (mut packet, header) = if v6 {
            (request_v6(TO_V6, FROM_V6, 7, |out| out.extend(b"payload")), V6_HEADER)
        } else {
            (request(TO, FROM, 7, |out| out.extend(b"payload")), V4_HEADER)
        };
        packet[header] = if v6 { 129 } else { 0 };
        packet[header + 2..header + 4].fill(0);
        let sum = if v6 { nd::sum(&packet[8..40], &packet[40..]) } else { checksum(&packet[header..]) };
        packet[header + 2..header + 4].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn a_reply_names_who_answers_whom_and_what() {
        for v6 in [false, true] {
            let (from, to): (IpAddr, IpAddr) =
                if v6 { (TO_V6.into(), FROM_V6.into()) } else { (TO.into(), FROM.into()) };
            let wanted = Reply { from, to, echo: Echo { id_seq: 7, payload: b"payload" } };
            assert_eq!(parse_reply(v6, &reply(v6)), Some(wanted));
            let mut padded = reply(v6);
            padded.resize(80, 0);
            assert_eq!(parse_reply(v6, &padded), Some(wanted));
        }
        assert_eq!(checksum(&request(FROM, TO, 7, |_| ())[..V4_HEADER]), 0);
    }

    #[test]
    fn what_is_cut_short_or_spoiled_is_no_reply() {
        for v6 in [false, true] {
            let good = reply(v6);
            for length in 0..good.len() {
                assert_eq!(parse_reply(v6, &good[..length]), None, "{length}");
            }
            for at in (if v6 { 8 } else { V4_HEADER })..good.len() {
                let mut packet = good.clone();
                packet[at] ^= 1;
                assert_eq!(parse_reply(v6, &packet), None, "byte {at}");
            }
            assert_eq!(parse_reply(!v6, &good), None);
        }
        assert_eq!(parse_reply(false, &request(FROM, TO, 7, |_| ())), None, "a request");
        assert_eq!(parse_reply(true, &request_v6(FROM_V6, TO_V6, 7, |_| ())), None, "a request");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = (parse_reply(false, &bytes), parse_reply(true, &bytes));
        }
    }
}
