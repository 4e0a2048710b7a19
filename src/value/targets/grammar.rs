//! The grammar of one target: text to `Target`, each mistake with the byte where it stands.
//!
//! A leading zero is refused, since other programs read `010` as eight.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Target, network};
use crate::value::{Host, Wrong};

const SAMPLE: &str =
    "write such as `10.0.2.2-4`, `10.0.2.0/24`, `2001:db8::10-2f`, a host name, `@file` or `iface:eth0`";

/// The most intervals that one entry may fall into, since each costs memory.
const MOST_INTERVALS: u64 = 1 << 16;

/// The most addresses that one IPv6 network or range may have: more can never be swept.
const MOST_V6: u128 = 1 << 32;

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
        let bad = name.is_empty() || name.len() > 15 || name.contains(['/', '\0']);
        return match bad {
            true => Err(Wrong::new(
                format!("`{}` is not the name of an interface", name.escape_debug()),
                "write `iface:eth0`",
            )
            .at(6)),
            false => Ok(Target::Interface(name.to_owned())),
        };
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
    text.parse().map(Target::Host)
}

fn parse_network(address: &str, prefix: &str) -> Result<Target, Wrong> {
    let at = address.len() + 1;
    let parsed: IpAddr = match address.contains(':') {
        true => parse_v6_address(address, 0)?.into(),
        false => parse_v4_address(address, 0)?.into(),
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

fn parse_v6(text: &str) -> Result<Target, Wrong> {
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
fn parse_last_group(first: Ipv6Addr, first_text: &str, group: &str) -> Option<Ipv6Addr> {
    let plain = (1..=4).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain || first_text.contains('.') {
        return None;
    }
    let mut segments = first.segments();
    segments[7] = u16::from_str_radix(group, 16).ok()?;
    Some(segments.into())
}

fn parse_v6_address(text: &str, at: usize) -> Result<Ipv6Addr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            format!("`{}` is not an IPv6 address", text.escape_debug()),
            "write such as `2001:db8::10`",
        )
        .at(at)
    })
}

fn check_v6_size(first: IpAddr, last: IpAddr) -> Result<(), Wrong> {
    let (IpAddr::V6(first), IpAddr::V6(last)) = (first, last) else { return Ok(()) };
    if u128::from(last) - u128::from(first) < MOST_V6 {
        return Ok(());
    }
    let hint = "an IPv6 network cannot be searched address by address: write ranges such as `2001:db8::10-2f`, or `/120`";
    Err(Wrong::new("far too many addresses to sweep", hint))
}

/// `10.0.2.2-10.0.3.9`, or four octets of which each may be a range or `*`.
fn parse_v4(text: &str) -> Result<Target, Wrong> {
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
    match interval_count(&octets) {
        0..=MOST_INTERVALS => Ok(Target::Octets(octets)),
        count => Err(Wrong::new(
            format!("`{text}` falls into {count} pieces, and {MOST_INTERVALS} are the limit"),
            "write ranges to the right and single numbers to the left, such as `10.0-3.*.*`",
        )),
    }
}

fn not_four(text: &str) -> Wrong {
    Wrong::new(format!("`{text}` does not have four numbers"), "write such as `10.0.2.2` or `10.0.2.2-4`")
}

/// `7`, `2-4` or `*`.
fn parse_octets(part: &str, at: usize) -> Result<(u8, u8), Wrong> {
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
    match last < first {
        true => Err(reversed(part, &format!("{last}-{first}"), last_at)),
        false => Ok((first, last)),
    }
}

