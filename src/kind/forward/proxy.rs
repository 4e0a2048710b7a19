//! The key `proxy_protocol`: whose header is read, who the client is then, and which header goes to the upstream.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::timeout;

use super::Forward;
use crate::{
    diagnostic::Report,
    net::{
        proxy::{self, Addresses, Header, Version},
        stream::{Peer, Stream},
    },
    outcome::Close,
    value::{Endpoint, Flag, Many, Network, SocketPath},
};

/// The PROXY protocol, in and out, for streams. Without `accept` and `send` it would do nothing, and is refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Whether each connection begins with a header, version 1 or 2, of a proxy in `trust`. The client that it names is then
    /// the client everywhere: in `allow`, `deny`, `max_per_source`, `balance: source_hash`, the log and the header that is
    /// sent on. A header without addresses (`LOCAL`, `UNKNOWN`, `UNSPEC`, Unix sockets) leaves the proxy itself as the
    /// client: let it in by `allow` if it checks the forward's health. A connection is broken off (`proxy_header`) that comes
    /// from elsewhere, has no header, a wrong one or one of more than 16 KiB, or has not sent it whole after 5 seconds.
    /// Default `false`.
    #[serde(default)]
    pub accept: Flag,
    /// The version of the header sent to upstreams, `v1` (text) or `v2` (binary): the client's address and the one that it
    /// connected to. Where either is unknown, as for clients of Unix sockets, v1 says `UNKNOWN` and v2 `LOCAL`. It goes out
    /// together with the client's first bytes, or alone after 5 milliseconds. Default: none is sent.
    #[serde(default)]
    pub send: Option<ProxyVersion>,
    /// The networks of the proxies whose headers are believed; needed with `accept`, since whoever is believed can claim any
    /// address. Clients of a Unix socket are believed: its file is for its owner alone.
    #[serde(default)]
    pub trust: Option<Many<Network>>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// The text form.
    V1,
    /// The binary form.
    V2,
}

/// A header must be whole after so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// A header waits so long for the client's first bytes.
const TOGETHER: Duration = Duration::from_millis(5);

impl ProxyProtocol {
    /// Says what is wrong with it.
    pub(super) fn check(&self, spec: &Forward, report: &mut Report) {
        if !self.accept.0 && self.send.is_none() && self.trust.is_none() {
            let hint = "write `accept: true` and `trust`, `send`, or both";
            report.error("proxy_protocol", "`proxy_protocol` does nothing", Some(hint));
        }
        if !self.accept.0 && self.trust.is_some() {
            let message = "`trust` is for headers that are accepted";
            report.error("proxy_protocol.trust", message, Some("write `accept: true` beside it"));
        }
        let listens = || spec.listen.iter().map(|bind| &bind.0).filter(|listen| !listen.is_datagram());
        let has_addresses = listens().any(|listen| matches!(listen, Endpoint::Tcp(..)));
        if !self.accept.0 || listens().next().is_none() {
            return;
        }
        if has_addresses && self.trust.is_none() {
            let message = "whose headers are believed is not said: whoever sends one can claim any address";
            let hint = "list the addresses of your proxies in `trust`, such as `trust: 10.0.0.5`";
            report.error("proxy_protocol.accept", message, Some(hint));
        }
        if !has_addresses && self.trust.is_some() {
            let message = "clients of a Unix socket have no address";
            let hint = "leave it out; the socket is for its owner alone, who is believed";
            report.error("proxy_protocol.trust", message, Some(hint));
        }
        if let Some(open) = listens().find(|listen| matches!(listen, Endpoint::Unix(SocketPath::Abstract(_))))
        {
            let message = format!("everybody on this machine reaches `{open}` and could claim any address");
            let hint = "listen on a path, `unix:///path`, or on an address with `trust`";
            report.error("proxy_protocol.accept", message, Some(hint));
        }
    }
}

/// The key at work.
#[derive(Debug, Default)]
pub(super) struct Proxy {
    accept: bool,
    trust: Vec<Network>,
    send: Option<Version>,
    /// Whether the header may go out together with the first bytes: not where these are late on purpose.
    is_together: bool,
}

