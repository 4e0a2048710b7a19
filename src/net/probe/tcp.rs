//! One TCP connection to any of a host's addresses.
//!
//! A connection to a free port of this machine's own ephemeral range can meet itself (RFC 9293, simultaneous open): that
//! is nobody's answer.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use socket2::SockRef;
use tokio::{net::TcpStream, time::Instant};

use super::Miss;
use crate::{
    net::dial::{self, Options},
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
