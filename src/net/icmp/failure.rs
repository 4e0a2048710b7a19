//! What an ICMP error, or the kernel's refusal to send, says about a probe: a reason and who said it.

use std::{io, net::IpAddr};

use crate::{net::reason_of, outcome::Reason};

/// Why a probe fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The closed word.
    pub reason: Reason,
    /// The router or host that said so.
    pub offender: Option<IpAddr>,
    /// Whether this machine said so before anything was sent.
    pub local: bool,
}

impl Failure {
    /// What an entry of the error queue says.
    pub fn of(error: &libc::sock_extended_err, offender: Option<IpAddr>) -> Self {
        let reason = match error.ee_origin {
            libc::SO_EE_ORIGIN_ICMP => of_icmp(error.ee_type, error.ee_code),
            libc::SO_EE_ORIGIN_ICMP6 => of_icmp6(error.ee_type, error.ee_code),
            _ => of_errno(i32::try_from(error.ee_errno).unwrap_or_default()),
        };
        let offender = offender.filter(|address| !address.is_unspecified());
        Self { reason, offender, local: error.ee_origin == libc::SO_EE_ORIGIN_LOCAL }
    }

    /// What the kernel says of a packet that it did not send.
    pub fn of_send(error: &io::Error, v6: bool) -> Self {
        let reason = match error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL | libc::ENETUNREACH) if v6 && !has_ipv6() => Reason::NoIpv6,
            Some(errno) => of_errno(errno),
            None => reason_of(error),
        };
        Self { reason, offender: None, local: true }
    }
}

/// Sorts a refusal to send: each kind of route that leads nowhere has its own error.
fn of_errno(errno: i32) -> Reason {
    match errno {
        // `prohibit` routes and broadcasts give EACCES, local filters EPERM.
        libc::EACCES | libc::EPERM => Reason::AdminProhibited,
        // `blackhole` routes give EINVAL, and so does a link-local address without a zone.
        libc::EINVAL | libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::ENETDOWN => Reason::NoRoute,
        libc::ECONNREFUSED => Reason::PortUnreachable,
        other => reason_of(&io::Error::from_raw_os_error(other)),
    }
}

/// RFC 792 and RFC 1812.
fn of_icmp(kind: u8, code: u8) -> Reason {
    match (kind, code) {
        (3, 0 | 6 | 11) => Reason::NetUnreachable,
        (3, 3) => Reason::PortUnreachable,
        (3, 4) => Reason::TooBig,
        (3, 9 | 10 | 13) => Reason::AdminProhibited,
        (3, _) => Reason::HostUnreachable,
        (11, _) => Reason::TtlExceeded,
        _ => Reason::Io,
    }
}

/// RFC 4443.
fn of_icmp6(kind: u8, code: u8) -> Reason {
    match (kind, code) {
        (1, 0 | 2) => Reason::NetUnreachable,
        (1, 1 | 5 | 6) => Reason::AdminProhibited,
        (1, 4) => Reason::PortUnreachable,
        (1, _) => Reason::HostUnreachable,
        (2, _) => Reason::TooBig,
        (3, _) => Reason::TtlExceeded,
        _ => Reason::Io,
    }
}

/// Whether this machine has any IPv6 address at all.
fn has_ipv6() -> bool {
    std::fs::read("/proc/thread-self/net/if_inet6").is_ok_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_28_and_30_each_code_has_its_reason() {
        assert_eq!(of_icmp(3, 0), Reason::NetUnreachable);
        assert_eq!(of_icmp(3, 1), Reason::HostUnreachable);
        assert_eq!(of_icmp(3, 3), Reason::PortUnreachable);
        assert_eq!(of_icmp(3, 4), Reason::TooBig);
        assert_eq!(of_icmp(3, 13), Reason::AdminProhibited);
        assert_eq!(of_icmp(11, 0), Reason::TtlExceeded);
        assert_eq!(of_icmp6(1, 0), Reason::NetUnreachable);
        assert_eq!(of_icmp6(1, 1), Reason::AdminProhibited);
        assert_eq!(of_icmp6(1, 3), Reason::HostUnreachable);
        assert_eq!(of_icmp6(1, 4), Reason::PortUnreachable);
        assert_eq!(of_icmp6(2, 0), Reason::TooBig);
        assert_eq!(of_icmp6(3, 0), Reason::TtlExceeded);
    }
}
