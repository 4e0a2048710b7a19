//! Reaching an upstream: the targets of a route one after the other, each within `connect_timeout`, never our own listener.

use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt as _, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::{UdpSocket, UnixDatagram},
    time::{Instant, timeout_at},
};

use super::upstream::{Busy, Route, Target};
use crate::{
    context::{Observer, Shared},
    net::{
        self,
        dial::{self, Options, Source},
        listen::{self, Listener},
        stream::{Peer, Stream},
    },
    outcome::{Close, Reason},
    value::{Endpoint, Family, Host, SocketPath},
};

/// A connected upstream of a session.
#[derive(Debug)]
pub(super) enum Far {
    /// Bytes.
    Stream(Stream),
    /// UDP datagrams.
    Udp(UdpSocket),
    /// Unix datagrams.
    Unixgram(UnixDatagram),
}

/// Connects to upstreams.
pub(super) struct Connector {
    pub(super) shared: Arc<Shared>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) base: Arc<Path>,
    pub(super) timeout: Duration,
    pub(super) source: Option<Source>,
    /// Where the job itself listens.
    pub(super) own: Vec<Own>,
}

/// One of the job's own listeners, by address.
#[derive(Debug)]
pub(super) struct Own {
    scheme: &'static str,
    endpoint: Endpoint,
    local: Option<SocketAddr>,
}

impl Own {
    pub(super) fn of(listener: &Listener) -> Option<Self> {
        let endpoint = listener.endpoint()?;
        Some(Self { scheme: endpoint.scheme(), endpoint, local: listener.local() })
    }
}

impl Connector {
    /// The first target of a route that can be reached, or why the last one could not. `goes_to` hears of each attempt.
    pub(super) async fn reach(
        &self,
        route: &Route,
        client: &Peer,
        is_datagram: bool,
        mut goes_to: impl FnMut(&str) + Send,
    ) -> Result<(Far, Arc<Target>, Busy), Close> {
        let mut close = Close::NoUpstream;
        for target in route.order(client.address()) {
            goes_to(&target.label);
            let busy = target.busy();
            let started = Instant::now();
            match self.connect(&target.endpoint, is_datagram).await {
                Ok(far) => {
                    // A datagram socket connects to nobody: only an answer shows that the upstream is there.
                    if !is_datagram {
                        target.reached(started.elapsed());
                    }
                    return Ok((far, target, busy));
                }
                Err(why) => {
                    // That this machine is short says nothing of the upstream.
                    if why != Close::Resources {
                        target.failed();
                    }
                    close = why;
                }
            }
        }
        Err(close)
    }

    async fn connect(&self, endpoint: &Endpoint, is_datagram: bool) -> Result<Far, Close> {
        let deadline = Instant::now() + self.timeout;
        let named;
        let endpoint = match endpoint {
            Endpoint::Job(name) => {
                named = self.observer.address_of(name.as_str()).ok_or(Close::NoUpstream)?;
                &named
            }
            endpoint => endpoint,
        };
        if endpoint.is_datagram() != is_datagram {
            return Err(Close::NoUpstream);
        }
        match endpoint {
            Endpoint::Tcp(host, ports) => {
                let addresses = self.resolve(host, ports.first, "tcp", deadline).await?;
                let (stream, _) = dial::tcp(&addresses, &self.options(deadline))
                    .await
                    .map_err(|failure| close_of(&failure))?;
                Ok(Far::Stream(Stream::Tcp(stream)))
            }
            Endpoint::Udp(host, ports) => {
                let addresses = self.resolve(host, ports.first, "udp", deadline).await?;
                let (socket, _) = dial::udp(&addresses, &self.options(deadline))
                    .await
                    .map_err(|failure| close_of(&failure))?;
                Ok(Far::Udp(socket))
            }
            Endpoint::Unix(path) => {
                let path = self.unix_path(path, Endpoint::Unix)?;
                let stream =
                    dial::unix(&path, &self.options(deadline)).await.map_err(|failure| close_of(&failure))?;
                Ok(Far::Stream(Stream::Unix(stream)))
            }
            Endpoint::Unixgram(path) => {
                let path = self.unix_path(path, Endpoint::Unixgram)?;
                dial::unixgram(&path).map(Far::Unixgram).map_err(|failure| close_of(&failure))
            }
            Endpoint::Icmp(_) | Endpoint::Http { .. } | Endpoint::Job(_) => Err(Close::NoUpstream),
        }
    }

