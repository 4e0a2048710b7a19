//! Who may come in: `allow` and `deny`, connections a source, connections in all, connections a second.
//!
//! A slot is a guard: it comes back on every path, also by a panic.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{Forward, OnFull};
use crate::{
    kind::Error,
    net::{rate::Bucket, stream::Peer},
    outcome::{Close, Reason},
    value::Network,
};

/// Descriptors that are left for metrics, files and a reload.
const SPARE: u64 = 28;

/// Below so many connections the operator is told that the limit of open files is small.
const FEW: usize = 256;

/// The gate of one run.
#[derive(Debug)]
pub(super) struct Gate {
    allow: Option<Vec<Network>>,
    deny: Vec<Network>,
    slots: Arc<Semaphore>,
    on_full: OnFull,
    arrivals: Option<Bucket>,
    per_source: Option<Arc<PerSource>>,
}

#[derive(Debug)]
struct PerSource {
    most: u32,
    counts: Mutex<HashMap<IpAddr, u32>>,
}

/// A place for one connection.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _source: Option<SourceSlot>,
}

#[derive(Debug)]
struct SourceSlot {
    sources: Arc<PerSource>,
    address: IpAddr,
}

impl Gate {
    /// The gate that a spec asks for, with a warning where this machine allows few connections.
    pub(super) fn new(spec: &Forward, listeners: usize) -> Result<(Self, Option<String>), Error> {
        let (most, warning) = most_connections(spec, listeners)?;
        let rate = spec.rate.and_then(|rate| rate.connections);
        let per_source = |most: u32| Arc::new(PerSource { most, counts: Mutex::default() });
        let gate = Self {
            allow: spec.allow.as_ref().map(|networks| networks.to_vec()),
            deny: spec.deny.as_ref().map(|networks| networks.to_vec()).unwrap_or_default(),
            slots: Arc::new(Semaphore::new(most)),
            on_full: spec.on_full,
            arrivals: rate.map(|rate| Bucket::new(rate.0, rate.0 / 10.0)),
            per_source: spec.max_per_source.map(|most| per_source(most.0)),
        };
        Ok((gate, warning))
    }

    /// Whether `allow` and `deny` let a peer in. Unix sockets are judged by their file's mode.
    pub(super) fn admits(&self, peer: &Peer) -> bool {
        let Some(address) = peer.address() else { return true };
        let lies_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        !lies_in(&self.deny) && self.allow.as_deref().is_none_or(lies_in)
    }

    /// A slot for a peer; waits for it or says why there is none.
    pub(super) async fn enter(&self, peer: &Peer) -> Result<Slot, Close> {
        let source = self.enter_source(peer)?;
        if let Some(arrivals) = &self.arrivals {
            while arrivals.take(1.0).is_none() {
                match self.on_full {
                    OnFull::Wait => sleep(arrivals.wait(1.0)).await,
                    OnFull::Reset => return Err(Close::Limit),
                }
            }
        }
        let slots = self.slots.clone();
        let permit = match self.on_full {
            OnFull::Wait => slots.acquire_owned().await.map_err(|_| Close::Limit)?,
            OnFull::Reset => slots.try_acquire_owned().map_err(|_| Close::Limit)?,
        };
        Ok(Slot { _permit: permit, _source: source })
    }

    fn enter_source(&self, peer: &Peer) -> Result<Option<SourceSlot>, Close> {
        let (Some(sources), Some(address)) = (&self.per_source, peer.address()) else { return Ok(None) };
        let mut counts = sources.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= sources.most {
            return Err(Close::Limit);
        }
        *count += 1;
        Ok(Some(SourceSlot { sources: sources.clone(), address }))
    }
}

impl Drop for SourceSlot {
    fn drop(&mut self) {
        let mut counts = self.sources.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// `max_connections`, or what the descriptors allow: two a connection.
fn most_connections(spec: &Forward, listeners: usize) -> Result<(usize, Option<String>), Error> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let free = limit.saturating_sub(SPARE + listeners as u64) / 2;
    let possible = usize::try_from(free).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
    match spec.max_connections {
        Some(asked) if asked.0 as usize > possible => Err(Error::Cannot {
            reason: Reason::Resources,
            message: format!(
                "max_connections {} needs more than the {limit} open files that are allowed",
                asked.0
            ),
            hint: Some(format!("raise the limit of open files (`ulimit -n`), or ask for at most {possible}")),
        }),
        Some(asked) => Ok((asked.0 as usize, None)),
        None if possible < FEW => {
            let message = format!("{limit} open files are allowed, enough for {possible} connections");
            Ok((possible, Some(message)))
        }
        None => Ok((possible, None)),
    }
}
