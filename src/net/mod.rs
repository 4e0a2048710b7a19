//! What several rooms share on the network: resolve, dial, listen, relay, icmp, neighbours, interfaces. Knows no job and no kind.

pub mod accept;
pub mod datagram;
pub mod descriptors;
pub mod dial;
pub mod hops;
pub mod http;
pub mod icmp;
pub mod interface;
pub mod listen;
pub mod neighbour;
pub mod probe;
pub mod proxy;
pub mod rate;
pub mod relay;
pub mod resolve;
pub mod rtt;
pub mod stream;
pub mod syn;
pub mod workers;

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use crate::outcome::Reason;

/// A network operation that could not be done, with its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener could not be opened.
    #[error("bind {at}: {source}")]
    Bind {
        /// The address.
        at: String,
        /// What the system says.
        source: io::Error,
    },
    /// The service manager has handed over a listener that the job has no use for.
    #[error("was handed {handed} by the service manager, and listens on {wanted}")]
    Handed {
        /// The address of the descriptor.
        handed: String,
        /// The addresses of the job.
        wanted: String,
    },
    /// A socket could not be opened or set up.
    #[error("open {what}: {source}")]
    Open {
        /// Such as `a raw ICMP socket`.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// ICMP cannot be sent.
    #[error("open an ICMP socket: {source}")]
    Icmp {
        /// What the system says.
        source: io::Error,
    },
    /// Neighbours cannot be asked for.
    #[error("open a packet socket: {source}")]
    Packet {
        /// What the system says.
        source: io::Error,
    },
    /// A name did not resolve.
    #[error("resolve {host}: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// Such as `no such name`.
        why: String,
    },
    /// A peer could not be reached.
    #[error("connect {to}: {source}")]
    Connect {
        /// The address.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// No TCP port is free to ask from.
    #[error("find a free TCP port: {source}")]
    NoPort {
        /// What the system says.
        source: io::Error,
    },
    /// There is no such interface.
    #[error("no interface `{name}`")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// An address to send from is not this machine's.
    #[error("`{address}` is no address of this machine")]
    NoAddress {
        /// The address.
        address: IpAddr,
    },
    /// Something else that the system refuses.
    #[error("{operation}: {source}")]
    System {
        /// The operation and its object, such as `read the interfaces`.
        operation: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// The closed word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Resolve { .. } => Reason::Dns,
            Self::NoInterface { .. } | Self::NoAddress { .. } => Reason::NoInterface,
            Self::NoPort { .. } => Reason::Resources,
            Self::Handed { .. } => Reason::Mismatch,
            Self::Bind { source, .. }
            | Self::Open { source, .. }
            | Self::Icmp { source }
            | Self::Packet { source }
            | Self::Connect { source, .. }
            | Self::System { source, .. } => reason_of(source),
        }
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match (self, self.reason()) {
            (Self::Bind { .. }, Reason::Permission) => {
                Some("needs CAP_NET_BIND_SERVICE or a port above 1023")
            }
            (Self::Bind { .. }, Reason::AddressInUse) => {
                Some("end the program that listens there, or choose another port")
            }
            (Self::Bind { source, .. }, _) if source.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                Some("no interface of this machine has this address: see `ip address`")
            }
            (Self::Handed { .. }, _) => Some(
                "write the same address into the socket unit and into `listen`, or give the descriptor another name",
            ),
            (Self::Resolve { .. }, _) => {
                Some("correct the name, or write an address; `getent ahosts NAME` asks the same way")
            }
            (Self::NoAddress { .. }, _) => Some("`ip address` lists the addresses of this machine"),
            (Self::NoPort { .. }, _) => {
                Some("end what holds them, see `ss -tan`, or widen net.ipv4.ip_local_port_range")
            }
            (Self::NoInterface { .. }, _) => Some("`ip link` lists the interfaces of this machine"),
            (Self::Icmp { .. }, Reason::Permission) => Some(icmp::CURE),
            (Self::Packet { .. }, Reason::Permission) => Some(neighbour::CURE),
            // A thread's error; what lacks files says EMFILE.
            (Self::Icmp { source }, _) if source.kind() == io::ErrorKind::WouldBlock => Some(
                "raise the limit of processes and threads (`ulimit -u`, the pids limit of the container)",
            ),
            (_, Reason::Resources) => Some("raise the limit of open files (`ulimit -n`)"),
            _ => None,
        }
    }
}

/// Whether this machine lacks the address or its family.
fn is_not_here(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

/// Whether this machine lacks descriptors or memory, which passes.
fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Whether this machine may send from an address: only such a one can be bound.
pub fn is_here(address: SocketAddr) -> bool {
    !matches!(UdpSocket::bind(address), Err(error) if is_not_here(&error))
}

/// Sorts a system error into the closed set.
pub fn reason_of(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        // A Unix socket that is not there.
        Some(libc::ECONNREFUSED | libc::ENOENT) => Reason::Refused,
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Reason::Reset,
        Some(libc::ETIMEDOUT) => Reason::ConnectTimeout,
        Some(libc::EHOSTUNREACH | libc::EHOSTDOWN) => Reason::HostUnreachable,
        Some(libc::ENETUNREACH | libc::ENETDOWN) => Reason::NoRoute,
        Some(libc::EACCES | libc::EPERM) => Reason::Permission,
        Some(libc::EADDRINUSE) => Reason::AddressInUse,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => Reason::Resources,
        Some(libc::EAFNOSUPPORT) => Reason::NoIpv6,
        Some(libc::EMSGSIZE) => Reason::TooBig,
        Some(libc::ENODEV | libc::ENXIO) => Reason::NoInterface,
        None => reason_of_kind(error.kind()),
        _ => Reason::Io,
    }
}

/// Sorts an error that this program has put words to, so that its number is gone.
fn reason_of_kind(kind: io::ErrorKind) -> Reason {
    match kind {
        io::ErrorKind::TimedOut => Reason::Timeout,
        io::ErrorKind::UnexpectedEof => Reason::Closed,
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::Reset,
        io::ErrorKind::PermissionDenied => Reason::Permission,
        io::ErrorKind::AddrInUse => Reason::AddressInUse,
        io::ErrorKind::AddrNotAvailable => Reason::NoRoute,
        io::ErrorKind::OutOfMemory => Reason::Resources,
        _ => Reason::Io,
    }
}
