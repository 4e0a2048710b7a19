//! Datagrams of an echo. It keeps no state of its senders but their rates.
//!
//! It cannot be made a weapon: an answer is never larger than the question, a source can be limited, and a forged datagram
//! starts no endless exchange between two echoes, or with another service of this process (`Datagrams::is_echo`).

use std::{
    array,
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::Echo;
use crate::{
    context::Shared,
    kind::service::Books,
    net::{
        datagram::{Address, Arrivals, Local, MOST, Port, Served},
        listen::Listener,
        rate::Bucket,
        stream::Peer,
    },
};

/// What all datagram sockets of a run share.
pub(super) struct Datagrams {
    books: Arc<Books>,
    /// Where all listeners of the process are known.
    shared: Arc<Shared>,
    /// The ports and paths on which this echo itself listens.
    own_ports: Vec<u16>,
    own_addresses: Vec<String>,
    stop_on: Option<Vec<u8>>,
    told: CancellationToken,
    rate: Option<f64>,
    sources: Mutex<HashMap<IpAddr, Bucket>>,
}

/// Ports below this belong to services, of which some answer whatever they get.
const FIRST_CLIENT_PORT: u16 = 1024;

/// So many sources are told apart; beyond it all begin anew.
const SOURCES: usize = 65_536;

impl Datagrams {
    pub(super) fn new(
        spec: &Echo,
        listeners: &[Arc<Listener>],
        books: Arc<Books>,
        shared: Arc<Shared>,
        told: CancellationToken,
    ) -> Self {
        Self {
            books,
            shared,
            own_ports: listeners.iter().filter_map(|listener| Some(listener.local()?.port())).collect(),
            own_addresses: listeners.iter().map(|listener| listener.address.clone()).collect(),
            stop_on: spec.stop_on.as_ref().map(|word| word.clone().into_bytes()),
            told,
            rate: spec.rate.map(|rate| rate.0),
            sources: Mutex::default(),
        }
    }

    /// Answers the datagrams of one socket until it is told to stop.
    pub(super) async fn serve(
        &self,
        port: Port<'_>,
        address: &str,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let served = port.register()?;
        let told = |error| self.books.warn(format!("receive on {address}: {error}"));
        served.serve(stop, |arrivals| self.answer(&served, arrivals), told).await;
        Ok(())
    }

    /// Answers all that has come by one call.
    fn answer(&self, served: &Served, arrivals: &Arrivals<'_>) {
        let mut answers: [(&[u8], Option<Address>, Option<Local>); MOST] =
            array::from_fn(|_| (&[][..], None, None));
        let (mut count, mut received, mut is_told) = (0, 0, false);
        // Many in a row are one sender's, who is judged once.
        let mut judged: Option<(Peer, bool)> = None;
        for arrived in arrivals.iter().filter(|arrived| !arrived.is_cut) {
            received += arrived.bytes.len();
            let peer = arrived.from;
            let is_echo = match judged {
                Some((known, is_echo)) if known == peer => is_echo,
                _ => self.is_echo(&peer),
            };
            judged = Some((peer, is_echo));
            if is_echo || !self.is_within_rate(&peer) {
                continue;
            }
            // Who has no name is heard and cannot be answered.
            if let Ok(address) = served.address(&peer) {
                answers[count] = (arrived.bytes, Some(address), arrived.to);
                count += 1;
            }
            is_told |= self.is_last(arrived.bytes);
        }
        self.books.passed(received, send(served, &answers[..count]));
        if is_told {
            self.told.cancel();
        }
    }

    /// Whether this is the message that ends the service.
    fn is_last(&self, bytes: &[u8]) -> bool {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        self.stop_on.as_deref() == Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Whether the sender may itself be an echo, or another service that answers whatever it gets.
    fn is_echo(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Ip(address) => {
                address.port() < FIRST_CLIENT_PORT
                    || self.own_ports.contains(&address.port())
                    || self.shared.listeners.is_udp(*address)
            }
            Peer::Unix(_) => {
                let text = peer.to_string().replacen("unix:", "unixgram:", 1);
                self.own_addresses.contains(&text)
            }
        }
    }

    fn is_within_rate(&self, peer: &Peer) -> bool {
        let (Some(rate), Some(address)) = (self.rate, peer.address()) else { return true };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES && !sources.contains_key(&address) {
            sources.clear();
        }
        sources.entry(address).or_insert_with(|| Bucket::new(rate, rate)).take(1.0, 1.0).is_some()
    }
}

/// Sends answers; how many bytes have gone. A client that does not read loses its answer; the others do not wait for it.
fn send(served: &Served, answers: &[(&[u8], Option<Address>, Option<Local>)]) -> usize {
    let (mut gone, mut bytes) = (0, 0);
    while gone < answers.len() {
        let rest = answers[gone..].iter();
        let messages = rest.filter_map(|(bytes, address, local)| Some((*bytes, address.as_ref()?, *local)));
        match served.send(messages) {
            Ok(sent) => {
                bytes += answers[gone..gone + sent].iter().map(|(bytes, ..)| bytes.len()).sum::<usize>();
                gone += sent;
            }
            Err(_) => gone += 1,
        }
    }
    bytes
}