/// Who speaks to whom: the real ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client.
    pub(super) client: Peer,
    /// Both addresses, where they are known.
    addresses: Option<Addresses>,
}

impl Proxy {
    pub(super) fn new(spec: &Forward) -> Self {
        let Some(key) = &spec.proxy_protocol else { return Self::default() };
        Self {
            accept: key.accept.0,
            trust: key.trust.as_ref().map(|networks| networks.to_vec()).unwrap_or_default(),
            send: key.send.map(|version| match version {
                ProxyVersion::V1 => Version::V1,
                ProxyVersion::V2 => Version::V2,
            }),
            is_together: spec.inject.is_none() && spec.rate.is_none_or(|rate| rate.bytes.is_none()),
        }
    }

    /// Whether connections begin with a header: who the client is, is known only after it.
    pub(super) fn accepts(&self) -> bool {
        self.accept
    }

    /// Whether a header of this peer is believed.
    pub(super) fn trusts(&self, peer: &Peer) -> bool {
        // The file of a Unix socket is for its owner alone.
        let Some(address) = peer.address() else { return true };
        self.trust.iter().any(|network| network.contains(address))
    }

    /// The two ends of a connection as the kernel names them.
    pub(super) fn ends(&self, stream: &Stream, peer: Peer) -> Ends {
        // Nobody asks for the second where no header is sent.
        let local = if self.send.is_some() { stream.local() } else { None };
        let addresses = match (peer, local) {
            (Peer::Ip(source), Some(destination)) => Some(Addresses { source, destination }),
            _ => None,
        };
        Ends { client: peer, addresses }
    }

    /// Reads the header of a connection from a peer that is trusted: the ends that it names.
    pub(super) async fn receive(&self, stream: &Stream, peer: Peer) -> Result<Ends, Close> {
        match timeout(PATIENCE, proxy::read(stream)).await {
            Ok(Ok(Header::Proxied(addresses))) => {
                Ok(Ends { client: Peer::ip(addresses.source), addresses: Some(addresses) })
            }
            Ok(Ok(Header::Plain)) => Ok(self.ends(stream, peer)),
            Ok(Err(error)) if error.raw_os_error().is_some() => Err(Close::ClientReset),
            Ok(Err(_)) | Err(_) => Err(Close::ProxyHeader),
        }
    }

    /// The header that goes to the upstream, if one does.
    pub(super) fn header(&self, ends: &Ends) -> Option<Vec<u8>> {
        self.send.map(|version| proxy::print(version, ends.addresses))
    }

    /// Sends a header to an upstream that was reached just now.
    pub(super) async fn send(&self, header: &[u8], client: &Stream, upstream: &Stream) -> Result<(), Close> {
        let mut byte = [0];
        let is_more = self.is_together
            && match timeout(TOGETHER, client.peek(&mut byte)).await {
                Ok(Ok(seen)) => seen > 0,
                // The look has taken the error away: the relay would see a clean end.
                Ok(Err(_)) => return Err(Close::ClientReset),
                Err(_) => false,
            };
        let mut rest = header;
        while !rest.is_empty() {
            let sent = upstream.send(rest, is_more).await.map_err(|_| Close::UpstreamReset)?;
            rest = &rest[sent..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A client that has broken off before the header went out has broken off, and has not finished.
    #[tokio::test]
    async fn a_break_before_the_header_is_a_break() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pair = async || {
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (near, Stream::Tcp(listener.accept().await.unwrap().0))
        };
        let ((client, near), (_server, upstream)) = (pair().await, pair().await);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        timeout(Duration::from_secs(5), near.broken()).await.unwrap();
        let proxy = Proxy { send: Some(Version::V1), is_together: true, ..Proxy::default() };
        assert_eq!(proxy.send(b"PROXY UNKNOWN\r\n", &near, &upstream).await, Err(Close::ClientReset));
    }
}
