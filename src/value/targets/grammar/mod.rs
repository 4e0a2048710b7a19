//! The grammar of one target: text to `Target`, each mistake with the byte where it stands.
//!
//! A leading zero is refused, since other programs read `010` as eight.

mod v4;
mod v6;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use v4::{parse_v4, parse_v4_address};
use v6::{check_v6_size, parse_v6, parse_v6_address};

pub(super) use v4::intervals;

use super::{Target, network};
use crate::value::{Host, Wrong};

const SAMPLE: &str =
    "write such as `10.0.2.2-4`, `10.0.2.0/24`, `2001:db8::10-2f`, a host name, `@file` or `iface:eth0`";

pub(super) fn parse(text: &str) -> Result<Target, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("the target is empty", SAMPLE));
    }
    if let Some(path) = text.strip_prefix('@') {
        return match path {
            "" => Err(Wrong::new("`@` names no file", "write `@hosts.txt`").at(1)),
            path if path.contains('\0') => {
                Err(Wrong::new("a path has a NUL byte in it", "write `@hosts.txt`"))
            }
            path => Ok(Target::File(path.into())),
        };
    }
    if let Some(at) = text.find(char::is_whitespace) {
        return Err(
            Wrong::new(format!("the target `{}` has a blank in it", text.escape_debug()), SAMPLE).at(at)
        );
    }
    if let Some(name) = text.strip_prefix("iface:") {
        if name.is_empty() || name.len() > 15 || name.contains(['/', '\0']) {
            let message = format!("`{}` is not the name of an interface", name.escape_debug());
            return Err(Wrong::new(message, "write `iface:eth0`").at("iface:".len()));
        }
        return Ok(Target::Interface(name.to_owned()));
    }
    if let Some((address, prefix)) = text.split_once('/') {
        return parse_network(address, prefix);
    }
    if text.contains(':') {
        return parse_v6(text);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || b".-*".contains(&byte)) {
        return parse_v4(text);
    }
    match text.parse()? {
        // `[10.0.2.2]` is an address like any other.
        Host::Ip(IpAddr::V4(address)) => parse_v4(&address.to_string()),
        host => Ok(Target::Host(host)),
    }
}

fn parse_network(address: &str, prefix: &str) -> Result<Target, Wrong> {
    let at = address.len() + 1;
    let parsed: IpAddr = if address.contains(':') {
        parse_v6_address(address, 0)?.into()
    } else {
        parse_v4_address(address, 0)?.into()
    };
    let longest: u8 = if parsed.is_ipv4() { 32 } else { 128 };
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = prefix == "0" || !prefix.starts_with('0');
    let length = prefix.parse::<u8>().ok().filter(|length| digits && canonical && *length <= longest);
    let Some(length) = length else {
        let message = format!("`/{}` is not a prefix length", prefix.escape_debug());
        return Err(
            Wrong::new(message, format!("write `/0` to `/{longest}`, such as `{parsed}/{longest}`")).at(at)
        );
    };
    if parsed.is_ipv6() {
        let (first, last) = network(parsed, length, true);
        check_v6_size(first, last).map_err(|wrong| wrong.at(at))?;
    }
    Ok(Target::Network(parsed, length))
}

fn reversed(text: &str, right: &str, at: usize) -> Wrong {
    Wrong::new(format!("the range `{text}` is reversed"), format!("write `{right}`")).at(at)
}
