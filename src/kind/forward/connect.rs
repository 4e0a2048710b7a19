//! Reaching an upstream: the targets of a route one after the other, each within `connect_timeout`, never our own listener.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UdpSocket, UnixDatagram},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    own::Own,
    upstream::{Busy, Route, Target},
};
use crate::{
    context::{Observer, Shared},
    net::{
        self,
        dial::{self, Options},
        hops::{self, Hop},
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
    /// Whether a connection waits where this machine has no descriptor for it; a session of datagrams never does.
    pub(super) is_patient: bool,
    /// Where the job itself listens.
    pub(super) own: Vec<Own>,
}

/// Why an upstream was not reached.
enum Missed {
    /// This machine had no descriptor or memory for the attempt.
    Short,
    /// Whatever a client's connection ends with.
    Close(Close),
}

/// The pause before an attempt for which this machine was short is made again.
const PAUSE: Duration = Duration::from_millis(50);

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

    /// Connects to one target. An attempt for which this machine was short is made anew, in the time that is left of the one
    /// that all may take.
    async fn connect(
        &self,
        endpoint: &Endpoint,
        is_datagram: bool,
        before: u8,
    ) -> Result<(Far, Option<Hop>), Close> {
        let deadline = Instant::now() + self.options.timeout;
        let is_patient = self.is_patient && !is_datagram;
        let mut left = None;
        loop {
            let options = left.as_ref().unwrap_or(&self.options);
            match self.attempt(endpoint, is_datagram, before, options).await {
                Err(Missed::Short) if is_patient && Instant::now() + PAUSE < deadline => {
                    sleep(PAUSE).await;
                    left = Some(self.until(deadline));
                }
                Err(Missed::Short) => return Err(Close::Resources),
                Err(Missed::Close(close)) => return Err(close),
                Ok(connected) => return Ok(connected),
            }
        }
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        is_datagram: bool,
        before: u8,
        options: &Options,
    ) -> Result<(Far, Option<Hop>), Missed> {
        let named;
        let endpoint = match endpoint {
            Endpoint::Job(name) => {
                named = self.observer.address_of(name.as_str()).ok_or(Close::NoUpstream)?;
                &named
            }
            endpoint => endpoint,
        };
        if endpoint.is_datagram() != is_datagram {
            return Err(Close::NoUpstream.into());
        }
        match endpoint {
            // No name to look up: neither a list nor a second timer.
            Endpoint::Tcp(Host::Ip(ip), ports) => {
                let address = SocketAddr::new(*ip, ports.first);
                if self.is_own(address, "tcp") {
                    return Err(Close::Loop.into());
                }
                self.tcp(&[address], options, before).await
            }
            Endpoint::Tcp(host, ports) => {
                let (addresses, options) = self.resolve(host, ports.first, "tcp", options).await?;
                let dialled = self.tcp(&addresses, &options, before);
                timeout(options.timeout, dialled).await.unwrap_or(Err(Close::ConnectTimeout.into()))
            }
            Endpoint::Udp(host, ports) => {
                let (addresses, options) = self.resolve(host, ports.first, "udp", options).await?;
                let (socket, _) = dial::udp(&addresses, &options).await?;
                Ok((Far::Udp(socket), None))
            }
            Endpoint::Unix(path) => {
                let path = self.unix_path(path, Endpoint::Unix)?;
                self.unix(&path, options, before).await
            }
            Endpoint::Unixgram(path) => {
                let path = self.unix_path(path, Endpoint::Unixgram)?;
                Ok((Far::Unixgram(dial::unixgram(&path)?), None))
            }
            Endpoint::Icmp(_) | Endpoint::Http { .. } | Endpoint::Job(_) => Err(Close::NoUpstream.into()),
        }
    }

    /// A listener of this process, which is told through how many forwards the client has come, or anybody else.
    async fn tcp(
        &self,
        addresses: &[SocketAddr],
        options: &Options,
        before: u8,
    ) -> Result<(Far, Option<Hop>), Missed> {
        let hops = &self.shared.stream_hops;
        let far = |stream, hop| Ok((Far::Stream(Stream::Tcp(stream)), hop));
        let is_ours = |address: &SocketAddr| self.shared.listeners.is_tcp(*address);
        let (mut rest, mut missed) = (addresses, Close::Dns.into());
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
            missed = failure.into();
        }
        Err(missed)
    }

    async fn unix(
        &self,
        path: &SocketPath,
        options: &Options,
        before: u8,
    ) -> Result<(Far, Option<Hop>), Missed> {
        let hops = &self.shared.stream_hops;
        let far = |stream, hop| (Far::Stream(Stream::Unix(stream)), hop);
        if self.shared.listeners.is_unix(path) {
            let told = |from| hops.enter(Peer::Unix(from), before);
            let (stream, hop) = dial::unix_told(path, options, told).await?;
            Ok(far(stream, Some(hop)))
        } else {
            Ok(far(dial::unix(path, options).await?, None))
        }
    }

    /// Addresses of a host that are not our own listeners, and the time that is left for them.
    async fn resolve(
        &self,
        host: &Host,
        port: u16,
        scheme: &'static str,
        options: &Options,
    ) -> Result<(Vec<SocketAddr>, Options), Missed> {
        let deadline = Instant::now() + options.timeout;
        let lookup = self.shared.resolver.lookup(host, port, Family::Any);
        let mut addresses = match timeout_at(deadline, lookup).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(net::Error::NoInterface { .. })) => return Err(Close::Unreachable.into()),
            Ok(Err(error)) if error.reason() == Reason::Resources => return Err(Missed::Short),
            Ok(Err(_)) | Err(_) => return Err(Close::Dns.into()),
        };
        addresses.retain(|address| !self.is_own(*address, scheme));
        if addresses.is_empty() {
            return Err(Close::Loop.into());
        }
        Ok((addresses, self.until(deadline)))
    }

    /// What is left of the time until then.
    fn until(&self, deadline: Instant) -> Options {
        let timeout = deadline.saturating_duration_since(Instant::now());
        Options { timeout, source: self.options.source.clone() }
    }

    fn is_own(&self, address: SocketAddr, scheme: &str) -> bool {
        self.own.iter().any(|own| own.is_at(address, scheme, &self.shared.listeners))
    }

    /// A relative path starts at the job file.
    fn unix_path(&self, path: &SocketPath, scheme: fn(SocketPath) -> Endpoint) -> Result<SocketPath, Close> {
        let path = match path {
            SocketPath::File(file) => SocketPath::File(self.base.join(file)),
            name @ SocketPath::Abstract(_) => name.clone(),
        };
        let endpoint = scheme(path.clone());
        if self.own.iter().any(|own| own.is_path(&endpoint, &path)) { Err(Close::Loop) } else { Ok(path) }
    }
}

impl From<Close> for Missed {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

impl From<dial::Failure> for Missed {
    fn from(failure: dial::Failure) -> Self {
        Self::Close(match failure.reason {
            _ if failure.is_short => return Self::Short,
            Reason::Refused => Close::Refused,
            Reason::Reset => Close::UpstreamReset,
            Reason::ConnectTimeout | Reason::Timeout => Close::ConnectTimeout,
            Reason::Dns => Close::Dns,
            Reason::Resources => Close::Resources,
            _ => Close::Unreachable,
        })
    }
}
