//! The mark by which a session knows the replies to its own probes, and nobody else can make one.
//!
//! Payload: 8 bytes MAC, 4 bytes index, 4 bytes session, padding. The MAC is keyed anew for each session and covers
//! the host's address, identifier and sequence number, and every byte of the payload that follows it.

use std::{hash::Hasher, io, net::IpAddr};

use siphasher::sip::SipHasher24;

use super::Peer;
use crate::sys;

/// The bytes of the mark: the smallest payload.
pub const LENGTH: usize = 16;

/// A session's key.
#[derive(Clone, Copy, Debug)]
pub struct Key([u64; 2]);

impl Key {
    /// A fresh one.
    pub fn new() -> io::Result<Self> {
        sys::icmp::random_key().map(Self)
    }

    /// Writes the payload of a probe of `size` bytes.
    pub fn write(&self, peer: Peer, id_seq: u32, session: u32, index: u32, size: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend([0; 8]);
        out.extend(index.to_be_bytes());
        out.extend(session.to_be_bytes());
        out.extend((LENGTH..size).map(|at| at.to_le_bytes()[0]));
        let mac = self.mac(peer.address, id_seq, &out[8..]);
        out[..8].copy_from_slice(&mac);
    }

    /// Whether a payload from `address` is what was sent there under `id_seq`.
    pub fn verify(&self, address: IpAddr, id_seq: u32, payload: &[u8]) -> bool {
        payload.len() >= LENGTH && payload[..8] == self.mac(address, id_seq, &payload[8..])
    }

    /// An identifier and sequence number that nobody can foretell.
    pub fn id_seq(&self, peer: Peer, index: u32, serial: u64) -> u32 {
        let mut hasher = self.hasher(peer.address);
        hasher.write_u32(index);
        hasher.write_u64(serial);
        let hash = hasher.finish().to_be_bytes();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    fn mac(&self, address: IpAddr, id_seq: u32, rest: &[u8]) -> [u8; 8] {
        let mut hasher = self.hasher(address);
        hasher.write(&id_seq.to_be_bytes());
        hasher.write(rest);
        hasher.finish().to_be_bytes()
    }

    fn hasher(&self, address: IpAddr) -> SipHasher24 {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        match address {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher
    }
}

/// Session and index of a payload, not yet to be believed.
pub fn read(payload: &[u8]) -> Option<(u32, u32)> {
    let index = payload.get(8..12)?.try_into().ok().map(u32::from_be_bytes)?;
    let session = payload.get(12..16)?.try_into().ok().map(u32::from_be_bytes)?;
    Some((session, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn cases_18_to_20_another_source_byte_or_sequence_spoils_the_mark() {
        let (key, host) = (Key::new().unwrap(), peer("10.0.2.2"));
        let mut payload = vec![];
        key.write(host, 77, 3, 9, 56, &mut payload);
        assert_eq!(payload.len(), 56);
        assert_eq!(read(&payload), Some((3, 9)));
        assert!(key.verify(host.address, 77, &payload));
        assert!(!key.verify(peer("10.0.2.3").address, 77, &payload));
        assert!(!key.verify(host.address, 78, &payload));
        assert!(!Key::new().unwrap().verify(host.address, 77, &payload));
        for at in 0..payload.len() {
            payload[at] ^= 1;
            assert!(!key.verify(host.address, 77, &payload), "byte {at}");
            payload[at] ^= 1;
        }
        for length in 0..payload.len() {
            assert!(!key.verify(host.address, 77, &payload[..length]), "length {length}");
        }
    }

    #[test]
    fn identifiers_differ_from_probe_to_probe() {
        let (key, host) = (Key::new().unwrap(), peer("::1"));
        let all: std::collections::HashSet<_> = (0..100).map(|serial| key.id_seq(host, 1, serial)).collect();
        assert!(all.len() > 98);
    }
}
