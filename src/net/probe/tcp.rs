//! One TCP connection to any of a host's addresses.
//!
//! A connection to a free port of this machine's own ephemeral range can meet itself (RFC 9293, simultaneous open): that
//! is nobody's answer.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{SockRef, Socket};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};

use super::Miss;
use crate::{
    net::{
        dial::{self, Options},
        icmp::Failure,
    },
    outcome::Reason,
};

/// Connects to the first address that accepts; otherwise the miss that tells most.
pub async fn tcp(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, Miss> {
    let options = Options::within(until.saturating_duration_since(Instant::now()));
    let (stream, at) = match dial::tcp(addresses, &options).await {
        Ok(connected) => connected,
        Err(failure) if failure.reason == Reason::Resources && lacks_ipv6(addresses) => {
            return Err(Miss::new(Reason::NoIpv6, "this machine has no IPv6 address to come from"));
        }
        Err(failure) => return Err(failure.into()),
    };
    if stream.local_addr().is_ok_and(|own| own == at) {
        // Reset rather than finish: no TIME_WAIT may keep the port from the service that should be there.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return Err(Miss::new(Reason::Refused, format!("connect {at}: connection refused")));
    }
    Ok(stream)
}

/// Connects to a host once, and lets go. Where a router answers for the host, it is not the host that refuses, although
/// the system says the same of both.
pub async fn knock(host: SocketAddr, until: Instant) -> Result<(), Miss> {
    match timeout_at(until, attempt(host)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err((_, Some(Failure { reason, offender: Some(router), .. })))) => {
            Err(Miss::new(reason, format!("{router} answered for it")))
        }
        Ok(Err((error, _))) if is_no_source(&error) && lacks_ipv6(&[host]) => {
            Err(Miss::new(Reason::NoIpv6, "this machine has no IPv6 address to come from"))
        }
        Ok(Err((error, _))) => Err(dial::Failure::new(host, &error).into()),
        Err(_) => Err(Miss::new(Reason::ConnectTimeout, "no answer")),
    }
}

/// What a router said stands beside the error.
async fn attempt(host: SocketAddr) -> Result<(), (io::Error, Option<Failure>)> {
    let open = || {
        let socket = if host.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        match host {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        // The connection's own descriptor is gone before its errors can be read.
        let twin = SockRef::from(&socket).try_clone()?;
        Ok((socket, twin))
    };
    let (socket, twin) = open().map_err(|error: io::Error| (error, None))?;
    match socket.connect(host).await {
        Ok(stream) if stream.local_addr().is_ok_and(|own| own == host) => {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            Err((io::Error::from_raw_os_error(libc::ECONNREFUSED), None))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let told = told(&twin).filter(|told| !told.local && told.offender != Some(host.ip()));
            Err((error, told))
        }
    }
}

/// What came back for a connection.
fn told(socket: &Socket) -> Option<Failure> {
    let (mut buffer, mut control) = ([0; 64], [0; 512]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
    message.ok()?.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, router) => {
            Some(Failure::of(&error, router.map(|router| SockaddrIn::from(router).ip().into())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, router) => {
            Some(Failure::of(&error, router.map(|router| SockaddrIn6::from(router).ip().into())))
        }
        _ => None,
    })
}

fn is_no_source(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// The system says "no such address to come from" both where no port is left and where IPv6 is switched off.
pub(super) fn lacks_ipv6(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(SocketAddr::is_ipv6) && UdpSocket::bind("[::1]:0").is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_second_address_answers_where_the_first_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let soon = Instant::now() + Duration::from_secs(5);
        assert_eq!(tcp(&[nobody, there], soon).await.unwrap().peer_addr().unwrap(), there);
        assert_eq!(tcp(&[nobody], soon).await.unwrap_err().reason, Reason::Refused);
    }
}
