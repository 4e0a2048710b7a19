//! Listening sockets: opened by the engine before a run, kept in a pool keyed by address, handed to rooms.
//!
//! A listener lives as long as somebody holds its `Arc`: the pool's own handle is weak, so that a reload finds the
//! listener that an old run still holds, and a port is free as soon as the last run lets go of it.
//!
//! Those that a service manager has handed over stand in the pool from the beginning, see `handed`.
//!
//! `[::]` listens on IPv4 too, whatever the sysctl `bindv6only` says. `0.0.0.0` and `[::]` with the same port go together
//! where `0.0.0.0` comes first: then `[::]` is IPv6 alone. The other way round is refused with a sentence.

mod foresee;
mod handed;
mod own;
mod returned;
mod socket;
mod unix;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
    path::{Path, absolute},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::value::{Bind, Endpoint, Family, Host, Ports, SocketPath, many::path};

use super::{Error, is_not_here, resolve::Resolver};

/// A key of a spec and what is to be listened on there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The path below the kind, such as `listen` or `listen[1]`.
    pub path: String,
    /// The address.
    pub bind: Bind,
}

impl Listen {
    /// All of a key's entries, `0.0.0.0` before the others so that `[::]` may stand beside it.
    pub fn all(key: &str, binds: &[Bind]) -> Vec<Self> {
        let mut all: Vec<Self> = (binds.iter().enumerate())
            .map(|(index, bind)| Self { path: path(key, index, binds.len()), bind: bind.clone() })
            .collect();
        all.sort_by_key(|listen| !is_any_v4(&listen.bind.0));
        all
    }

    /// The same with a relative socket path starting at `base`, the folder of the job file.
    #[must_use]
    pub fn based(mut self, base: &Path) -> Self {
        if let Endpoint::Unix(SocketPath::File(path)) | Endpoint::Unixgram(SocketPath::File(path)) =
            &mut self.bind.0
        {
            *path = base.join(&*path);
        }
        self
    }
}

fn is_any_v4(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(Host::Ip(ip), _) | Endpoint::Udp(Host::Ip(ip), _) if *ip == Ipv4Addr::UNSPECIFIED)
}

/// An open listening socket, non-blocking. It belongs to no runtime: whoever serves it registers it with its own.
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

/// A socket with what must happen when it closes.
#[derive(Debug)]
struct Held {
    socket: Socket,
    returned: returned::Returned,
    /// Removes the socket's file, if it is still ours.
    _file: Option<unix::Guard>,
}

/// A listener with the address that it really has.
#[derive(Debug)]
pub struct Listener {
    /// The socket, shared by all who listen on this address.
    held: Arc<Held>,
    /// Whether its run accepts, or is about to: see `returned`.
    is_taker: AtomicBool,
    /// The path below the kind that asked for it.
    pub path: String,
    /// Its address as an endpoint's text, with the true port: `tcp://127.0.0.1:40123`.
    pub address: String,
}

impl Listener {
    fn new(held: Arc<Held>, path: &str, address: String) -> Arc<Self> {
        let listener =
            Arc::new(Self { held, is_taker: AtomicBool::new(false), path: path.to_owned(), address });
        listener.takes(true);
        listener
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.held.socket
    }

    /// Its address as an endpoint.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.address.parse().ok()
    }

    /// Its IP address and port; `None` for a Unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        local(self.socket())
    }
}

/// Whether a socket takes connections or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Net {
    Tcp,
    Udp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Ip(Net, SocketAddr),
    Unix(Endpoint),
}

impl Key {
    /// Of a Unix socket, from wherever its path starts.
    fn unix(endpoint: &Endpoint) -> Self {
        let whole = |path: &Path| SocketPath::File(absolute(path).unwrap_or_else(|_| path.to_owned()));
        Self::Unix(match endpoint {
            Endpoint::Unix(SocketPath::File(path)) => Endpoint::Unix(whole(path)),
            Endpoint::Unixgram(SocketPath::File(path)) => Endpoint::Unixgram(whole(path)),
            other => other.clone(),
        })
    }
}

/// All open listeners of the process.
#[derive(Debug, Default)]
pub struct Pool {
    held: Mutex<HashMap<Key, Weak<Held>>>,
    tcp_ports: own::Marks,
    locals: own::Locals,
    has_unix: AtomicBool,
    handed: handed::Sockets,
}

impl Pool {
    /// Opens what is not open yet; one listener a port of a range, and a name may stand for several addresses.
    ///
    /// A relative socket path starts at the process's folder: see [`Listen::based`].
    pub async fn open(&self, listen: &Listen, resolver: &Resolver) -> Result<Vec<Arc<Listener>>, Error> {
        match &listen.bind.0 {
            Endpoint::Tcp(host, ports) => self.open_ip(Net::Tcp, host, *ports, listen, resolver).await,
            Endpoint::Udp(host, ports) => self.open_ip(Net::Udp, host, *ports, listen, resolver).await,
            endpoint => self.open_unix(endpoint, listen).map(|listener| vec![listener]),
        }
    }

