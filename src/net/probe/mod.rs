//! One attempt at an endpoint: does something answer there? Not the patience around it, and no bytes are exchanged
//! beyond what an answer needs.
//!
//! Every attempt ends at its `until`, and a connection is always a new one.

mod icmp;
mod tcp;
mod udp;
mod unix;

use std::{io, net::IpAddr};

use tokio::time::{Instant, timeout_at};

pub use icmp::icmp;
pub use tcp::tcp;
pub use udp::udp;
pub use unix::{unix, unixgram};

use crate::outcome::Reason;

use super::{Error, reason_of};

/// Nothing answered as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The closed word for it.
    pub reason: Reason,
    /// A sentence for people, without the endpoint's name.
    pub message: String,
}

impl Miss {
    /// A miss with its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// What the system says of a socket.
    pub fn from_io(error: &io::Error) -> Self {
        Self::new(reason_of(error), sentence(error))
    }

    /// Whether it is an answer that nobody is there, so that asking again soon costs little.
    pub fn is_refusal(&self) -> bool {
        matches!(self.reason, Reason::Refused | Reason::PortUnreachable)
    }

    /// Whether nothing answered at all.
    pub fn is_silence(&self) -> bool {
        matches!(
            self.reason,
            Reason::ConnectTimeout
                | Reason::Timeout
                | Reason::Dns
                | Reason::HostUnreachable
                | Reason::NetUnreachable
                | Reason::AdminProhibited
                | Reason::TtlExceeded
                | Reason::NoRoute
                | Reason::NoIpv6
        )
    }

    /// Whether it says something of the other side, rather than of names or of this machine.
    pub fn is_finding(&self) -> bool {
        !matches!(
            self.reason,
            Reason::Dns
                | Reason::Resources
                | Reason::Permission
                | Reason::LocalLoss
                | Reason::NoIpv6
                | Reason::Io
                | Reason::Bug
        )
    }
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// What the system says, without the error's number.
fn sentence(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

/// The attempt's own result, or a miss where `until` comes first.
pub(super) async fn bounded<T>(
    until: Instant,
    reason: Reason,
    message: &str,
    attempt: impl Future<Output = Result<T, Miss>>,
) -> Result<T, Miss> {
    timeout_at(until, attempt).await.unwrap_or_else(|_| Err(Miss::new(reason, message)))
}

/// A miss of a connection to an address; sorts out what one error number says of two things.
fn connect_miss(to: IpAddr, error: &io::Error) -> Miss {
    if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) {
        return Miss::from_io(error);
    }
    // Without IPv6 there is no address to come from; with it, no port is left.
    let own = if to.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
    match std::net::UdpSocket::bind(own) {
        Err(_) if to.is_ipv6() => Miss::new(Reason::NoIpv6, "this machine has no IPv6 address to come from"),
        _ => Miss::new(Reason::Resources, "no local port is left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_has_no_number() {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(Miss::from_io(&error), Miss::new(Reason::Refused, "connection refused"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_at_its_bound() {
        let until = Instant::now() + std::time::Duration::from_secs(1);
        let miss = bounded::<()>(until, Reason::Timeout, "nothing", std::future::pending()).await;
        assert_eq!(miss.unwrap_err().reason, Reason::Timeout);
        assert_eq!(Instant::now(), until);
    }
}
