//! Listening sockets: opened by the engine before a run, kept in a pool keyed by address, handed to rooms.
//!
//! A listener lives as long as somebody holds its `Arc`: the pool's own handle is weak, so that a reload finds the
//! listener that an old run still holds, and a port is free as soon as the last run lets go of it.

use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

use crate::value::Bind;

use super::{Error, resolve::Resolver};

/// A key of a spec and what is to be listened on there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The path below the kind, such as `listen` or `listen[1]`.
    pub path: String,
    /// The address.
    pub bind: Bind,
}

/// An open listening socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// UDP.
    Udp(UdpSocket),
    /// A Unix stream.
    Unix(UnixListener),
    /// Unix datagrams.
    Unixgram(UnixDatagram),
}

/// A listener with the address that it really has.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: Socket,
    /// The path below the kind that asked for it.
    pub path: String,
    /// Its address as an endpoint's text, with the true port: `tcp://127.0.0.1:40123`.
    pub address: String,
}

/// All open listeners of the process.
#[derive(Debug, Default)]
pub struct Pool {}

impl Pool {
    /// Opens what is not open yet; one listener a port of a range, and a name may stand for several addresses.
    pub async fn open(&self, listen: &Listen, resolver: &Resolver) -> Result<Vec<Arc<Listener>>, Error> {
        let _ = (resolver, self);
        Err(Error::Resolve { host: listen.bind.to_string(), why: "not built".into() })
    }
}
