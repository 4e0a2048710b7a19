//! ARP over Ethernet as bytes: RFC 826. Pure; what a peer sent is never trusted, only read or refused.

use std::net::Ipv4Addr;

use super::Mac;

/// Who says that it has an address, and whom it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The address that was asked for.
    pub address: Ipv4Addr,
    /// The station that has it.
    pub mac: Mac,
    /// The address that asked.
    pub to: Ipv4Addr,
}

/// Ethernet, IPv4, six octets of one and four of the other.
const HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// Bytes of a message.
pub const LENGTH: usize = 28;

/// Asks who has `target`; `from` may be unspecified.
pub fn request(own: Mac, from: Ipv4Addr, target: Ipv4Addr) -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    message[..6].copy_from_slice(&HEAD);
    message[7] = REQUEST;
    message[8..14].copy_from_slice(&own.0);
    message[14..18].copy_from_slice(&from.octets());
    message[24..].copy_from_slice(&target.octets());
    message
}

/// A reply of another station to this one; what follows it fills the frame up.
pub fn parse_reply(packet: &[u8], own: Mac) -> Option<Reply> {
    let message: &[u8; LENGTH] = packet.first_chunk()?;
    let mac = |at: usize| message[at..].first_chunk().copied().map(Mac);
    let address = |at: usize| message[at..].first_chunk::<4>().copied().map(Ipv4Addr::from);
    let (sender, receiver) = (mac(8)?, mac(18)?);
    let honest = message.starts_with(&HEAD)
        && message[6..8] == [0, REPLY]
        && receiver == own
        && sender != own
        && sender.is_station();
    honest.then_some(Reply { address: address(14)?, mac: sender, to: address(24)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const FROM: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    const TARGET: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);

    fn reply() -> [u8; LENGTH] {
        let mut message = request(OTHER, TARGET, FROM);
        message[7] = REPLY;
        message[18..24].copy_from_slice(&OWN.0);
        message
    }

    #[test]
    fn a_reply_names_the_address_and_its_station() {
        let wanted = Reply { address: TARGET, mac: OTHER, to: FROM };
        assert_eq!(parse_reply(&reply(), OWN), Some(wanted));
        let mut padded = reply().to_vec();
        padded.resize(46, 0);
        assert_eq!(parse_reply(&padded, OWN), Some(wanted));
    }

    #[test]
    fn each_field_that_is_not_as_it_must_be_refuses_the_reply() {
        for length in 0..LENGTH {
            assert_eq!(parse_reply(&reply()[..length], OWN), None, "{length}");
        }
        // Kinds and sizes of both addresses, the operation, whom it is for.
        for at in (0..8).chain(18..24) {
            let mut message = reply();
            message[at] ^= 4;
            assert_eq!(parse_reply(&message, OWN), None, "byte {at}");
        }
        for sender in [Mac::BROADCAST, Mac([0; 6]), Mac([3, 0, 0, 0, 0, 2]), OWN] {
            let mut message = reply();
            message[8..14].copy_from_slice(&sender.0);
            assert_eq!(parse_reply(&message, OWN), None, "{sender}");
        }
        assert_eq!(parse_reply(&request(OTHER, TARGET, FROM), OWN), None, "a request");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_reply(&bytes, OWN);
        }
    }
}