fn parse_octet(text: &str, at: usize) -> Result<u8, Wrong> {
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

fn parse_v4_address(text: &str, at: usize) -> Result<Ipv4Addr, Wrong> {
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

fn reversed(text: &str, right: &str, at: usize) -> Wrong {
    Wrong::new(format!("the range `{text}` is reversed"), format!("write `{right}`")).at(at)
}

/// How many intervals `intervals` will give, or more.
fn interval_count(octets: &[(u8, u8); 4]) -> u64 {
    let whole = octets.iter().rev().take_while(|octet| **octet == (0, 255)).count();
    let left = octets.iter().rev().skip(whole + 1);
    left.map(|(first, last)| u64::from(last - first) + 1).product()
}

/// The addresses of four octet ranges: as few intervals as there are.
pub(super) fn intervals(octets: &[(u8, u8); 4]) -> Vec<(IpAddr, IpAddr)> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::targets::{AddressSet, Targets};

    #[track_caller]
    fn check(text: &str, count: u128, first: &str, last: &str) {
        let target = text.parse::<Targets>().unwrap().target;
        let set = AddressSet::new(target.addresses(true).unwrap());
        assert_eq!(set.count(), count);
        assert_eq!(set.get(0).unwrap().to_string(), first);
        assert_eq!(set.get(count - 1).unwrap().to_string(), last);
        assert_eq!(parse(&target.to_string()).unwrap(), target);
    }

    #[track_caller]
    fn check_wrong(text: &str, offset: usize, message: &str) {
        let wrong = text.parse::<Targets>().unwrap_err();
        assert!(wrong.message.contains(message), "{wrong}");
        assert_eq!(wrong.offset.unwrap_or(0), offset, "{wrong}");
    }

    #[test]
    fn case_51_a_short_range_counts_from_its_last_octet() {
        check("10.0.2.2-4", 3, "10.0.2.2", "10.0.2.4");
        let set = AddressSet::new(parse("10.0.2.2-4").unwrap().addresses(false).unwrap());
        let listed: Vec<_> = set.iter().map(|address| address.to_string()).collect();
        assert_eq!(listed, ["10.0.2.2", "10.0.2.3", "10.0.2.4"]);
    }

    #[test]
    fn every_form_of_address_reads_and_prints() {
        check("10.0.2.2", 1, "10.0.2.2", "10.0.2.2");
        check("10.0.2.2-10.0.3.9", 264, "10.0.2.2", "10.0.3.9");
        check("10.0.1-3.2-4", 9, "10.0.1.2", "10.0.3.4");
        check("10.0.2.*", 256, "10.0.2.0", "10.0.2.255");
        check("10.*.2-3.*", 131_072, "10.0.2.0", "10.255.3.255");
        check("*.*.*.*", 1 << 32, "0.0.0.0", "255.255.255.255");
        check("10.0.2.0/24", 256, "10.0.2.0", "10.0.2.255");
        check("0.0.0.0/0", 1 << 32, "0.0.0.0", "255.255.255.255");
        check("10.0.2.7/32", 1, "10.0.2.7", "10.0.2.7");
        check("2001:db8::10-2f", 32, "2001:db8::10", "2001:db8::2f");
        check("2001:db8::fffe-2001:db8::1:1", 4, "2001:db8::fffe", "2001:db8::1:1");
        check("2001:db8::/120", 256, "2001:db8::", "2001:db8::ff");
        check("::1", 1, "::1", "::1");
        check("[::1]", 1, "::1", "::1");
    }

    #[test]
    fn what_is_known_only_later_reads_and_prints() {
        for text in
            ["db.example.com", "fe80::1%eth0", "@hosts.txt", "@/etc/my hosts", "iface:eth0", "my-host"]
        {
            let target = parse(text).unwrap();
            assert_eq!(target.addresses(true), None);
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn case_51_and_62_a_mistake_is_named_with_its_byte() {
        check_wrong("10.0.2.4-2", 9, "reversed");
        check_wrong("10.0.2.2-1", 9, "reversed");
        check_wrong("10.0.3.1-10.0.2.9", 9, "reversed");
        check_wrong("2001:db8::2f-10", 13, "reversed");
        check_wrong("256.1.1.1", 0, "more than 255");
        check_wrong("10.0.2.256", 7, "more than 255");
        check_wrong("10.0.2.2-10.0.2.300", 16, "more than 255");
        check_wrong("010.0.0.1", 0, "octal");
        check_wrong("10.0.010.1", 5, "octal");
        check_wrong("10.0.2.0/33", 9, "prefix length");
        check_wrong("2001:db8::/129", 11, "prefix length");
        check_wrong("10.0.2.0/", 9, "prefix length");
        check_wrong("10.0.2.0/024", 9, "prefix length");
        check_wrong("::/64", 3, "too many");
        check_wrong("2001:db8::-2001:db8:1::", 11, "too many");
        check_wrong("10.0.2.2-4-6", 10, "two dashes");
        check_wrong("10.0.2", 6, "four numbers");
        check_wrong("10.0.2.2.4", 8, "four numbers");
        check_wrong("10.0..2", 5, "missing");
        check_wrong("10.0.2.2-", 9, "missing");
        check_wrong("10.0.2.2 -4", 8, "blank");
        check_wrong(" ", 0, "blank");
        check_wrong("", 0, "empty");
        check_wrong("@", 1, "no file");
        check_wrong("iface:", 6, "interface");
        check_wrong("2001:db8::1%eth0", 11, "zone");
        check_wrong("2001:db8::1-zz", 12, "last group");
        check_wrong("2001:db8:::1", 0, "not an IPv6 address");
        check_wrong("1-200.1-200.1-200.1", 0, "pieces");
        check_wrong("no/where", 0, "not a number");
    }

    #[test]
    fn the_edges_of_a_network_are_left_out_unless_asked_for() {
        let count =
            |text: &str, edges| AddressSet::new(parse(text).unwrap().addresses(edges).unwrap()).count();
        assert_eq!((count("10.0.2.0/24", false), count("10.0.2.0/24", true)), (254, 256));
        assert_eq!((count("10.0.2.0/30", false), count("10.0.2.0/30", true)), (2, 4));
        assert_eq!((count("10.0.2.0/31", false), count("10.0.2.7/32", false)), (2, 1));
        assert_eq!(count("2001:db8::/126", false), 4);
    }

    #[test]
    fn host_bits_beyond_the_prefix_are_noticed() {
        assert_eq!(parse("10.0.2.7/24").unwrap().suggestion().as_deref(), Some("10.0.2.0/24"));
        assert_eq!(parse("2001:db8::7/124").unwrap().suggestion().as_deref(), Some("2001:db8::/124"));
        assert_eq!(parse("10.0.2.0/24").unwrap().suggestion(), None);
    }

    fn octets() -> impl Strategy<Value = [(u8, u8); 4]> {
        let near = (any::<u8>(), 0u8..4).prop_map(|(first, more)| (first, first.saturating_add(more)));
        let octet = prop_oneof![4 => near, 1 => Just((0, 255))];
        [Just((10, 10)).boxed(), octet.clone().boxed(), octet.clone().boxed(), octet.boxed()]
    }

    proptest! {
        #[test]
        fn case_50_expansion_agrees_with_brute_force(octets in octets()) {
            let mut all = vec![];
            for b in octets[1].0..=octets[1].1 {
                for c in octets[2].0..=octets[2].1 {
                    for d in [octets[3].0, octets[3].1] {
                        all.push(IpAddr::from([10, b, c, d]));
                    }
                }
            }
            let set = AddressSet::new(intervals(&octets));
            let width = |(first, last): (u8, u8)| u128::from(last - first) + 1;
            prop_assert_eq!(set.count(), octets.iter().map(|octet| width(*octet)).product::<u128>());
            prop_assert!(all.iter().all(|address| set.contains(*address)));
        }

        #[test]
        fn case_50_what_is_printed_reads_back(octets in octets(), low: u128, more: u32, prefix in 96u8..=128, v4: u32, short in 0u8..=32) {
            let high = low.saturating_add(more.into());
            let targets = [
                Target::Octets(octets),
                Target::Range(IpAddr::V6(low.into()), IpAddr::V6(high.into())),
                Target::Network(IpAddr::V6(low.into()), prefix),
                Target::Network(IpAddr::V4(v4.into()), short),
            ];
            for target in targets {
                prop_assert_eq!(parse(&target.to_string()).unwrap(), target);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", dense in "[0-9.:/*%@a-f-]{0,24}") {
            for text in [text, dense] {
                if let Ok(target) = parse(&text) {
                    prop_assert_eq!(parse(&target.to_string()).unwrap(), target);
                }
            }
        }
    }
}