    fn options(&self, deadline: Instant) -> Options {
        let timeout = deadline.saturating_duration_since(Instant::now());
        Options { timeout, source: self.source.clone() }
    }

    /// Addresses of a host that are not our own listeners.
    async fn resolve(
        &self,
        host: &Host,
        port: u16,
        scheme: &'static str,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Close> {
        let lookup = self.shared.resolver.lookup(host, port, Family::Any);
        let addresses = match timeout_at(deadline, lookup).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(net::Error::NoInterface { .. })) => return Err(Close::Unreachable),
            Ok(Err(_)) | Err(_) => return Err(Close::Dns),
        };
        let is_own = |address: &SocketAddr| {
            let listens =
                |own: &Own| own.scheme == scheme && own.local.is_some_and(|own| is_same(own, *address));
            self.own.iter().any(listens)
        };
        let foreign: Vec<SocketAddr> = addresses.into_iter().filter(|address| !is_own(address)).collect();
        if foreign.is_empty() { Err(Close::Loop) } else { Ok(foreign) }
    }

    /// A relative path starts at the job file.
    fn unix_path(&self, path: &SocketPath, scheme: fn(SocketPath) -> Endpoint) -> Result<SocketPath, Close> {
        let path = match path {
            SocketPath::File(file) => SocketPath::File(self.base.join(file)),
            name @ SocketPath::Abstract(_) => name.clone(),
        };
        let endpoint = scheme(path.clone());
        let is_own = |own: &Own| own.endpoint == endpoint || is_same_file(&own.endpoint, &path);
        if self.own.iter().any(is_own) { Err(Close::Loop) } else { Ok(path) }
    }
}

/// Whether a listener's socket file is the one to which a path leads, by whatever links.
fn is_same_file(own: &Endpoint, path: &SocketPath) -> bool {
    let (
        Endpoint::Unix(SocketPath::File(own)) | Endpoint::Unixgram(SocketPath::File(own)),
        SocketPath::File(path),
    ) = (own, path)
    else {
        return false;
    };
    match (fs::metadata(own), fs::metadata(path)) {
        (Ok(own), Ok(path)) => (own.dev(), own.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

/// Whether a connection to `target` arrives at a listener that is bound to `own`.
fn is_same(own: SocketAddr, target: SocketAddr) -> bool {
    if own.port() != target.port() {
        return false;
    }
    let (ours, theirs) = (own.ip().to_canonical(), target.ip().to_canonical());
    // 0.0.0.0 and :: as a target mean this machine's loopback.
    ours == theirs
        || theirs.is_unspecified() && (ours.is_loopback() || ours.is_unspecified())
        || ours.is_unspecified() && (ours.is_ipv6() || theirs.is_ipv4()) && listen::is_local(theirs)
}

fn close_of(failure: &dial::Failure) -> Close {
    match failure.reason {
        Reason::Refused => Close::Refused,
        Reason::Reset => Close::UpstreamReset,
        Reason::ConnectTimeout | Reason::Timeout => Close::ConnectTimeout,
        Reason::Dns => Close::Dns,
        Reason::Resources => Close::Resources,
        _ => Close::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_every_spelling() {
        let same = |own: &str, target: &str| is_same(own.parse().unwrap(), target.parse().unwrap());
        for target in ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80"] {
            assert!(same("127.0.0.1:80", target), "{target}");
        }
        for target in ["127.0.0.1:80", "127.0.0.9:80", "[::1]:80", "[::]:80"] {
            assert!(same("[::]:80", target), "{target}");
        }
        assert!(same("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!same("0.0.0.0:80", "[::1]:80"));
        assert!(!same("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!same("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!same("0.0.0.0:80", "192.0.2.1:80"));
    }
}
