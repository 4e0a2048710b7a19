//! Connecting: TCP, UDP, Unix streams and Unix datagrams, each with one deadline and a failure sorted into the closed set.
//!
//! Knows addresses, not names: `resolve` comes first. `race` is happy eyeballs.

mod near;
mod race;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::{ffi::OsStrExt as _, net::UnixDatagram as StdUnixDatagram},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    net::if_::if_nametoindex,
    sys::socket::{UnixAddr, bind, setsockopt, sockopt},
};
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixStream},
    time::{sleep, timeout},
};

use super::{Error, is_not_here, is_short, reason_of};
use crate::{outcome::Reason, value::SocketPath};

pub use near::{tcp_told, unix_told};
pub use race::tcp;

/// Where a connection starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From this address; only targets of its family are tried.
    Address(IpAddr),
    /// Through this interface.
    Device(String),
}

impl Source {
    /// Says so where this machine lacks it now.
    pub fn find(&self) -> Result<(), Error> {
        match self {
            Self::Address(address) => match std::net::UdpSocket::bind((*address, 0)) {
                Err(source) if is_not_here(&source) => {
                    Err(Error::Bind { at: format!("the source {address}"), source })
                }
                _ => Ok(()),
            },
            Self::Device(name) => {
                let missing = |_| Error::NoInterface { name: name.clone() };
                if_nametoindex(name.as_str()).map(drop).map_err(missing)
            }
        }
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// For all attempts together.
    pub timeout: Duration,
    /// Where the connection starts; `None`: the system chooses.
    pub source: Option<Source>,
}

impl Options {
    /// Within this time, from wherever the system chooses.
    pub fn within(timeout: Duration) -> Self {
        Self { timeout, source: None }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The closed word for it.
    pub reason: Reason,
    /// A sentence with the address and what the system says.
    pub message: String,
    /// Whether this machine had no descriptor or memory for the attempt, so that it may be made again.
    pub is_short: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// What the system says of an attempt.
    pub(super) fn new(to: impl fmt::Display, error: &io::Error) -> Self {
        let told = Self::told(reason_to_connect(error), format!("connect {to}: {error}"));
        Self { is_short: is_short(error), ..told }
    }

    /// One for a reason that is known.
    pub fn told(reason: Reason, message: String) -> Self {
        Self { reason, message, is_short: false }
    }

    /// The time is over.
    fn late(to: impl fmt::Display, after: Duration) -> Self {
        let after = crate::value::Timespan(after);
        Self::told(Reason::ConnectTimeout, format!("connect {to}: no answer within {after}"))
    }
}

/// Sorts an error of connect(2), where some numbers mean other things than elsewhere.
fn reason_to_connect(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        // `ip route add prohibit`; and `blackhole`, which says EINVAL.
        Some(libc::EACCES) => Reason::AdminProhibited,
        Some(libc::EINVAL) => Reason::NoRoute,
        // No local port is left: connect(2) says the one, bind(2) the other.
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => Reason::Resources,
        None if error.kind() == io::ErrorKind::AddrInUse => Reason::Resources,
        _ => reason_of(error),
    }
}

/// One attempt at one address.
pub async fn tcp_once(address: SocketAddr, options: &Options) -> Result<TcpStream, Failure> {
    match timeout(options.timeout, attempt(address, options.source.as_ref())).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Failure::new(address, &error)),
        Err(_) => Err(Failure::late(address, options.timeout)),
    }
}

/// One attempt without a deadline.
async fn attempt(address: SocketAddr, source: Option<&Source>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    match source {
        Some(Source::Address(from)) => {
            // The port is chosen at connect(2), so that it need only be free towards this target.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(SocketAddr::new(*from, 0)).map_err(|error| from_source(*from, &error))?;
        }
        Some(Source::Device(name)) => socket.bind_device(Some(name.as_bytes()))?,
        None => {}
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn from_source(source: IpAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("from {source}: {error}"))
}

/// A UDP socket that is connected to the first address to which there is a way; foreign senders are not heard.
pub async fn udp(addresses: &[SocketAddr], options: &Options) -> Result<(UdpSocket, SocketAddr), Failure> {
    let mut failure = None;
    for address in usable(addresses, options.source.as_ref())? {
        match udp_once(address, options.source.as_ref()).await {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => failure = failure.or(Some(Failure::new(address, &error))),
        }
    }
    Err(failure.unwrap_or_else(no_address))
}

async fn udp_once(address: SocketAddr, source: Option<&Source>) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = match source {
        Some(Source::Address(from)) => *from,
        _ => any,
    };
    let socket =
        UdpSocket::bind(SocketAddr::new(from, 0)).await.map_err(|error| from_source(from, &error))?;
    if let Some(Source::Device(name)) = source {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    socket.connect(address).await?;
    Ok(socket)
}

/// A Unix stream. A full backlog is waited for.
pub async fn unix(path: &SocketPath, options: &Options) -> Result<UnixStream, Failure> {
    let at = native(path);
    let connect = async {
        loop {
            match UnixStream::connect(&at).await {
                // The listener's backlog is full, and nothing tells when it no longer is.
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => sleep(BACKLOG_PAUSE).await,
                done => return done,
            }
        }
    };
    match timeout(options.timeout, connect).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(unix_failure("unix", path, &error)),
        Err(_) => Err(Failure::late(format_args!("unix:{path}"), options.timeout)),
    }
}

