//! One TCP connection to any of a host's addresses, the next one after 250 ms or a failure (RFC 8305).
//!
//! A connection to a free port of this machine's own ephemeral range can meet itself (RFC 9293, simultaneous open): that
//! is nobody's answer.

use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Miss, bounded, connect_miss};
use crate::outcome::Reason;

/// How long an address may be silent before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the first address that accepts; otherwise the miss that tells most.
pub async fn tcp(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, Miss> {
    bounded(until, Reason::ConnectTimeout, "no answer to the connection", first(addresses)).await
}

async fn first(addresses: &[SocketAddr]) -> Result<TcpStream, Miss> {
    if let [only] = addresses {
        return connect(*only).await;
    }
    let mut rest = addresses.iter();
    let mut running = JoinSet::new();
    let mut miss: Option<Miss> = None;
    loop {
        let next = rest.next();
        if let Some(address) = next {
            running.spawn(connect(*address));
        }
        let patience = if next.is_some() { STAGGER } else { Duration::MAX };
        match timeout(patience, running.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(new)))) => miss = Some(more_telling(miss, new)),
            Ok(Some(Err(_))) | Err(_) => {}
            Ok(None) => return Err(miss.unwrap_or_else(|| Miss::new(Reason::Dns, "no address"))),
        }
    }
}

/// A host's own answer tells more than that this machine has no way there.
fn more_telling(old: Option<Miss>, new: Miss) -> Miss {
    match old {
        Some(old) if old.reason != Reason::NoRoute && old.reason != Reason::NoIpv6 => old,
        _ => new,
    }
}

async fn connect(to: SocketAddr) -> Result<TcpStream, Miss> {
    let stream = TcpStream::connect(to).await.map_err(|error| connect_miss(to.ip(), &error))?;
    if stream.local_addr().is_ok_and(|own| stream.peer_addr().is_ok_and(|peer| own == peer)) {
        // Reset rather than finish: no TIME_WAIT may keep the port from the service that should be there.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return Err(Miss::new(Reason::Refused, "connection refused"));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// A port that nobody listens on: it was ours a moment ago.
    async fn free_port() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn the_second_address_answers_where_the_first_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let stream = tcp(&[free_port().await, there], soon()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn a_refused_port_is_refused_at_once() {
        let started = Instant::now();
        let miss = tcp(&[free_port().await, free_port().await], soon()).await.unwrap_err();
        assert_eq!(miss.reason, Reason::Refused);
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
