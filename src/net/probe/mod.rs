//! One attempt at an endpoint: does something answer there? Not the patience around it, and no bytes are exchanged
//! beyond what an answer needs.
//!
//! Every attempt ends at its `until`, and a connection is always a new one.

mod icmp;
mod tcp;
mod udp;

use std::io;

use tokio::time::Instant;

pub use icmp::icmp;
pub use tcp::{knock, tcp};
pub use udp::udp;

use crate::{outcome::Reason, value::SocketPath};

use super::{
    Error,
    dial::{self, Failure, Options},
    reason_of,
};

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

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::new(failure.reason, failure.message)
    }
}

/// Connects to a Unix stream socket. A relative path starts where the process works: give it a whole one.
pub async fn unix(at: &SocketPath, until: Instant) -> Result<(), Miss> {
    let options = Options::within(until.saturating_duration_since(Instant::now()));
    Ok(dial::unix(at, &options).await.map(drop)?)
}

/// Connects to a Unix datagram socket, which shows that somebody holds it; nothing is sent.
pub fn unixgram(at: &SocketPath) -> Result<(), Miss> {
    Ok(dial::unixgram(at).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_has_no_number() {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(Miss::from_io(&error), Miss::new(Reason::Refused, "connection refused"));
    }

    #[tokio::test]
    async fn a_unix_socket_that_nobody_holds_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let at = SocketPath::File(path.clone());
        let soon = Instant::now() + std::time::Duration::from_secs(5);
        assert_eq!(unix(&at, soon).await.unwrap_err().reason, Reason::Refused);
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        assert_eq!(unix(&at, soon).await, Ok(()));
        assert!(unixgram(&at).is_err(), "a stream is no datagram socket");
        drop(listener);
        assert_eq!(unix(&at, soon).await.unwrap_err().reason, Reason::Refused);
    }
}
