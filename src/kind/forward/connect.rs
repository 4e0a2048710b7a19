//! Reaching an upstream: the targets of a route one after the other, each within `connect_timeout`, never our own listener.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use tokio::{
    net::{UdpSocket, UnixDatagram},
    time::{Instant, timeout, timeout_at},
};

use super::upstream::{Busy, Route, Target};
use crate::{
    context::{Observer, Shared},
    net::{
        self,
        dial::{self, Options},
        hops::{self, Hop},
        listen::{Listener, Pool},
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
    /// For each upstream, its name's look-up included.
    pub(super) options: Options,
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
    /// The first target of a route that can be reached, or why the last one could not, for a client that came through
    /// `before` forwards. `goes_to` hears of each attempt.
    pub(super) async fn reach(
        &self,
        route: &Route,
        client: Option<IpAddr>,
        is_datagram: bool,
        before: u8,
        mut goes_to: impl FnMut(&str) + Send,
    ) -> Result<(Far, Arc<Target>, Busy), Close> {
        if before >= hops::MOST {
            return Err(Close::Loop);
        }
        let mut close = Close::NoUpstream;
        for target in route.order(client) {
            goes_to(&target.label);
            let mut busy = target.busy();
            let started = Instant::now();
            match self.connect(&target.endpoint, is_datagram, before).await {
                Ok((far, hop)) => {
                    busy.hop = hop.map(Box::new);
                    // A datagram socket connects to nobody: only an answer shows that the upstream is there.
                    if !is_datagram {
                        target.reached(started.elapsed());
                    }
                    return Ok((far, target.clone(), busy));
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

    async fn connect(
        &self,
        endpoint: &Endpoint,
        is_datagram: bool,
        before: u8,
    ) -> Result<(Far, Option<Hop>), Close> {
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
            // No name to look up: neither a list nor a second timer.
            Endpoint::Tcp(Host::Ip(ip), ports) => {
                let address = SocketAddr::new(*ip, ports.first);
                if self.is_own(address, "tcp") {
                    return Err(Close::Loop);
                }
                self.tcp(&[address], &self.options, before).await
            }
            Endpoint::Tcp(host, ports) => {
                let (addresses, options) = self.resolve(host, ports.first, "tcp").await?;
                let dialled = self.tcp(&addresses, &options, before);
                timeout(options.timeout, dialled).await.unwrap_or(Err(Close::ConnectTimeout))
            }
            Endpoint::Udp(host, ports) => {
                let (addresses, options) = self.resolve(host, ports.first, "udp").await?;
                let dialled = dial::udp(&addresses, &options).await;
                dialled.map(|(socket, _)| (Far::Udp(socket), None)).map_err(|failure| close_of(&failure))
            }
            Endpoint::Unix(path) => self.unix(&self.unix_path(path, Endpoint::Unix)?, before).await,
            Endpoint::Unixgram(path) => {
                let path = self.unix_path(path, Endpoint::Unixgram)?;
                let dialled = dial::unixgram(&path);
                dialled.map(|socket| (Far::Unixgram(socket), None)).map_err(|failure| close_of(&failure))
            }
            Endpoint::Icmp(_) | Endpoint::Http { .. } | Endpoint::Job(_) => Err(Close::NoUpstream),
        }
    }

    /// A listener of this process, which is told through how many forwards the client has come, or anybody else.
    async fn tcp(
        &self,
        addresses: &[SocketAddr],
        options: &Options,
        before: u8,
    ) -> Result<(Far, Option<Hop>), Close> {
        let hops = &self.shared.stream_hops;
        let far = |stream, hop| Ok((Far::Stream(Stream::Tcp(stream)), hop));
        let is_ours = |address: &SocketAddr| self.shared.listeners.is_tcp(*address);
        let (mut rest, mut close) = (addresses, Close::Dns);
        while let Some(first) = rest.first() {
            let failure = if is_ours(first) {
                rest = &rest[1..];
                match dial::tcp_told(*first, options, |from| hops.enter(from, before)).await {
                    Ok((stream, hop)) => return far(stream, Some(hop)),
                    Err(failure) => failure,
                }
            } else {
                let others = rest.iter().position(is_ours).unwrap_or(rest.len());
                match dial::tcp(&rest[..others], options).await {
                    Ok((stream, _)) => return far(stream, None),
                    Err(failure) => {
                        rest = &rest[others..];
                        failure
                    }
                }
            };
            close = close_of(&failure);
        }
        Err(close)
    }

    async fn unix(&self, path: &SocketPath, before: u8) -> Result<(Far, Option<Hop>), Close> {
        let (hops, options) = (&self.shared.stream_hops, &self.options);
        let far = |stream, hop| (Far::Stream(Stream::Unix(stream)), hop);
        let dialled = if self.shared.listeners.is_unix(path) {
            let told = dial::unix_told(path, options, |from| hops.enter(Peer::Unix(from), before)).await;
            told.map(|(stream, hop)| far(stream, Some(hop)))
        } else {
            dial::unix(path, options).await.map(|stream| far(stream, None))
        };
        dialled.map_err(|failure| close_of(&failure))
    }

    /// Addresses of a host that are not our own listeners, and the time that is left for them.
    async fn resolve(
        &self,
        host: &Host,
        port: u16,
        scheme: &'static str,
    ) -> Result<(Vec<SocketAddr>, Options), Close> {
        let deadline = Instant::now() + self.options.timeout;
        let lookup = self.shared.resolver.lookup(host, port, Family::Any);
        let mut addresses = match timeout_at(deadline, lookup).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(net::Error::NoInterface { .. })) => return Err(Close::Unreachable),
            Ok(Err(error)) if error.reason() == Reason::Resources => return Err(Close::Resources),
            Ok(Err(_)) | Err(_) => return Err(Close::Dns),
        };
        addresses.retain(|address| !self.is_own(*address, scheme));
        if addresses.is_empty() {
            return Err(Close::Loop);
        }
        let timeout = deadline.saturating_duration_since(Instant::now());
        Ok((addresses, Options { timeout, source: self.options.source.clone() }))
    }

    fn is_own(&self, address: SocketAddr, scheme: &str) -> bool {
        let pool = &self.shared.listeners;
        let listens =
            |own: &Own| own.scheme == scheme && own.local.is_some_and(|own| is_same(own, address, pool));
        self.own.iter().any(listens)
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
fn is_same(own: SocketAddr, target: SocketAddr, pool: &Pool) -> bool {
    if own.port() != target.port() {
        return false;
    }
    let (ours, theirs) = (own.ip().to_canonical(), target.ip().to_canonical());
    // 0.0.0.0 and :: as a target mean this machine's loopback.
    ours == theirs
        || theirs.is_unspecified() && (ours.is_loopback() || ours.is_unspecified())
        || ours.is_unspecified() && (ours.is_ipv6() || theirs.is_ipv4()) && pool.is_local(target)
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
        let same = |own: &str, target: &str| {
            is_same(own.parse().unwrap(), target.parse().unwrap(), &Pool::default())
        };
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
