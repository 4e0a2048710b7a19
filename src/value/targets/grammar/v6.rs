//! IPv6 targets: an address, a range up to a last group or a whole address, or a link-local address with its zone.

use std::net::{IpAddr, Ipv6Addr};

use super::reversed;
use crate::value::{Host, Wrong, targets::Target};

/// The most addresses that one IPv6 network or range may have: more can never be swept.
const MOST_V6: u128 = 1 << 32;

pub(super) fn parse_v6(text: &str) -> Result<Target, Wrong> {
    if text.starts_with('[') || text.contains('%') {
        return match text.parse()? {
            Host::Ip(address) => Ok(Target::Range(address, address)),
            Host::Scoped(address, _) if !address.is_unicast_link_local() => {
                Err(Wrong::new(format!("`{address}` takes no zone"), "a zone stands only after `fe80::…`")
                    .at(text.find('%').unwrap_or_default()))
            }
            host => Ok(Target::Host(host)),
        };
    }
    let Some((first_text, last_text)) = text.split_once('-') else {
        let address = parse_v6_address(text, 0)?.into();
        return Ok(Target::Range(address, address));
    };
    let at = first_text.len() + 1;
    let first = parse_v6_address(first_text, 0)?;
    let last = if last_text.contains(':') {
        parse_v6_address(last_text, at)?
    } else {
        parse_last_group(first, first_text, last_text).ok_or_else(|| {
            Wrong::new(
                format!("`{}` is not the last group of an IPv6 address", last_text.escape_debug()),
                "write such as `2001:db8::10-2f`",
            )
            .at(at)
        })?
    };
    if last < first {
        return Err(reversed(text, &format!("{last}-{first}"), at));
    }
    check_v6_size(first.into(), last.into()).map_err(|wrong| wrong.at(at))?;
    Ok(Target::Range(first.into(), last.into()))
}

/// `2f` after `2001:db8::10-`: the same address with another last group.
pub(super) fn parse_last_group(first: Ipv6Addr, first_text: &str, group: &str) -> Option<Ipv6Addr> {
    let plain = (1..=4).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain || first_text.contains('.') {
        return None;
    }
    let mut segments = first.segments();
    segments[7] = u16::from_str_radix(group, 16).ok()?;
    Some(segments.into())
}

pub(super) fn parse_v6_address(text: &str, at: usize) -> Result<Ipv6Addr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            format!("`{}` is not an IPv6 address", text.escape_debug()),
            "write such as `2001:db8::10`",
        )
        .at(at)
    })
}

pub(super) fn check_v6_size(first: IpAddr, last: IpAddr) -> Result<(), Wrong> {
    let (IpAddr::V6(first), IpAddr::V6(last)) = (first, last) else { return Ok(()) };
    if u128::from(last) - u128::from(first) < MOST_V6 {
        return Ok(());
    }
    let hint = "an IPv6 network cannot be searched address by address: write ranges such as `2001:db8::10-2f`, or `/120`";
    Err(Wrong::new("far too many addresses to sweep", hint))
}
