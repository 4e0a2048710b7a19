//! One connection to a Unix socket: unix(7). A path without a socket, or with one that nobody holds, refuses.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use tokio::{net::UnixStream, time::Instant};

use super::{Miss, bounded};
use crate::{outcome::Reason, value::SocketPath};

/// Connects a stream. A relative path starts where the process works: give it a whole one.
pub async fn unix(at: &SocketPath, until: Instant) -> Result<(), Miss> {
    let connect = async {
        let address = address(at).map_err(|error| sorted(&error))?;
        UnixStream::connect_addr(&address.into()).await.map(drop).map_err(|error| sorted(&error))
    };
    bounded(until, Reason::ConnectTimeout, "no answer to the connection", connect).await
}

/// Connects a datagram socket, which shows that somebody holds the other one; nothing is sent.
pub fn unixgram(at: &SocketPath) -> Result<(), Miss> {
    let connect = || UnixDatagram::unbound()?.connect_addr(&address(at)?);
    connect().map_err(|error: io::Error| sorted(&error))
}

fn address(at: &SocketPath) -> io::Result<SocketAddr> {
    match at {
        SocketPath::File(path) => SocketAddr::from_pathname(path),
        SocketPath::Abstract(name) => SocketAddr::from_abstract_name(name),
    }
}

fn sorted(error: &io::Error) -> Miss {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Miss::new(Reason::ConnectTimeout, "its queue of connections is full"),
        Some(libc::EPROTOTYPE) => Miss::new(Reason::Refused, "a socket of another type is there"),
        _ => Miss::from_io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixListener, time::Duration};

    #[tokio::test]
    async fn a_stream_and_a_datagram_socket_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = SocketPath::File(folder.path().join("s"));
        let soon = || Instant::now() + Duration::from_secs(5);
        assert_eq!(unix(&at, soon()).await.unwrap_err().reason, Reason::Refused);
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        assert_eq!(unix(&at, soon()).await, Ok(()));
        assert_eq!(unixgram(&at).unwrap_err().reason, Reason::Refused);
        drop(listener);
        assert_eq!(unix(&at, soon()).await.unwrap_err().reason, Reason::Refused);
    }

    #[tokio::test]
    async fn abstract_names_are_connected_to() {
        let name = format!("netjobs-test-{}", std::process::id());
        let at = SocketPath::Abstract(name.clone());
        assert_eq!(unixgram(&at).unwrap_err().reason, Reason::Refused);
        let _held = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert_eq!(unixgram(&at), Ok(()));
    }
}
