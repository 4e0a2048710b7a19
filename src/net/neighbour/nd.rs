//! Neighbour solicitations and advertisements as bytes, with their IPv6 header: RFC 4861. Pure; what a peer sent is never
//! trusted, only read or refused.

use std::net::Ipv6Addr;

use super::Mac;
use crate::net::icmp::packet::checksum;

/// Who says that it has an address, and whom it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address that was asked for.
    pub address: Ipv6Addr,
    /// The station that has it.
    pub mac: Mac,
    /// The address that asked.
    pub to: Ipv6Addr,
}

const HEADER: usize = 40;
/// Type, code, checksum, flags, target.
const BODY: usize = 24;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ICMPV6: u8 = 58;
/// No router lets a packet through with its hop limit unchanged: who sends this is on the link.
const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Bytes of a solicitation.
pub const LENGTH: usize = HEADER + BODY + 8;

/// The group and the station in which `target` listens.
pub fn group(target: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    (group, Mac([0x33, 0x33, 0xff, a, b, c]))
}

/// Asks who has `target`.
pub fn solicitation(own: Mac, from: Ipv6Addr, target: Ipv6Addr) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = 6 << 4;
    packet[5] = 32;
    packet[6] = ICMPV6;
    packet[7] = HOP_LIMIT;
    packet[8..24].copy_from_slice(&from.octets());
    packet[24..40].copy_from_slice(&group(target).0.octets());
    packet[40] = SOLICITATION;
    packet[48..64].copy_from_slice(&target.octets());
    packet[64..66].copy_from_slice(&[SOURCE_LINK_ADDRESS, 1]);
    packet[66..].copy_from_slice(&own.0);
    let sum = sum(&packet[8..HEADER], &packet[HEADER..]);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// An advertisement of another station to one of this one's addresses.
pub fn parse_advertisement(packet: &[u8], own: Mac) -> Option<Advertisement> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = packet[HEADER..].get(..length)?;
    let (body, options) = message.split_at_checked(BODY)?;
    let address = |bytes: &[u8]| bytes.first_chunk::<16>().copied().map(Ipv6Addr::from);
    let (from, to, target) = (address(&header[8..])?, address(&header[24..])?, address(&body[8..])?);
    let honest = header[0] >> 4 == 6
        && header[6] == ICMPV6
        && header[7] == HOP_LIMIT
        && body[..2] == [ADVERTISEMENT, 0]
        && !from.is_unspecified()
        && ![from, to, target].iter().any(Ipv6Addr::is_multicast)
        && sum(&header[8..], message) == 0;
    let mac = link_address(options)?;
    (honest && mac.is_station() && mac != own).then_some(Advertisement { address: target, mac, to })
}

/// The target's link address; `None` where it is missing or the options are nonsense.
fn link_address(mut options: &[u8]) -> Option<Mac> {
    let mut found = None;
    while let [kind, length, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(length) * 8).filter(|_| length > 0)?;
        if kind == TARGET_LINK_ADDRESS && length == 1 {
            found = option[2..].first_chunk().copied().map(Mac);
        }
        options = rest;
    }
    found.filter(|_| options.is_empty())
}

/// The checksum of a message and its pseudo-header (RFC 8200, 8.1).
pub(super) fn sum(addresses: &[u8], message: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(HEADER + message.len());
    bytes.extend_from_slice(addresses);
    bytes.extend(u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
    bytes.extend([0, 0, 0, ICMPV6]);
    bytes.extend_from_slice(message);
    checksum(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const FROM: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0x12, 0x3456);

    /// Sets a right checksum.
    fn seal(mut packet: [u8; LENGTH]) -> [u8; LENGTH] {
        packet[42..44].fill(0);
        let sum = sum(&packet[8..HEADER], &packet[HEADER..]);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn advertisement() -> [u8; LENGTH] {
        let mut packet = solicitation(OTHER, TARGET, TARGET);
        packet[24..40].copy_from_slice(&FROM.octets());
        packet[40] = ADVERTISEMENT;
        packet[44] = 0x60;
        packet[64] = TARGET_LINK_ADDRESS;
        seal(packet)
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target() {
        let (group, mac) = group(TARGET);
        assert_eq!(
            (group.to_string().as_str(), mac.to_string().as_str()),
            ("ff02::1:ff12:3456", "33:33:ff:12:34:56")
        );
        let packet = solicitation(OWN, FROM, TARGET);
        assert_eq!(sum(&packet[8..HEADER], &packet[HEADER..]), 0);
        assert_eq!(packet, seal(packet));
    }

    #[test]
    fn an_advertisement_names_the_address_and_its_station() {
        let wanted = Advertisement { address: TARGET, mac: OTHER, to: FROM };
        assert_eq!(parse_advertisement(&advertisement(), OWN), Some(wanted));
    }

    #[test]
    fn whatever_is_not_as_it_must_be_refuses_the_advertisement() {
        let good = advertisement();
        for length in 0..good.len() {
            assert_eq!(parse_advertisement(&good[..length], OWN), None, "{length}");
        }
        // Any bit of what the checksum covers.
        for at in 8..good.len() {
            let mut packet = good;
            packet[at] ^= 1;
            assert_eq!(parse_advertisement(&packet, OWN), None, "byte {at}");
        }
        // With a right checksum: version, length, next header, hop limit; type, code; option and its length; its station.
        let bad = [
            (0, 4 << 4),
            (5, 24),
            (6, 17),
            (7, 254),
            (40, SOLICITATION),
            (41, 1),
            (64, 1),
            (65, 0),
            (65, 2),
            (66, 3),
        ];
        for (at, byte) in bad {
            let mut packet = good;
            packet[at] = byte;
            assert_eq!(parse_advertisement(&seal(packet), OWN), None, "byte {at} is {byte}");
        }
        // Sender, receiver and target must each be a single station's.
        for at in [8, 24, 48] {
            let mut packet = good;
            packet[at] = 0xff;
            assert_eq!(parse_advertisement(&seal(packet), OWN), None, "byte {at}");
        }
        assert_eq!(parse_advertisement(&good, OTHER), None, "our own");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), length: u8, options in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_advertisement(&bytes, OWN);
            let mut packet = advertisement()[..64].to_vec();
            packet.extend(options);
            packet[5] = length;
            let _ = parse_advertisement(&packet, OWN);
        }
    }
}
