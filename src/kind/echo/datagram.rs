//! Datagrams of an echo. It keeps no state of its senders but their rates.
//!
//! It cannot be made a weapon: an answer is never larger than the question, a source can be limited, and a forged datagram
//! starts no endless exchange between two echoes, or with another service of this process (`Datagrams::is_echo`).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::Echo;
use crate::{
    context::Shared,
    kind::service::Books,
    net::{
        datagram::{Arrived, Port},
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
    pub(super) async fn serve(&self, port: Port<'_>, address: &str, stop: &CancellationToken) {
        let told = |error| self.books.warn(format!("receive on {address}: {error}"));
        port.serve(stop, |arrived, bytes| self.answer(port, arrived, bytes), told).await;
    }

    fn answer(&self, port: Port<'_>, arrived: Arrived, bytes: &[u8]) {
        let Some(peer) = arrived.from.filter(|_| !arrived.is_cut) else { return };
        if self.is_echo(&peer) || !self.is_within_rate(&peer) {
            self.books.passed(bytes.len(), 0);
            return;
        }
        // A client that does not read loses its answer; the others do not wait for it.
        let is_sent = port.try_send(bytes, &peer, arrived.to).is_ok();
        self.books.passed(bytes.len(), if is_sent { bytes.len() } else { 0 });
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.stop_on.as_deref() == Some(line) {
            self.told.cancel();
        }
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
