//! ICMP echo messages as bytes: RFC 792 and RFC 4443. Pure; what a peer sent is never trusted, only read or refused.

/// An echo reply, or the echo request that an error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Identifier and sequence number, as they stand one behind the other.
    pub id_seq: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The bytes of an echo's header.
pub const HEADER_LENGTH: u32 = 8;
const HEADER: usize = HEADER_LENGTH as usize;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const ICMP: u8 = 1;

/// The Internet checksum (RFC 1071) of bytes whose checksum field is zero; zero over those with a right one.
pub fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    sum += rest.first().map_or(0, |last| u64::from(*last) << 8);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits just above")]
    let folded = sum as u16;
    !folded
}

/// Appends an echo request whose payload `write` appends; the kernel fills the checksum of `ICMPv6` in.
pub fn build(v6: bool, id_seq: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([if v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST }, 0, 0, 0]);
    out.extend(id_seq.to_be_bytes());
    write(out);
    if !v6 {
        let sum = checksum(&out[start..]);
        out[start + 2..start + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The ICMP message of an IPv4 packet, and the packet's TTL.
pub fn strip_ipv4(packet: &[u8]) -> Option<(&[u8], u8)> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != ICMP {
        return None;
    }
    Some((packet.get(header..)?, packet[8]))
}

/// The echo reply in an ICMP message; `None` where it is none, is cut short, or its checksum is wrong.
pub fn parse_reply(v6: bool, message: &[u8]) -> Option<Echo<'_>> {
    let wanted = if v6 { ECHO_REPLY_V6 } else { ECHO_REPLY };
    // The kernel has checked ICMPv6's sum, which covers addresses that do not stand here.
    if !v6 && checksum(message) != 0 {
        return None;
    }
    parse(message, wanted)
}

/// The echo request that an ICMP error quotes; errors must quote its header, and may quote no more.
pub fn parse_quote(v6: bool, message: &[u8]) -> Option<Echo<'_>> {
    parse(message, if v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST })
}

fn parse(message: &[u8], wanted: u8) -> Option<Echo<'_>> {
    let (header, payload) = message.split_at_checked(HEADER)?;
    let id_seq = u32::from_be_bytes(header[4..8].try_into().ok()?);
    (header[0] == wanted && header[1] == 0).then_some(Echo { id_seq, payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply to a request: another type, another checksum.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut message = request.to_vec();
        message[0] = ECHO_REPLY;
        message[2..4].fill(0);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    proptest! {
        #[test]
        fn what_is_built_reads_back(id_seq: u32, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut request = vec![];
            request.clear();
            build(false, id_seq, &mut request, |out| out.extend(&payload));
            prop_assert_eq!(checksum(&request), 0);
            prop_assert_eq!(parse_quote(false, &request), Some(Echo { id_seq, payload: &payload }));
            prop_assert_eq!(parse_reply(false, &request), None);
            let answer = reply(&request);
            prop_assert_eq!(parse_reply(false, &answer), Some(Echo { id_seq, payload: &payload }));
            request.clear();
            build(true, id_seq, &mut request, |out| out.extend(&payload));
            prop_assert_eq!(parse_quote(true, &request), Some(Echo { id_seq, payload: &payload }));
        }

        #[test]
        fn case_22_a_flipped_bit_spoils_the_checksum(id_seq: u32, payload in proptest::collection::vec(any::<u8>(), 0..64), at: proptest::sample::Index, bit in 0u8..8) {
            let mut request = vec![];
            request.clear();
            build(false, id_seq, &mut request, |out| out.extend(&payload));
            let mut answer = reply(&request);
            let at = at.index(answer.len());
            answer[at] ^= 1 << bit;
            prop_assert_eq!(parse_reply(false, &answer), None);
        }

        #[test]
        fn case_25_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_reply(true, &bytes);
            let _ = parse_quote(true, &bytes);
            if let Some((message, _)) = strip_ipv4(&bytes) {
                prop_assert!(message.len() + 20 <= bytes.len());
                let _ = parse_reply(false, message);
            }
        }
    }

    #[test]
    fn case_25_ip_options_are_skipped_and_short_quotes_read() {
        let mut request = vec![];
        build(false, 0x0102_0304, &mut request, |out| out.extend(b"x"));
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 63, ICMP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7];
        packet.extend(reply(&request));
        let (message, ttl) = strip_ipv4(&packet).unwrap();
        assert_eq!((parse_reply(false, message).unwrap().id_seq, ttl), (0x0102_0304, 63));
        assert_eq!(parse_quote(false, &request[..8]).unwrap(), Echo { id_seq: 0x0102_0304, payload: b"" });
        assert_eq!(parse_quote(false, &request[..7]), None);
    }

    #[test]
    fn case_21_a_truncated_message_is_no_reply() {
        let mut request = vec![];
        build(false, 7, &mut request, |out| out.extend([1; 56]));
        let answer = reply(&request);
        for length in 0..answer.len() {
            assert_eq!(parse_reply(false, &answer[..length]), None, "{length}");
        }
    }
}