    async fn open_ip(
        &self,
        net: Net,
        host: &Host,
        ports: Ports,
        listen: &Listen,
        resolver: &Resolver,
    ) -> Result<Vec<Arc<Listener>>, Error> {
        let addresses = resolver.lookup(host, 0, Family::Any).await?;
        let is_name = matches!(host, Host::Name(_));
        let mut listeners = vec![];
        for mut port in ports.each() {
            let mut missing = None;
            let before = listeners.len();
            for address in &addresses {
                let mut at = *address;
                at.set_port(port);
                match self.open_address(net, at) {
                    Ok(held) => {
                        let local = local(&held.socket).unwrap_or(at);
                        // All addresses of a name get the port that the first was given.
                        port = local.port();
                        let address = spell(net, host, local);
                        listeners.push(Listener::new(held, &listen.path, address));
                    }
                    Err(source) if is_name && is_not_here(&source) => missing = Some(source),
                    Err(source) => return Err(bind_error(spell(net, host, at), source)),
                }
            }
            if let Some(source) = missing.filter(|_| listeners.len() == before) {
                return Err(bind_error(listen.bind.to_string(), source));
            }
        }
        Ok(listeners)
    }

    fn open_address(&self, net: Net, mut at: SocketAddr) -> io::Result<Arc<Held>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.get(&Key::Ip(net, at)).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let (any, port) = (at.ip().is_unspecified(), at.port());
        let twin = |ip: IpAddr| {
            let twin = held.get(&Key::Ip(net, SocketAddr::new(ip, port)));
            twin.is_some_and(|socket| socket.strong_count() > 0)
        };
        let only_v6 = any && at.is_ipv6() && twin(Ipv4Addr::UNSPECIFIED.into());
        let socket = match socket::open(net, at, only_v6) {
            Err(error) if any && at.is_ipv4() && twin(Ipv6Addr::UNSPECIFIED.into()) => {
                let sentence =
                    format!("[::]:{port} listens on IPv4 too; write 0.0.0.0 before it, or leave it out");
                return Err(io::Error::new(error.kind(), sentence));
            }
            opened => {
                Arc::new(Held { socket: opened?, returned: returned::Returned::default(), _file: None })
            }
        };
        at.set_port(local(&socket.socket).map_or(port, |local| local.port()));
        enter(&mut held, Key::Ip(net, at), &socket);
        if net == Net::Tcp {
            self.tcp_ports.set(at.port());
        }
        Ok(socket)
    }

    fn open_unix(&self, endpoint: &Endpoint, listen: &Listen) -> Result<Arc<Listener>, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::unix(endpoint);
        let address = endpoint.to_string();
        let socket = if let Some(known) = held.get(&key).and_then(Weak::upgrade) {
            known
        } else {
            let (socket, file) =
                unix::open(endpoint).map_err(|source| bind_error(address.clone(), source))?;
            let returned = returned::Returned::default();
            let socket = Arc::new(Held { socket, returned, _file: file });
            enter(&mut held, key, &socket);
            self.has_unix.store(true, Ordering::SeqCst);
            socket
        };
        Ok(Listener::new(socket, &listen.path, address))
    }
}

/// Enters a listener. Those that are gone are cleared away only where the table would have to grow: a look at all of them for
/// each one takes seconds for a range of ten thousand ports.
fn enter(held: &mut HashMap<Key, Weak<Held>>, key: Key, socket: &Arc<Held>) {
    if held.len() == held.capacity() {
        held.retain(|_, socket| socket.strong_count() > 0);
        held.reserve(held.len() + 1);
    }
    held.insert(key, Arc::downgrade(socket));
}

fn local(socket: &Socket) -> Option<SocketAddr> {
    match socket {
        Socket::Tcp(tcp) => tcp.local_addr().ok(),
        Socket::Udp(udp) => udp.local_addr().ok(),
        Socket::Unix(_) | Socket::Unixgram(_) => None,
    }
}

/// An address as an endpoint's text; a zone keeps the spelling of the file.
fn spell(net: Net, host: &Host, local: SocketAddr) -> String {
    let host = match host {
        Host::Scoped(..) => host.clone(),
        _ => Host::Ip(local.ip()),
    };
    let ports = Ports::one(local.port());
    match net {
        Net::Tcp => Endpoint::Tcp(host, ports),
        Net::Udp => Endpoint::Udp(host, ports),
    }
    .to_string()
}

fn bind_error(at: String, source: io::Error) -> Error {
    Error::Bind { at, source }
}

#[cfg(test)]
mod tests;
