//! IPv4 targets: four octets of which each may be a range, or a range from address to address.

use std::net::{IpAddr, Ipv4Addr};

use super::reversed;
use crate::value::{Wrong, targets::Target};

/// The most intervals that one entry may fall into, since each costs memory.
const MOST_INTERVALS: u64 = 1 << 16;

/// `10.0.2.2-10.0.3.9`, or four octets of which each may be a range or `*`.
pub(super) fn parse_v4(text: &str) -> Result<Target, Wrong> {
    if let Some((first, last)) = text.split_once('-')
        && first.matches('.').count() == 3
        && last.contains('.')
    {
        let at = first.len() + 1;
        let (first, last) = (parse_v4_address(first, 0)?, parse_v4_address(last, at)?);
        if last < first {
            return Err(reversed(text, &format!("{last}-{first}"), at));
        }
        return Ok(Target::Range(first.into(), last.into()));
    }
    let (mut octets, mut count, mut at) = ([(0, 0); 4], 0, 0);
    for part in text.split('.') {
        if count == 4 {
            return Err(not_four(text).at(at - 1));
        }
        octets[count] = parse_octets(part, at)?;
        count += 1;
        at += part.len() + 1;
    }
    if count < 4 {
        return Err(not_four(text).at(text.len()));
    }
    match interval_count(octets) {
        0..=MOST_INTERVALS => Ok(Target::Octets(octets)),
        count => Err(Wrong::new(
            format!("`{text}` falls into {count} pieces, and {MOST_INTERVALS} are the limit"),
            "write ranges to the right and single numbers to the left, such as `10.0-3.*.*`",
        )),
    }
}

pub(super) fn not_four(text: &str) -> Wrong {
    Wrong::new(format!("`{text}` does not have four numbers"), "write such as `10.0.2.2` or `10.0.2.2-4`")
}

/// `7`, `2-4` or `*`.
pub(super) fn parse_octets(part: &str, at: usize) -> Result<(u8, u8), Wrong> {
    if part == "*" {
        return Ok((0, 255));
    }
    let Some((first_text, last_text)) = part.split_once('-') else {
        let octet = parse_octet(part, at)?;
        return Ok((octet, octet));
    };
    let last_at = at + first_text.len() + 1;
    let first = parse_octet(first_text, at)?;
    if let Some(dash) = last_text.find('-') {
        return Err(Wrong::new(
            format!("the range `{part}` has two dashes"),
            "write one range, such as `2-4`",
        )
        .at(last_at + dash));
    }
    let last = parse_octet(last_text, last_at)?;
    if last < first {
        return Err(reversed(part, &format!("{last}-{first}"), last_at));
    }
    Ok((first, last))
}

pub(super) fn parse_octet(text: &str, at: usize) -> Result<u8, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        let message = match text {
            "" => "a number from 0 to 255 is missing".into(),
            text => format!("`{text}` is not a number from 0 to 255"),
        };
        return Err(Wrong::new(message, "write such as `10.0.2.2`, `10.0.2.2-4` or `10.0.2.*`").at(at));
    }
    if text.len() > 1 && text.starts_with('0') {
        let plain = text.trim_start_matches('0');
        let plain = if plain.is_empty() { "0" } else { plain };
        return Err(Wrong::new(
            format!("`{text}` begins with a zero, which some programs read as octal"),
            format!("write `{plain}`"),
        )
        .at(at));
    }
    text.parse().map_err(|_| {
        Wrong::new(format!("`{text}` is more than 255"), "each number of an IPv4 address is from 0 to 255")
            .at(at)
    })
}

pub(super) fn parse_v4_address(text: &str, at: usize) -> Result<Ipv4Addr, Wrong> {
    let (mut octets, mut count, mut here) = ([0u8; 4], 0, at);
    for part in text.split('.') {
        if count == 4 {
            return Err(not_four(text).at(here - 1));
        }
        octets[count] = parse_octet(part, here)?;
        count += 1;
        here += part.len() + 1;
    }
    match count {
        4 => Ok(octets.into()),
        _ => Err(not_four(text).at(at + text.len())),
    }
}

/// How many intervals `intervals` will give, or more.
pub(super) fn interval_count(octets: [(u8, u8); 4]) -> u64 {
    let whole = octets.iter().rev().take_while(|octet| **octet == (0, 255)).count();
    let left = octets.iter().rev().skip(whole + 1);
    left.map(|(first, last)| u64::from(last - first) + 1).product()
}

/// The addresses of four octet ranges: as few intervals as there are.
pub(in crate::value::targets) fn intervals(octets: [(u8, u8); 4]) -> Vec<(IpAddr, IpAddr)> {
    let mut ranges = vec![(0u32, 0u32)];
    let mut whole = true;
    let mut width = 1u32;
    for (at, (first, last)) in octets.iter().enumerate().rev() {
        let place = 1u32 << (8 * (3 - at));
        let (first, last) = (u32::from(*first), u32::from(*last));
        if whole {
            // Everything to the right is whole, so this octet's range is one run of addresses.
            ranges = vec![(first * place, last * place + (width - 1))];
            whole = first == 0 && last == 255;
            width = width.wrapping_mul(256);
        } else {
            let right = ranges;
            let each =
                |octet: u32| right.iter().map(move |(low, high)| (octet * place + low, octet * place + high));
            ranges = (first..=last).flat_map(each).collect();
        }
    }
    let address = |number: u32| IpAddr::V4(number.into());
    ranges.into_iter().map(|(first, last)| (address(first), address(last))).collect()
}
