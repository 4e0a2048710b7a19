//! Control messages of ICMP sockets: what goes with each packet of a session, and what comes with replies and errors.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{Failure, Options, Source};
use crate::sys::control::{controls, push};

/// What the queue of errors holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The packet with this number has left, at this time of the wall clock.
    Left(u32, u64),
    /// Something became of a packet.
    Failed(Failure),
}

/// TTL, traffic class, source and the waiver of a stamp as each packet of a session carries them.
pub(super) fn control(v6: bool, options: &Options) -> Vec<u8> {
    let mut out = vec![];
    let (level, ttl, tos) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS)
    } else {
        (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS)
    };
    if let Some(hops) = options.ttl {
        push(&mut out, level, ttl, &i32::from(hops).to_ne_bytes());
    }
    if options.tos != 0 {
        push(&mut out, level, tos, &i32::from(options.tos).to_ne_bytes());
    }
    if !options.is_stamped {
        push(&mut out, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &0u32.to_ne_bytes());
    }
    let Some((index, address)) = options.source.and_then(|source| place(v6, source)) else { return out };
    match address {
        // struct in_pktinfo: the interface, the local address, the header's.
        IpAddr::V4(address) => {
            let info = [index.to_ne_bytes(), address.octets(), [0; 4]].concat();
            push(&mut out, level, libc::IP_PKTINFO, &info);
        }
        // struct in6_pktinfo: the address, the interface.
        IpAddr::V6(address) => {
            let info = [address.octets().as_slice(), &index.to_ne_bytes()].concat();
            push(&mut out, level, libc::IPV6_PKTINFO, &info);
        }
    }
    out
}

/// Interface and address of a source; `None` where it is of the other family.
fn place(v6: bool, source: Source) -> Option<(u32, IpAddr)> {
    match source {
        Source::Address(address, _) if address.is_ipv6() != v6 => None,
        Source::Address(address @ IpAddr::V4(_), _) => Some((0, address)),
        Source::Address(address, scope) => Some((scope, address)),
        Source::Interface(index) if v6 => Some((index, Ipv6Addr::UNSPECIFIED.into())),
        Source::Interface(index) => Some((index, Ipv4Addr::UNSPECIFIED.into())),
    }
}

/// TTL or hop limit of a packet that came, and when the kernel took it in, on the wall clock.
pub(super) fn arrival(control: &[u8]) -> (Option<u8>, Option<u64>) {
    let (mut ttl, mut stamp) = (None, None);
    for (level, kind, data) in controls(control) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                ttl = word(data, 0).and_then(|hops| u8::try_from(hops).ok());
            }
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPING) => stamp = software_stamp(data),
            _ => {}
        }
    }
    (ttl, stamp)
}

/// What an entry of the queue of errors says.
pub(super) fn word_of(control: &[u8]) -> Option<Word> {
    let (mut stamp, mut said) = (None, None);
    for (level, kind, data) in controls(control) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPING) => stamp = software_stamp(data),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                said = extended(data);
            }
            _ => {}
        }
    }
    let (error, offender) = said?;
    if error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING {
        return Some(Word::Left(error.ee_data, stamp?));
    }
    Some(Word::Failed(Failure::of(&error, offender)))
}

/// `struct scm_timestamping`: three times, of which the first is the kernel's own. 0 is none.
fn software_stamp(data: &[u8]) -> Option<u64> {
    let part = |at: usize| data.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
    let time = Duration::new(part(0)?, u32::try_from(part(8)?).ok()?);
    u64::try_from(time.as_nanos()).ok().filter(|nanos| *nanos > 0)
}

/// `struct sock_extended_err` and the address behind it, see ip(7).
fn extended(data: &[u8]) -> Option<(libc::sock_extended_err, Option<IpAddr>)> {
    let &[ee_origin, ee_type, ee_code, ee_pad] = data.get(4..8)? else { return None };
    let (ee_errno, ee_info, ee_data) = (word(data, 0)?, word(data, 8)?, word(data, 12)?);
    let error = libc::sock_extended_err { ee_errno, ee_origin, ee_type, ee_code, ee_pad, ee_info, ee_data };
    let family = data.get(16..18).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes);
    let offender = match family.map(i32::from) {
        Some(libc::AF_INET) => octets::<4>(data, 20).map(IpAddr::from),
        Some(libc::AF_INET6) => octets::<16>(data, 24).map(IpAddr::from),
        _ => None,
    };
    Some((error, offender))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    octets(data, at).map(u32::from_ne_bytes)
}

fn octets<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    /// An entry of the queue: errno, origin, type, code, info, number.
    fn entry(origin: u8, kind: u8, code: u8, number: u32, behind: &[u8]) -> Vec<u8> {
        let mut data = 113u32.to_ne_bytes().to_vec();
        data.extend([origin, kind, code, 0]);
        data.extend(0u32.to_ne_bytes());
        data.extend(number.to_ne_bytes());
        data.extend(behind);
        data
    }

    #[test]
    fn stamps_and_errors_are_told_apart_and_a_stamp_of_zero_is_none() {
        let mut control = vec![];
        let stamp = |seconds: u64| [seconds.to_ne_bytes(), 5u64.to_ne_bytes()].concat();
        push(&mut control, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &stamp(2));
        let said = entry(libc::SO_EE_ORIGIN_TIMESTAMPING, 0, 0, 77, &[0; 16]);
        push(&mut control, libc::IPPROTO_IP, libc::IP_RECVERR, &said);
        assert_eq!(word_of(&control), Some(Word::Left(77, 2_000_000_005)));
        let mut control = vec![];
        let family = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes();
        let sender = [family.as_slice(), &[0, 0, 10, 9, 0, 2], &[0; 8]].concat();
        let said = entry(libc::SO_EE_ORIGIN_ICMP, 3, 1, 0, &sender);
        push(&mut control, libc::IPPROTO_IP, libc::IP_RECVERR, &said);
        let offender = Some(IpAddr::from([10, 9, 0, 2]));
        let failure = Failure { reason: Reason::HostUnreachable, offender, local: false };
        assert_eq!(word_of(&control), Some(Word::Failed(failure)));
        let mut control = vec![];
        push(&mut control, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &[0; 48]);
        push(&mut control, libc::IPPROTO_IP, libc::IP_TTL, &63i32.to_ne_bytes());
        assert_eq!(arrival(&control), (Some(63), None));
    }
}
