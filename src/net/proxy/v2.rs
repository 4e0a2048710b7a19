//! Version 2: binary. Twelve fixed bytes, version and command, family, length; then addresses, then records (TLVs).
//!
//! Records are not used: their lengths are checked, and the checksum where one is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Garbage, Header, LARGEST, starts};

const MARK: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The mark and four bytes more.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const UDP4: u8 = 0x12;
const TCP6: u8 = 0x21;
const UDP6: u8 = 0x22;
const UNIX: u8 = 0x31;
const UNIXGRAM: u8 = 0x32;

/// The record that holds a checksum over the whole header.
const CRC32C: u8 = 0x03;

/// The header at the start of these bytes, and its length.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Garbage> {
    let is_wrong = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| !allowed.contains(byte));
    if !starts(bytes, MARK)
        || is_wrong(12, &[LOCAL, PROXY])
        || is_wrong(13, &[UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX, UNIXGRAM])
    {
        return Err(Garbage);
    }
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Ok(None) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > LARGEST {
        return Err(Garbage);
    }
    let Some(block) = rest.get(..length) else { return Ok(None) };
    let header = match (command, family) {
        // The block is to be passed over, whatever is in it.
        (LOCAL, _) | (_, UNSPEC) => Header::Plain,
        (_, family) => {
            let (header, taken) = addresses(family, block).ok_or(Garbage)?;
            records(&bytes[..FIXED + length], FIXED + taken)?;
            header
        }
    };
    Ok(Some((header, FIXED + length)))
}

/// The addresses of a block, and how many bytes they take.
fn addresses(family: u8, block: &[u8]) -> Option<(Header, usize)> {
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    let proxied = |from: IpAddr, to: IpAddr, ports: usize| {
        Some(Header::Proxied(Addresses {
            source: SocketAddr::new(from, port(ports)?),
            destination: SocketAddr::new(to, port(ports + 2)?),
        }))
    };
    match family {
        TCP4 | UDP4 => {
            let [from, to] = [block.first_chunk::<4>()?, block.get(4..)?.first_chunk()?]
                .map(|bytes| Ipv4Addr::from(*bytes).into());
            Some((proxied(from, to, 8)?, 12))
        }
        TCP6 | UDP6 => {
            let [from, to] = [block.first_chunk::<16>()?, block.get(16..)?.first_chunk()?]
                .map(|bytes| Ipv6Addr::from(*bytes).into());
            Some((proxied(from, to, 32)?, 36))
        }
        // Two paths, which mean nothing on this machine.
        _ => (block.len() >= 216).then_some((Header::Plain, 216)),
    }
}

/// Whether the records from `at` on fill the header, and its checksum is right.
fn records(header: &[u8], mut at: usize) -> Result<(), Garbage> {
    let mut is_summed = false;
    while at < header.len() {
        let head = header[at..].first_chunk::<3>().ok_or(Garbage)?;
        let start = at + 3;
        let end = start + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let value = header.get(start..end).ok_or(Garbage)?;
        if head[0] == CRC32C {
            // Each costs a walk over the whole header, and a second one is of no use.
            if std::mem::replace(&mut is_summed, true) {
                return Err(Garbage);
            }
            let told = u32::from_be_bytes(value.try_into().map_err(|_| Garbage)?);
            let as_nought = header
                .iter()
                .enumerate()
                .map(|(index, byte)| if (start..end).contains(&index) { 0 } else { *byte });
            if told != crc32c(as_nought) {
                return Err(Garbage);
            }
        }
        at = end;
    }
    Ok(())
}

