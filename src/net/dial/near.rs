//! Connecting to a listener of this very process: it is told from where, before the connection is there.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{UnixAddr, bind, getsockname};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream, UnixStream},
    time::{sleep, timeout},
};

use super::{BACKLOG_PAUSE, Failure, Options, Source, from_source, native, unix_failure};
use crate::value::SocketPath;

/// TCP to one address. `tell` hears the connection's own address first; what it gives back comes with the connection.
pub async fn tcp_told<T>(
    address: SocketAddr,
    options: &Options,
    tell: impl FnOnce(SocketAddr) -> T,
) -> Result<(TcpStream, T), Failure> {
    let connect = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let from = match &options.source {
            Some(Source::Address(from)) => SocketAddr::new(*from, 0),
            Some(Source::Device(name)) => {
                socket.bind_device(Some(name.as_bytes()))?;
                usual_source(address)?
            }
            None => usual_source(address)?,
        };
        socket.bind(from).map_err(|error| from_source(from.ip(), &error))?;
        let told = tell(socket.local_addr()?);
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok((stream, told))
    };
    match timeout(options.timeout, connect).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(Failure::new(address, &error)),
        Err(_) => Err(Failure::late(address, options.timeout)),
    }
}

/// The address from which the system would connect, any port.
fn usual_source(to: SocketAddr) -> io::Result<SocketAddr> {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // Connecting a datagram socket only looks up the way.
    socket.connect(to)?;
    let mut from = socket.local_addr()?;
    from.set_port(0);
    Ok(from)
}

/// A Unix stream, from an abstract name of its own that `tell` hears first. A full backlog is waited for.
pub async fn unix_told<T>(
    path: &SocketPath,
    options: &Options,
    tell: impl FnOnce(UnixAddr) -> T,
) -> Result<(UnixStream, T), Failure> {
    let connect = async {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let told = tell(getsockname(socket.as_raw_fd())?);
        let at = SockAddr::unix(native(path))?;
        while let Err(error) = socket.connect(&at) {
            if error.raw_os_error() != Some(libc::EAGAIN) {
                return Err(error);
            }
            sleep(BACKLOG_PAUSE).await;
        }
        Ok((UnixStream::from_std(socket.into())?, told))
    };
    match timeout(options.timeout, connect).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(unix_failure("unix", path, &error)),
        Err(_) => Err(Failure::late(format_args!("unix:{path}"), options.timeout)),
    }
}
