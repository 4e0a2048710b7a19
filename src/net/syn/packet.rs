//! TCP segments as bytes: the SYN that asks and the answers to it, RFC 9293. Pure; what a peer sent is never trusted, only
//! read or refused.

use std::net::Ipv4Addr;

use crate::net::icmp::packet::checksum;

/// The bytes of a SYN with its one option, the largest segment.
pub const LENGTH: usize = 24;
/// Where the checksum stands in a segment.
pub const CHECKSUM_AT: u8 = 16;

/// What answers a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The port that was asked.
    pub from: u16,
    /// The port that asked.
    pub to: u16,
    /// The sequence number of the SYN, and one.
    pub acknowledgement: u32,
    /// Whether somebody listens there: SYN and ACK; else the host refuses: RST.
    pub is_open: bool,
}

/// What an error quotes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The port that asked.
    pub from: u16,
    /// The port that was asked.
    pub to: u16,
    /// Its sequence number.
    pub sequence: u32,
}

const HEADER: usize = 20;
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A SYN without its checksum, which [`seal`] or the kernel writes.
pub fn build(from: u16, to: u16, sequence: u32) -> [u8; LENGTH] {
    let mut segment = [0; LENGTH];
    segment[0..2].copy_from_slice(&from.to_be_bytes());
    segment[2..4].copy_from_slice(&to.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    // Six words of header; a window and a largest segment as most systems have them, so that no filter wonders.
    segment[12..16].copy_from_slice(&[6 << 4, SYN, 0xfa, 0xf0]);
    segment[20..24].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    segment
}

/// Writes the checksum of a segment between two IPv4 addresses.
pub fn seal(segment: &mut [u8], from: Ipv4Addr, to: Ipv4Addr) {
    segment[16..18].fill(0);
    let sum = !add(pseudo(from, to, segment.len()), !checksum(segment));
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// The answer in an IPv4 packet; `None` where it is none, is cut short, or its checksum is wrong.
pub fn parse_v4(packet: &[u8]) -> Option<Answer> {
    let (fixed, _) = packet.split_first_chunk::<20>()?;
    let header = usize::from(fixed[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] >> 4 != 4 || header < 20 || fixed[9] != TCP {
        return None;
    }
    let segment = packet.get(header..total)?;
    let answer = parse(segment)?;
    let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    let pseudo = pseudo(address(12), address(16), segment.len());
    let written = u16::from_be_bytes([segment[16], segment[17]]);
    // What never was on a wire carries the sum of its addresses alone: the rest was left to a network card.
    let is_right = add(pseudo, !checksum(segment)) == u16::MAX || written == pseudo;
    is_right.then_some(answer)
}

/// The answer in a segment whose checksum was looked at already; `None` where it is none or is cut short.
pub fn parse(segment: &[u8]) -> Option<Answer> {
    let (fixed, _) = segment.split_first_chunk::<HEADER>()?;
    let header = usize::from(fixed[12] >> 4) * 4;
    let is_open = match fixed[13] & (SYN | RST | ACK) {
        flags if flags == SYN | ACK => true,
        flags if flags == RST | ACK => false,
        _ => return None,
    };
    let [from, to] = [0, 2].map(|at| u16::from_be_bytes([fixed[at], fixed[at + 1]]));
    let acknowledgement = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
    let is_whole = (HEADER..=segment.len()).contains(&header);
    is_whole.then_some(Answer { from, to, acknowledgement, is_open })
}

/// What an ICMP error quotes of a segment; errors must quote these eight bytes, and may quote no more.
pub fn parse_quote(segment: &[u8]) -> Option<Quote> {
    let (fixed, _) = segment.split_first_chunk::<8>()?;
    let [from, to] = [0, 2].map(|at| u16::from_be_bytes([fixed[at], fixed[at + 1]]));
    Some(Quote { from, to, sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]) })
}

/// The sum over what a checksum covers beside the segment, not inverted.
fn pseudo(from: Ipv4Addr, to: Ipv4Addr, length: usize) -> u16 {
    let mut bytes = [0; 12];
    bytes[0..4].copy_from_slice(&from.octets());
    bytes[4..8].copy_from_slice(&to.octets());
    bytes[9] = TCP;
    bytes[10..12].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    !checksum(&bytes)
}

/// Adds with the carry brought round.
fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);

    /// The packet by which a host answers a SYN.
    fn answer(syn: &[u8], is_open: bool, options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; HEADER];
        segment[0..2].copy_from_slice(&syn[2..4]);
        segment[2..4].copy_from_slice(&syn[0..2]);
        let sequence = u32::from_be_bytes(syn[4..8].try_into().unwrap());
        segment[8..12].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
        segment[12] = u8::try_from((HEADER + options.len()) / 4).unwrap() << 4;
        segment[13] = if is_open { SYN | ACK } else { RST | ACK };
        segment.extend(options);
        seal(&mut segment, HOST, OURS);
        packet(&segment)
    }

    fn packet(segment: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, TCP, 0, 0];
        packet.extend(HOST.octets());
        packet.extend(OURS.octets());
        packet.extend(segment);
        let total = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet
    }

    proptest! {
        #[test]
        fn what_answers_a_syn_reads_back(from: u16, to: u16, sequence: u32, is_open: bool, words in 0usize..10) {
            let syn = build(from, to, sequence);
            prop_assert_eq!(parse_quote(&syn[..8]), Some(Quote { from, to, sequence }));
            let packet = answer(&syn, is_open, &vec![1; words * 4]);
            let acknowledgement = sequence.wrapping_add(1);
            let wanted = Answer { from: to, to: from, acknowledgement, is_open };
            prop_assert_eq!(parse_v4(&packet), Some(wanted));
            prop_assert_eq!(parse(&packet[20..]), Some(wanted));
            prop_assert_eq!(parse(&syn), None, "a SYN asks");
        }

        #[test]
        fn a_flipped_bit_spoils_the_checksum(sequence: u32, is_open: bool, at in 0usize..HEADER, bit in 0u8..8) {
            let mut packet = answer(&build(40_000, 443, sequence), is_open, &[]);
            packet[20 + at] ^= 1 << bit;
            prop_assert_eq!(parse_v4(&packet), None);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (parse_v4(&bytes), parse(&bytes), parse_quote(&bytes));
        }
    }

    #[test]
    fn what_is_cut_short_or_of_other_flags_is_no_answer() {
        let packet = answer(&build(40_000, 443, 7), true, &[1; 8]);
        for length in 0..packet.len() {
            assert_eq!(parse_v4(&packet[..length]), None, "{length}");
        }
        for flags in [0, SYN, ACK, RST, SYN | RST | ACK, SYN | RST] {
            let mut segment = packet[20..].to_vec();
            segment[13] = flags;
            seal(&mut segment, HOST, OURS);
            assert_eq!(parse_v4(&self::packet(&segment)), None, "{flags:#x}");
        }
    }

    #[test]
    fn what_was_never_on_a_wire_carries_the_sum_of_its_addresses() {
        let mut packet = answer(&build(40_000, 443, 7), true, &[]);
        let sum = pseudo(HOST, OURS, HEADER);
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        assert!(parse_v4(&packet).is_some());
        packet[36..38].copy_from_slice(&(sum ^ 1).to_be_bytes());
        assert_eq!(parse_v4(&packet), None);
    }

    #[test]
    fn the_checksum_is_that_of_the_kernel() {
        // A SYN as tcpdump showed it: 10.9.0.1.40000 > 10.9.0.2.443, seq 1, win 64240, mss 1460.
        let mut segment = build(40_000, 443, 1);
        seal(&mut segment, Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
        let sum =
            add(pseudo(Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2), LENGTH), !checksum(&segment));
        assert_eq!(sum, u16::MAX);
    }
}