/// CRC-32C of RFC 4960, bit by bit: headers are short, and few have a checksum.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// The header for two addresses of one family.
pub(super) fn print(addresses: Option<Addresses>) -> Vec<u8> {
    let head =
        |command: u8, family: u8, length: u8| [MARK.as_slice(), &[command, family, 0, length]].concat();
    let Some(Addresses { source, destination }) = addresses else { return head(LOCAL, UNSPEC, 0) };
    let mut header = if source.is_ipv4() { head(PROXY, TCP4, 12) } else { head(PROXY, TCP6, 36) };
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(v4) => header.extend(v4.octets()),
            IpAddr::V6(v6) => header.extend(v6.octets()),
        }
    }
    for address in [source, destination] {
        header.extend(address.port().to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this block; the length is its own.
    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [MARK.as_slice(), &[command, family], &length, block].concat()
    }

    const PAIR: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 80];

    fn pair() -> Header {
        let (source, destination) = ("10.0.0.1:12345".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        Header::Proxied(Addresses { source, destination })
    }

    /// It is read whole, however it is split, and leaves what follows.
    #[track_caller]
    fn check(bytes: &[u8], wanted: Header) {
        let followed = [bytes, b"GET"].concat();
        assert_eq!(parse(&followed), Ok(Some((wanted, bytes.len()))));
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "up to {end}");
        }
    }

    /// Case 32 of the forward's list: version 2, LOCAL, UNSPEC, Unix, split at every byte offset.
    #[test]
    fn commands_and_families() {
        check(&header(PROXY, TCP4, &PAIR), pair());
        check(&header(PROXY, UDP4, &PAIR), pair());
        check(&header(LOCAL, UNSPEC, &[]), Header::Plain);
        check(&header(LOCAL, TCP4, b"whatever"), Header::Plain);
        check(&header(PROXY, UNSPEC, b"whatever"), Header::Plain);
        check(&header(PROXY, UNIX, &[b'/'; 216]), Header::Plain);
        for family in [TCP6, UDP6] {
            let mut block = [0; 36];
            (block[15], block[31], block[33], block[35]) = (1, 2, 5, 80);
            let (source, destination) = ("[::1]:5".parse().unwrap(), "[::2]:80".parse().unwrap());
            check(&header(PROXY, family, &block), Header::Proxied(Addresses { source, destination }));
        }
    }

    /// Case 32 of the forward's list: records, and the checksum among them.
    #[test]
    fn records_are_passed_over_and_a_checksum_is_checked() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283, "the check value of the algorithm");
        let with = |records: &[u8]| header(PROXY, TCP4, &[&PAIR, records].concat());
        check(&with(&[0x01, 0, 2, b'h', b'2', 0x04, 0, 0, 0xe0, 0, 1, 9]), pair());
        let mut summed = with(&[0x04, 0, 1, 0, CRC32C, 0, 4, 0, 0, 0, 0]);
        let (length, sum) = (summed.len(), crc32c(summed.iter().copied()));
        summed[length - 4..].copy_from_slice(&sum.to_be_bytes());
        check(&summed, pair());
        summed[17] ^= 1;
        assert_eq!(parse(&summed), Err(Garbage));
        // Two that are both right; whoever sends thousands of them would have each cost a walk.
        let twice = [CRC32C, 0, 4, 0xf4, 0x33, 0x0f, 0x3a, CRC32C, 0, 4, 0xaa, 0x10, 0x37, 0xe1];
        assert_eq!(parse(&with(&twice)), Err(Garbage));
        for records in
            [&[0x01][..], &[0x01, 0], &[0x01, 0, 1], &[0x01, 0xff, 0xff, 0], &[CRC32C, 0, 3, 0, 0, 0]]
        {
            assert_eq!(parse(&with(records)), Err(Garbage), "{records:?}");
        }
    }

    /// Case 32 of the forward's list: garbage, seen at its first wrong byte.
    #[test]
    fn what_is_no_header_is_seen_early() {
        let good = header(PROXY, TCP4, &PAIR);
        for at in 0..14 {
            let mut bad = good[..=at].to_vec();
            bad[at] ^= 0x40;
            assert_eq!(parse(&bad), Err(Garbage), "at {at}");
        }
        for block in [&PAIR[..11], &[]] {
            assert_eq!(parse(&header(PROXY, TCP4, block)), Err(Garbage));
        }
        assert_eq!(parse(&header(PROXY, TCP6, &[0; 35])), Err(Garbage));
        assert_eq!(parse(&header(PROXY, UNIX, &[0; 215])), Err(Garbage));
        let largest = header(LOCAL, UNSPEC, &vec![0; LARGEST - FIXED]);
        check(&largest, Header::Plain);
        assert_eq!(parse(&header(LOCAL, UNSPEC, &vec![0; LARGEST - FIXED + 1])[..FIXED]), Err(Garbage));
    }
}
