//! The cookie by which a SYN's answers are known: its sequence number, a keyed hash of the host and both ports. Nobody
//! who has not seen the SYN can answer it.

use std::{hash::Hasher, net::IpAddr};

use siphasher::sip::SipHasher24;

/// The key of one sweep.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub [u64; 2]);

impl Key {
    /// The sequence number of a SYN from our port to a host's.
    pub fn cookie(&self, host: IpAddr, ours: u16, theirs: u16) -> u32 {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        match host {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write_u16(ours);
        hasher.write_u16(theirs);
        let hash = hasher.finish().to_be_bytes();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_port_or_key_has_another_cookie() {
        let (key, host) = (Key([1, 2]), IpAddr::from([10, 0, 2, 2]));
        let own = key.cookie(host, 40_000, 443);
        assert_eq!(own, key.cookie(host, 40_000, 443));
        let others = [
            key.cookie([10, 0, 2, 3].into(), 40_000, 443),
            key.cookie(host, 40_001, 443),
            key.cookie(host, 40_000, 444),
            key.cookie(host, 443, 40_000),
            Key([1, 3]).cookie(host, 40_000, 443),
        ];
        assert!(!others.contains(&own), "{own} {others:?}");
    }
}
