//! Version 1: one line of text, `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`, ended by CR LF.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{Addresses, Garbage, Header, starts};

/// The longest line with its end.
const LONGEST: usize = 107;

const MARK: &[u8] = b"PROXY ";

/// The header at the start of these bytes, and its length.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Garbage> {
    if !starts(bytes, MARK) {
        return Err(Garbage);
    }
    let within = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        // Its end needs two bytes more.
        return if within.len() > LONGEST - 2 { Err(Garbage) } else { Ok(None) };
    };
    match (within[end], within.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if end + 1 < LONGEST => return Ok(None),
        _ => return Err(Garbage),
    }
    let line = within.get(MARK.len()..end).and_then(|line| str::from_utf8(line).ok()).ok_or(Garbage)?;
    Ok(Some((line_of(line).ok_or(Garbage)?, end + 2)))
}

fn line_of(line: &str) -> Option<Header> {
    // What follows the word is to be ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Header::Plain);
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else { return None };
    let address: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => ip::<Ipv4Addr>,
        "TCP6" => ip::<Ipv6Addr>,
        _ => return None,
    };
    Some(Header::Proxied(Addresses {
        source: SocketAddr::new(address(source)?, port(source_port)?),
        destination: SocketAddr::new(address(destination)?, port(destination_port)?),
    }))
}

fn ip<T: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<T>().ok().map(Into::into)
}

/// Digits alone, and no nought before others.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

/// The line for two addresses of one family.
pub(super) fn print(addresses: Option<Addresses>) -> Vec<u8> {
    let Some(Addresses { source, destination }) = addresses else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wanted: Result<Option<Header>, Garbage>) {
        let found = parse(line.as_bytes());
        assert_eq!(found.map(|found| found.map(|(header, _)| header)), wanted, "{line:?}");
        if let Ok(Some((_, length))) = found {
            assert!(line[..length].ends_with("\r\n"));
            for end in 0..length {
                assert_eq!(parse(&line.as_bytes()[..end]), Ok(None), "{line:?} up to {end}");
            }
        }
    }

    fn proxied(source: &str, destination: &str) -> Header {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Header::Proxied(Addresses { source, destination })
    }

    /// Case 32 of the forward's list: version 1, UNKNOWN, split at every byte offset.
    #[test]
    fn lines_of_the_specification() {
        let found = proxied("255.255.255.255:65535", "0.0.0.0:0");
        check("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\nGET / HTTP/1.1\r\n", Ok(Some(found)));
        check("PROXY TCP6 2001:db8::1 ::1 5 80\r\n", Ok(Some(proxied("[2001:db8::1]:5", "[::1]:80"))));
        check("PROXY UNKNOWN\r\n", Ok(Some(Header::Plain)));
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {all} {all} 65535 65535\r\n");
        assert_eq!(longest.len(), LONGEST);
        check(&longest, Ok(Some(Header::Plain)));
    }

    /// Case 32 of the forward's list: garbage.
    #[test]
    fn what_is_no_line_is_seen_early() {
        for line in [
            "GET / HTTP/1.1",
            "PROXYxTCP4",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4  \r\n",
            "PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx",
        ] {
            check(line, Err(Garbage));
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(parse(&endless.as_bytes()[..LONGEST - 2]), Ok(None));
        assert_eq!(parse(&endless.as_bytes()[..LONGEST - 1]), Err(Garbage));
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST - 15));
        assert_eq!((long.len(), parse(long.as_bytes())), (LONGEST + 1, Err(Garbage)));
        assert_eq!(parse(&long.as_bytes()[..LONGEST]), Err(Garbage));
    }
}
