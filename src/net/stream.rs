//! A connected stream socket, TCP or Unix, with the same face; and who is at the other end.
//!
//! A Unix stream has no RST: closed with bytes unread it gives the peer ECONNRESET, otherwise an end of file.

use std::{
    fmt, io,
    net::{IpAddr, Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use nix::sys::socket::UnixAddr;
use socket2::{SockAddr, SockRef, Socket, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

/// Who is at the other end, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address and a port; an IPv4 peer of a dual-stack socket is told as IPv4.
    Ip(SocketAddr),
    /// A Unix socket, mostly without a name.
    Unix(UnixAddr),
}

/// A connection that was accepted and belongs to no runtime yet.
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    /// Who is at the other end.
    pub peer: Peer,
}

/// After so long without a byte the kernel asks the peer whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// And again after this.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// So often.
const KEEPALIVE_RETRIES: u32 = 4;

impl Accepted {
    pub(super) fn new(socket: Socket, peer: &SockAddr) -> Self {
        let peer = peer.as_socket().map_or_else(|| Peer::unix(peer), Peer::ip);
        Self { socket, peer }
    }

    /// Breaks the connection off.
    pub fn reset(self) {
        if matches!(self.peer, Peer::Ip(_)) {
            // It fails only where the peer has broken the connection off already.
            let _ = self.socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Registers it with the runtime of the caller, which carries it from now on.
    pub fn register(self) -> io::Result<Stream> {
        match self.peer {
            Peer::Ip(_) => TcpStream::from_std(self.socket.into()).map(Stream::Tcp),
            Peer::Unix(_) => UnixStream::from_std(self.socket.into()).map(Stream::Unix),
        }
    }
}

impl Stream {
    /// Sets a connection of a service up: no delay, and an idle peer that vanished is noticed within two minutes.
    ///
    /// Not with `TCP_USER_TIMEOUT`: it also breaks off a peer that lives and does not read for so long (tcp(7)). One that
    /// vanishes with bytes on the way is noticed by the kernel's retransmissions (`tcp_retries2`).
    pub fn prepare(&self) -> io::Result<()> {
        let Self::Tcp(tcp) = self else { return Ok(()) };
        let socket = SockRef::from(tcp);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        socket.set_tcp_keepalive(&keepalive)?;
        tcp.set_nodelay(true)
    }

    /// Makes the coming close an RST rather than a FIN.
    pub fn reset_on_close(&self) {
        if let Self::Tcp(tcp) = self {
            // It fails only where the peer has broken the connection off already.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    /// Breaks the connection off.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// Ends both directions in order; bytes that the kernel holds still reach the peer.
    pub fn finish(&self) {
        // It fails only where the peer has broken the connection off already.
        let _ = match self {
            Self::Tcp(tcp) => SockRef::from(tcp).shutdown(Shutdown::Write),
            Self::Unix(unix) => SockRef::from(unix).shutdown(Shutdown::Write),
        };
    }

    /// Whether the kernel has reported an error that nobody has read yet. Costs no system call.
    pub fn has_error(&self) -> bool {
        let nothing = || Ok(());
        match self {
            Self::Tcp(tcp) => tcp.try_io(Interest::ERROR, nothing).is_ok(),
            Self::Unix(unix) => unix.try_io(Interest::ERROR, nothing).is_ok(),
        }
    }

    /// Waits until the peer has broken the connection off, whether or not there are bytes to read.
    pub async fn broken(&self) {
        let ready = match self {
            Self::Tcp(tcp) => tcp.ready(Interest::ERROR).await,
            Self::Unix(unix) => unix.ready(Interest::ERROR).await,
        };
        if ready.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The error that the kernel holds for this socket; taken by the question.
    pub fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(tcp) => tcp.take_error(),
            Self::Unix(unix) => unix.take_error(),
        }
        .ok()
        .flatten()
    }
}

impl Peer {
    /// A peer of an IP socket; an IPv4 address in IPv6's clothes becomes IPv4.
    pub fn ip(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            canonical if canonical != address.ip() => Self::Ip(SocketAddr::new(canonical, address.port())),
            _ => Self::Ip(address),
        }
    }

    /// A peer of a Unix socket; one whose name does not fit counts as one without.
    pub(super) fn unix(address: &SockAddr) -> Self {
        let name = match (address.as_pathname(), address.as_abstract_namespace()) {
            (Some(path), _) => UnixAddr::new(path).ok(),
            (_, Some(name)) => UnixAddr::new_abstract(name).ok(),
            _ => None,
        };
        Self::Unix(name.unwrap_or_else(UnixAddr::new_unnamed))
    }

    /// Its address, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(address) => match (address.path(), address.as_abstract()) {
                (Some(path), _) => write!(f, "unix://{}", path.display()),
                (_, Some(name)) => write!(f, "unix:@{}", name.escape_ascii()),
                _ => f.write_str("unix"),
            },
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_asked_for_and_may_take_its_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = Stream::Tcp(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        stream.prepare().unwrap();
        let Stream::Tcp(tcp) = &stream else { panic!("it is TCP") };
        let socket = SockRef::from(tcp);
        assert!(socket.keepalive().unwrap() && tcp.nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap().unwrap_or_default(), Duration::ZERO);
    }
}
