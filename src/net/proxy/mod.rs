//! The PROXY protocol, versions 1 and 2: the header with which a proxy tells whose connection it passes on.
//!
//! Parsing and printing are pure; `read` takes a header from a stream and not a byte beyond it. Own code, since the published
//! crates let through what the specification forbids (`PROXYxTCP4`, ports such as `+80`) and see garbage late.

mod read;
mod v1;
mod v2;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub use read::read;

/// The most bytes that a header may have; version 1 allows 107.
pub const LARGEST: usize = 16 << 10;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A connection between two addresses.
    Proxied(Addresses),
    /// No addresses that mean anything here: `LOCAL` (the sender speaks for itself), `UNKNOWN`, `UNSPEC`, Unix sockets.
    Plain,
}

/// The two ends of a connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// These bytes are no header, nor the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// The header at the start of these bytes, and its length. `None`: they are the beginning of one.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Garbage> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// A header; `None` stands for a connection without addresses: `UNKNOWN` in version 1 and `LOCAL` in version 2.
pub fn print(version: Version, addresses: Option<Addresses>) -> Vec<u8> {
    let addresses = addresses.map(Addresses::of_one_family);
    match version {
        Version::V1 => v1::print(addresses),
        Version::V2 => v2::print(addresses),
    }
}

impl Addresses {
    /// Both as IPv4 where both are, and both as IPv6 otherwise: a header has room for one family.
    fn of_one_family(self) -> Self {
        let Self { source, destination } = self;
        let (from, to) = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => (from, to),
            (from, to) => (v6(from).into(), v6(to).into()),
        };
        Self {
            source: SocketAddr::new(from, source.port()),
            destination: SocketAddr::new(to, destination.port()),
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Whether bytes begin with a mark, or are the beginning of it.
fn starts(bytes: &[u8], mark: &[u8]) -> bool {
    let both = bytes.len().min(mark.len());
    bytes[..both] == mark[..both]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        /// Case 32 of the forward's list: whatever is printed is read again, and each beginning of it asks for more.
        #[test]
        fn what_is_printed_is_read_again(source in address(), destination in address(), is_v1: bool, rest: Vec<u8>) {
            let addresses = Addresses { source, destination };
            let version = if is_v1 { Version::V1 } else { Version::V2 };
            let mut bytes = print(version, Some(addresses));
            let length = bytes.len();
            for end in 0..length {
                prop_assert_eq!(parse(&bytes[..end]), Ok(None));
            }
            bytes.extend(rest);
            prop_assert_eq!(parse(&bytes), Ok(Some((Header::Proxied(addresses.of_one_family()), length))));
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, line in "PROXY (TCP4|TCP6|UNKNOWN)[ 0-9a-f:.]{0,110}\r?\n?") {
            let _ = parse(&bytes);
            let _ = parse(line.as_bytes());
            let _ = parse(&[&print(Version::V2, None)[..12], &bytes].concat());
        }
    }

    #[test]
    fn a_mixed_pair_goes_as_ipv6() {
        let pair = |source: &str, destination: &str| {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            String::from_utf8(print(Version::V1, Some(Addresses { source, destination }))).unwrap()
        };
        assert_eq!(pair("10.0.0.1:5", "[::1]:80"), "PROXY TCP6 ::ffff:10.0.0.1 ::1 5 80\r\n");
        assert_eq!(pair("[::ffff:10.0.0.1]:5", "10.0.0.2:80"), "PROXY TCP4 10.0.0.1 10.0.0.2 5 80\r\n");
    }

    #[test]
    fn a_connection_without_addresses_says_so() {
        assert_eq!(print(Version::V1, None), b"PROXY UNKNOWN\r\n");
        for version in [Version::V1, Version::V2] {
            let bytes = print(version, None);
            assert_eq!(parse(&bytes), Ok(Some((Header::Plain, bytes.len()))));
        }
    }
}
