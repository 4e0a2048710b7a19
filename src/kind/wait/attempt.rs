//! One attempt of a `wait`: from an endpoint to addresses, from addresses to an answer or the reason why there is none.

use std::net::SocketAddr;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Http, Wait};
use crate::{
    context::Context,
    kind::Error,
    net::{
        http::{self, Ask, Tls, Trust},
        icmp::Probers,
        probe::{self, Miss},
    },
    outcome::Reason,
    value::{Endpoint, Family, Host, SocketPath, Want},
};

/// What all attempts of a run share.
#[derive(Debug)]
pub(super) struct Means<'a> {
    http: &'a Http,
    tls: Option<Tls>,
    probers: &'a Probers,
}

/// An endpoint, ready to be tried.
#[derive(Debug)]
pub(super) enum Target {
    Tcp(Vec<SocketAddr>),
    Udp(Vec<SocketAddr>),
    Icmp(Vec<SocketAddr>),
    Unix(SocketPath),
    Unixgram(SocketPath),
    Http { tls: bool, host: Host, port: u16, path: String, addresses: Vec<SocketAddr> },
}

impl<'a> Means<'a> {
    /// Reads the certificates where an endpoint needs them.
    pub(super) async fn new(spec: &Wait, http: &'a Http, cx: &'a Context) -> Result<Self, Error> {
        let encrypted =
            spec.r#for.iter().any(|endpoint| matches!(endpoint, Endpoint::Http { tls: true, .. }));
        let trust = match &http.ca {
            _ if !http.verify.0 => Trust::Anybody,
            Some(path) => Trust::File(cx.path(path)),
            None => Trust::System,
        };
        let tls = if encrypted { Some(Tls::new(trust).await?) } else { None };
        Ok(Self { http, tls, probers: &cx.shared().probers })
    }

    /// Finds out where an endpoint is now.
    pub(super) async fn resolve(
        &self,
        cx: &Context,
        endpoint: &Endpoint,
        family: Family,
    ) -> Result<Target, Miss> {
        let lookup = async |host: &Host, port: u16| cx.shared().resolver.lookup(host, port, family).await;
        let whole = |path: &SocketPath| match path {
            SocketPath::File(file) => SocketPath::File(cx.path(file)),
            SocketPath::Abstract(name) => SocketPath::Abstract(name.clone()),
        };
        let ready;
        let endpoint = match endpoint {
            Endpoint::Job(name) => {
                let missing = || Miss::new(Reason::Refused, "the service is not ready");
                ready = cx.address_of(name.as_str()).ok_or_else(missing)?;
                &ready
            }
            other => other,
        };
        Ok(match endpoint {
            Endpoint::Tcp(host, ports) => Target::Tcp(lookup(host, ports.first).await?),
            Endpoint::Udp(host, ports) => Target::Udp(lookup(host, ports.first).await?),
            Endpoint::Icmp(host) => Target::Icmp(lookup(host, 0).await?),
            Endpoint::Unix(path) => Target::Unix(whole(path)),
            Endpoint::Unixgram(path) => Target::Unixgram(whole(path)),
            Endpoint::Http { tls, host, port, path } => {
                let addresses = lookup(host, *port).await?;
                Target::Http { tls: *tls, host: host.clone(), port: *port, path: path.clone(), addresses }
            }
            Endpoint::Job(_) => return Err(Miss::new(Reason::Refused, "the service is not ready")),
        })
    }

    /// Tries once. `Err`: this machine may not even try.
    pub(super) async fn attempt(&self, target: &Target, until: Instant) -> Result<Result<(), Miss>, Error> {
        Ok(match target {
            Target::Tcp(addresses) => probe::tcp(addresses, until).await.map(drop),
            Target::Udp(addresses) => probe::udp(addresses, until).await,
            Target::Icmp(addresses) => probe::icmp(self.probers, addresses, until).await?,
            Target::Unix(path) => probe::unix(path, until).await,
            Target::Unixgram(path) => probe::unixgram(path),
            Target::Http { tls, host, port, path, addresses } => {
                let tls = if *tls { self.tls.as_ref() } else { None };
                let ask = Ask { host, port: *port, path, body: self.http.body.is_some(), tls };
                match probe::tcp(addresses, until).await {
                    Ok(stream) => self.ask(stream, ask, until).await,
                    Err(miss) => Err(miss),
                }
            }
        })
    }

    async fn ask(&self, stream: TcpStream, ask: Ask<'_>, until: Instant) -> Result<(), Miss> {
        let answer = timeout_at(until, http::get(stream, ask)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(Miss::new(Reason::Timeout, "connected, and no answer came")))?;
        if !self.http.status.iter().any(|status| status.admits(answer.status)) {
            return Err(Miss::new(Reason::HttpStatus, format!("the status is {}", answer.status)));
        }
        match &self.http.body {
            Some(want) if !is_in(want, &answer.body) => {
                Err(Miss::new(Reason::Mismatch, "the body is not the wanted one"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a body holds what is wanted anywhere. Nothing was sent that could come back, so `same` is a word like others.
fn is_in(want: &Want, body: &[u8]) -> bool {
    let text: &[u8] = match want {
        Want::Pattern(pattern) => return pattern.is_match(body),
        Want::Bytes(bytes) => bytes,
        Want::Same => b"same",
    };
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}
