//! The mark by which a session knows the replies to its own probes, and nobody else can make one.
//!
//! Payload: 7 bytes MAC, 1 byte generation, 4 bytes index, 2 bytes tag of the prober, 2 bytes session, padding. The MAC
//! is keyed anew for each session and covers the host's address, identifier and sequence number, and every byte of the
//! payload that follows it. A generation tells two probes apart that had the same place, one after the other.

use std::{hash::Hasher, io, net::IpAddr};

use siphasher::sip::{SipHasher13, SipHasher24};

use crate::sys;

/// The bytes of the mark: the smallest payload.
pub const LENGTH: usize = 16;
/// Where in the payload the tag stands.
pub const TAG_AT: u32 = 12;
/// The bytes of the MAC.
const MAC: usize = 7;

/// A key of a prober or of a session.
#[derive(Clone, Copy, Debug)]
pub struct Key([u64; 2]);

/// What a mark says besides its MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The probe's generation.
    pub generation: u8,
    /// The caller's number of the probe.
    pub index: u32,
    /// The prober's tag.
    pub tag: u16,
    /// The session.
    pub session: u16,
}

impl Key {
    /// A fresh one.
    pub fn new() -> io::Result<Self> {
        sys::icmp::random_key().map(Self)
    }

    /// The key of the session with this number; who knows it knows no other.
    #[must_use]
    pub fn derive(&self, number: u64) -> Self {
        let half = |which: u8| {
            let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
            hasher.write_u64(number);
            hasher.write_u8(which);
            hasher.finish()
        };
        Self([half(0), half(1)])
    }

    /// What stands in every mark of the prober, so that the kernel can keep others away.
    pub fn tag(&self) -> u16 {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        hasher.write(b"tag");
        let [tag @ .., _, _, _, _, _, _] = hasher.finish().to_be_bytes();
        u16::from_be_bytes(tag)
    }

    /// What the numbers of probes to a host are hidden with.
    #[expect(clippy::cast_possible_truncation, reason = "one half of a hash is as good as the other")]
    pub fn veil(&self, address: IpAddr) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        write(&mut hasher, address);
        hasher.finish() as u32
    }

    /// Appends the payload of a probe of `size` bytes.
    pub fn write(&self, address: IpAddr, id_seq: u32, mark: Mark, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; MAC]);
        out.push(mark.generation);
        out.extend(mark.index.to_be_bytes());
        out.extend(mark.tag.to_be_bytes());
        out.extend(mark.session.to_be_bytes());
        out.extend((LENGTH..size).map(|at| at.to_le_bytes()[0]));
        let mac = self.mac(address, id_seq, &out[start + MAC..]);
        out[start..start + MAC].copy_from_slice(&mac);
    }

    /// Whether a payload from `address` is what was sent there under `id_seq`.
    pub fn verify(&self, address: IpAddr, id_seq: u32, payload: &[u8]) -> bool {
        payload.len() >= LENGTH && payload[..MAC] == self.mac(address, id_seq, &payload[MAC..])
    }

    fn mac(&self, address: IpAddr, id_seq: u32, rest: &[u8]) -> [u8; MAC] {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        write(&mut hasher, address);
        hasher.write(&id_seq.to_be_bytes());
        hasher.write(rest);
        let [mac @ .., _] = hasher.finish().to_be_bytes();
        mac
    }
}

fn write(hasher: &mut impl Hasher, address: IpAddr) {
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
}

/// What the mark of a payload says, not yet to be believed.
pub fn read(payload: &[u8]) -> Option<Mark> {
    let &[_, _, _, _, _, _, _, generation, i0, i1, i2, i3, t0, t1, s0, s1] =
        payload.first_chunk::<LENGTH>()?;
    let index = u32::from_be_bytes([i0, i1, i2, i3]);
    let (tag, session) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([s0, s1]));
    Some(Mark { generation, index, tag, session })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_18_to_20_another_source_byte_or_sequence_spoils_the_mark() {
        let host: IpAddr = "10.0.2.2".parse().unwrap();
        let prober = Key::new().unwrap();
        let key = prober.derive(1);
        let mark = Mark { generation: 5, index: 9, tag: 0xabcd, session: 3 };
        let mut payload = vec![];
        key.write(host, 77, mark, 56, &mut payload);
        assert_eq!(payload.len(), 56);
        assert_eq!(read(&payload), Some(mark));
        assert!(key.verify(host, 77, &payload));
        assert!(!key.verify("10.0.2.3".parse().unwrap(), 77, &payload));
        assert!(!key.verify(host, 78, &payload));
        assert!(!prober.derive(2).verify(host, 77, &payload));
        for at in 0..payload.len() {
            payload[at] ^= 1;
            assert!(!key.verify(host, 77, &payload), "byte {at}");
            payload[at] ^= 1;
        }
        for length in 0..payload.len() {
            assert!(!key.verify(host, 77, &payload[..length]), "length {length}");
        }
    }

    #[test]
    fn nobody_foretells_the_identifiers_of_another_host_or_run() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        let hosts = || (0..100u8).map(|last| IpAddr::from([10, 0, 0, last]));
        let all: std::collections::HashSet<_> =
            hosts().map(|host| key.veil(host)).chain(hosts().map(|host| other.veil(host))).collect();
        assert!(all.len() > 198);
    }
}
