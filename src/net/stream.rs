//! A connected stream socket, TCP or Unix, with the same face; and who is at the other end.
//!
//! A Unix stream has no RST: closed with bytes unread it gives the peer ECONNRESET, otherwise an end of file.

mod calls;

use std::{
    fmt, io,
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::{AsFd as _, AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use nix::sys::socket::{self, MsgFlags, UnixAddr};
use socket2::{SockAddr, SockRef, Socket, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::sys::{
    outq,
    tcp::{self, Answers},
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

/// A connection that was accepted and belongs to no runtime yet. Dropped, it is broken off: the client must not take the
/// close for an empty answer.
#[derive(Debug)]
pub struct Accepted {
    socket: Option<Socket>,
    /// Who is at the other end.
    pub peer: Peer,
}

/// So often the kernel asks a peer that is silent.
const KEEPALIVE_RETRIES: u32 = 4;

impl Accepted {
    pub(super) fn new(socket: Socket, peer: &SockAddr) -> Self {
        Self { socket: Some(socket), peer: Peer::of(peer) }
    }

    /// Registers it with the runtime of the caller, which carries it from now on.
    pub fn register(mut self) -> io::Result<Stream> {
        let socket = self.socket.take().ok_or(io::ErrorKind::NotConnected)?;
        match self.peer {
            Peer::Ip(_) => TcpStream::from_std(socket.into()).map(Stream::Tcp),
            Peer::Unix(_) => UnixStream::from_std(socket.into()).map(Stream::Unix),
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let (Some(socket), Peer::Ip(_)) = (&self.socket, self.peer) {
            // It fails only where the peer has broken the connection off already.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

impl Stream {
    /// Lets the kernel ask a peer that has been silent for `limit`, and break off when as much again has passed without an
    /// answer.
    pub fn keep_alive(&self, limit: Duration) -> io::Result<()> {
        let Self::Tcp(tcp) = self else { return Ok(()) };
        let interval = (limit / KEEPALIVE_RETRIES).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new()
            .with_time(limit.max(Duration::from_secs(1)))
            .with_interval(interval)
            .with_retries(KEEPALIVE_RETRIES);
        SockRef::from(tcp).set_tcp_keepalive(&keepalive)
    }

    /// How a TCP peer answers.
    pub fn answers(&self) -> Option<Answers> {
        match self {
            Self::Tcp(tcp) => tcp::answers(tcp.as_fd()).ok(),
            Self::Unix(_) => None,
        }
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

    /// Looks at bytes that wait and leaves them there; waits until there are some. Zero: the peer has finished.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer, MsgFlags::MSG_PEEK).await
    }

    /// Takes bytes; waits until there are some. Zero: the peer has finished.
    pub async fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer, MsgFlags::empty()).await
    }

    async fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
        let read = |fd| socket::recv(fd, buffer, flags).map_err(io::Error::from);
        self.io(Interest::READABLE, read).await
    }

    /// Writes what fits; waits until something does. With `is_more` the kernel may keep it for a moment, so that it goes
    /// out together with what is written next.
    pub async fn send(&self, bytes: &[u8], is_more: bool) -> io::Result<usize> {
        let more = if is_more { MsgFlags::from_bits_retain(libc::MSG_MORE) } else { MsgFlags::empty() };
        let flags = more | MsgFlags::MSG_NOSIGNAL;
        let write = |fd| socket::send(fd, bytes, flags).map_err(io::Error::from);
        self.io(Interest::WRITABLE, write).await
    }

    async fn io<T>(&self, interest: Interest, mut call: impl FnMut(RawFd) -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(tcp) => tcp.async_io(interest, || call(tcp.as_raw_fd())).await,
            Self::Unix(unix) => unix.async_io(interest, || call(unix.as_raw_fd())).await,
        }
    }

    /// Bytes written to a TCP socket that its peer has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        match self {
            Self::Tcp(tcp) => outq::unacknowledged(tcp.as_fd()),
            Self::Unix(_) => 0,
        }
    }

    /// Whether urgent data of TCP stopped the last read, so that no news need come of what lies behind it.
    pub fn is_at_mark(&self) -> bool {
        match self {
            Self::Tcp(tcp) => outq::is_at_mark(tcp.as_fd()),
            Self::Unix(_) => false,
        }
    }

    /// Its own address; `None` for a Unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok(),
            Self::Unix(_) => None,
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

    /// A peer of an IP or a Unix socket.
    pub(super) fn of(address: &SockAddr) -> Self {
        address.as_socket().map_or_else(|| Self::unix(address), Self::ip)
    }

    /// A peer of a Unix socket; one whose name does not fit counts as one without.
    fn unix(address: &SockAddr) -> Self {
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

/// Whether a call is to be made again; the runtime hands such an error on.
fn is_interrupted<T>(polled: &Poll<io::Result<T>>) -> bool {
    matches!(polled, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        loop {
            let read = match stream {
                Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
                Self::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
            };
            if !is_interrupted(&read) {
                return read;
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        loop {
            let written = match stream {
                Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
                Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            };
            if !is_interrupted(&written) {
                return written;
            }
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
        stream.keep_alive(Duration::from_mins(1)).unwrap();
        let Stream::Tcp(tcp) = &stream else { panic!("it is TCP") };
        let socket = SockRef::from(tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap().unwrap_or_default(), Duration::ZERO);
    }
}
