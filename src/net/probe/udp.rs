//! One empty datagram: is there anybody? UDP can only prove that there is nobody (RFC 1122, 4.1.3.3): the host answers
//! "port unreachable". An answer, or no such word for a while, counts as somebody.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{Miss, tcp::lacks_ipv6};
use crate::outcome::Reason;

/// How long a refusal by this machine itself may take; it comes before `send` returns.
const LOCAL_SILENCE: Duration = Duration::from_millis(50);
/// How long a refusal by another host may take.
const REMOTE_SILENCE: Duration = Duration::from_millis(500);

const NOBODY: &str = "the host says that nobody is there";

/// Sends an empty datagram to the addresses in turn, until one does not refuse.
pub async fn udp(addresses: &[SocketAddr], until: Instant) -> Result<(), Miss> {
    let mut miss = Miss::new(Reason::Dns, "no address");
    for address in addresses {
        match ask(*address, until).await {
            Ok(()) => return Ok(()),
            Err(new) => miss = new,
        }
    }
    Err(miss)
}

async fn ask(to: SocketAddr, until: Instant) -> Result<(), Miss> {
    let sorted = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Miss::new(Reason::PortUnreachable, NOBODY),
        Some(libc::EADDRNOTAVAIL) if lacks_ipv6(&[to]) => {
            Miss::new(Reason::NoIpv6, "this machine has no IPv6 address to come from")
        }
        Some(libc::EADDRNOTAVAIL) => Miss::new(Reason::Resources, "no local port is left"),
        _ => Miss::from_io(&error),
    };
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(sorted)?;
    socket.connect(to).await.map_err(sorted)?;
    if socket.local_addr().ok() == Some(to) {
        // The free port that we were given is the very one that is asked for.
        return Err(Miss::new(Reason::PortUnreachable, NOBODY));
    }
    socket.send(&[]).await.map_err(sorted)?;
    let silence = if to.ip().is_loopback() { LOCAL_SILENCE } else { REMOTE_SILENCE };
    let enough = Instant::now() + silence;
    match timeout_at(enough.min(until), socket.recv(&mut [0; 1])).await {
        Ok(answer) => answer.map(drop).map_err(sorted),
        Err(_) if enough > until => Err(Miss::new(Reason::Timeout, "too little time to notice a refusal")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_socket_is_there_and_a_free_port_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let soon = || Instant::now() + Duration::from_secs(5);
        assert_eq!(udp(&[address], soon()).await, Ok(()));
        drop(socket);
        assert_eq!(udp(&[address], soon()).await.unwrap_err().reason, Reason::PortUnreachable);
    }
}