/// A Unix datagram socket connected to `path`, with an abstract name of its own so that answers come back.
pub fn unixgram(path: &SocketPath) -> Result<UnixDatagram, Failure> {
    let connect = || {
        let socket = StdUnixDatagram::unbound()?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &UnixAddr::new_unnamed())?;
        SockRef::from(&socket).connect(&socket2::SockAddr::unix(native(path))?)?;
        socket.set_nonblocking(true)?;
        UnixDatagram::from_std(socket)
    };
    connect().map_err(|error| unix_failure("unixgram", path, &error))
}

fn unix_failure(scheme: &str, path: &SocketPath, error: &io::Error) -> Failure {
    let told = Failure::told(reason_of(error), format!("connect {scheme}:{path}: {error}"));
    Failure { is_short: is_short(error), ..told }
}

/// A socket's path as the system takes it: an abstract name begins with NUL.
pub fn native(path: &SocketPath) -> PathBuf {
    match path {
        SocketPath::File(path) => path.clone(),
        SocketPath::Abstract(name) => {
            let name = [b"\0", name.as_bytes()].concat();
            Path::new(std::ffi::OsStr::from_bytes(&name)).to_owned()
        }
    }
}

/// The addresses that may be tried from a source.
fn usable(addresses: &[SocketAddr], source: Option<&Source>) -> Result<Vec<SocketAddr>, Failure> {
    let fits = |address: &&SocketAddr| match source {
        Some(Source::Address(from)) => from.is_ipv4() == address.is_ipv4(),
        _ => true,
    };
    let usable: Vec<SocketAddr> = addresses.iter().filter(fits).copied().collect();
    match (usable.is_empty(), source) {
        (true, Some(Source::Address(from))) => Err(no_way_from(*from)),
        _ => Ok(usable),
    }
}

fn no_way_from(source: IpAddr) -> Failure {
    let message = format!("connect: the target has no address of the family of the source {source}");
    Failure::told(Reason::NoRoute, message)
}

fn no_address() -> Failure {
    Failure::told(Reason::Dns, "connect: no address".into())
}

/// The pause before a full Unix backlog is tried again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_told_with_its_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = tcp_once(free, &Options::within(Duration::from_secs(5))).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Refused);
        assert!(failure.message.starts_with(&format!("connect {free}: ")), "{failure}");
    }

    #[tokio::test]
    async fn a_source_of_the_other_family_is_no_way() {
        let source = Some(Source::Address(Ipv6Addr::LOCALHOST.into()));
        let options = Options { timeout: Duration::from_secs(5), source };
        let failure = udp(&["127.0.0.1:9".parse().unwrap()], &options).await.unwrap_err();
        assert_eq!(failure.reason, Reason::NoRoute);
    }

    #[tokio::test]
    async fn a_datagram_client_gets_its_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let server = UnixDatagram::bind(&path).unwrap();
        let client = unixgram(&SocketPath::File(path)).unwrap();
        client.send(b"ping").await.unwrap();
        let mut buffer = [0; 8];
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        let name = from.as_abstract_name().unwrap().to_vec();
        assert_eq!(&buffer[..length], b"ping");
        let back = socket2::SockAddr::unix(native(&SocketPath::Abstract(String::from_utf8(name).unwrap())));
        SockRef::from(&server).send_to(b"pong", &back.unwrap()).unwrap();
        assert_eq!(client.recv(&mut buffer).await.unwrap(), 4);
    }
}
