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
    net::{datagram::Port, listen::Listener, rate::Bucket, stream::Peer},
    outcome::{Close, Reason},
    value::{AtLeastOne, Network},
};

/// A listener has two descriptors: the socket that is handed from run to run, and the one that its loop waits on.
const EACH_LISTENER: u64 = 2;

/// Descriptors that are left for metrics, files and a reload.
const SPARE: u64 = 28;

/// Sessions of datagrams, unless the file says otherwise.
const SESSIONS: usize = 4096;

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
    /// The most sessions of datagrams.
    pub(super) sessions: usize,
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
pub(super) struct SourceSlot {
    sources: Arc<PerSource>,
    address: IpAddr,
}

impl Gate {
    /// The gate that a spec asks for, with a warning where this machine allows few connections.
    pub(super) fn new(spec: &Forward, listeners: &[Arc<Listener>]) -> Result<(Self, Vec<String>), Error> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let datagrams = listeners.iter().filter(|listener| Port::of(listener.socket()).is_some()).count();
        let (connections, sessions) =
            Room::new(limit, listeners.len() - datagrams, datagrams).share_out(spec)?;
        let rate = spec.rate.and_then(|rate| rate.connections);
        let per_source = |most: u32| Arc::new(PerSource { most, counts: Mutex::default() });
        let gate = Self {
            allow: spec.allow.as_ref().map(|networks| networks.to_vec()),
            deny: spec.deny.as_ref().map(|networks| networks.to_vec()).unwrap_or_default(),
            slots: Arc::new(Semaphore::new(connections.0)),
            on_full: spec.on_full,
            arrivals: rate.map(|rate| Bucket::new(rate.0, rate.0 / 10.0)),
            per_source: spec.max_per_source.map(|most| per_source(most.0)),
            sessions: if spec.sessions.is_some() { sessions.0 } else { sessions.0.min(SESSIONS) },
        };
        Ok((gate, [connections.1, sessions.1].into_iter().flatten().collect()))
    }

    /// Whether `allow` and `deny` let a peer in. Unix sockets are judged by their file's mode.
    pub(super) fn admits(&self, peer: &Peer) -> bool {
        let Some(address) = peer.address() else { return true };
        let lies_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        !lies_in(&self.deny) && self.allow.as_deref().is_none_or(lies_in)
    }

    /// A slot for a peer, if it is known yet who that is; waits for it or says why there is none.
    pub(super) async fn enter(&self, peer: Option<&Peer>) -> Result<Slot, Close> {
        let source = peer.map_or(Ok(None), |peer| self.enter_source(peer))?;
        if let Some(arrivals) = &self.arrivals {
            while arrivals.take(1.0, 1.0).is_none() {
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

    /// A place among those of its source; connections get theirs with their slot.
    pub(super) fn enter_source(&self, peer: &Peer) -> Result<Option<SourceSlot>, Close> {
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

/// The open files that a forward's keys ask for, its listeners among them; `None` where they give no number. And why a run
/// would be refused where `allowed` are.
pub(super) fn open_files(spec: &Forward, allowed: u64) -> Option<Result<u64, Error>> {
    let asked = |key: Option<AtLeastOne>| key.map_or(0, |most| u64::from(most.0));
    let need = 2 * asked(spec.max_connections) + asked(spec.sessions);
    let count = |is_datagram: bool| {
        let mine = spec.listen.iter().filter(|listen| listen.0.is_datagram() == is_datagram);
        mine.map(|listen| listen.0.each().len()).sum::<usize>()
    };
    let (streams, datagrams) = (count(false), count(true));
    let listeners = streams + datagrams;
    let need_of_listeners = EACH_LISTENER * listeners as u64;
    if need_of_listeners + SPARE > allowed {
        return Some(Err(Error::Cannot {
            reason: Reason::Resources,
            message: format!(
                "its {listeners} listeners need more than the {allowed} open files that are allowed"
            ),
            hint: Some("raise the limit of open files (`ulimit -n`), or listen on fewer ports".into()),
        }));
    }
    if need == 0 {
        return None;
    }
    let shared_out = Room::new(allowed, streams, datagrams).share_out(spec);
    Some(shared_out.map(|_| need + need_of_listeners))
}

/// The most of something, and a warning where that is little.
type Most = (usize, Option<String>);

/// What the limit of open files allows; a job that takes streams and datagrams gives each half of it.
struct Room {
    limit: u64,
    /// Two descriptors each.
    connections: Option<usize>,
    /// One descriptor each.
    sessions: Option<usize>,
}

impl Room {
    fn new(limit: u64, streams: usize, datagrams: usize) -> Self {
        let (has_streams, has_datagrams) = (streams > 0, datagrams > 0);
        let free = limit.saturating_sub(SPARE + EACH_LISTENER * (streams + datagrams) as u64)
            / (1 + u64::from(has_datagrams && has_streams));
        let fit =
            |each: u64| usize::try_from(free / each).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { limit, connections: has_streams.then(|| fit(2)), sessions: has_datagrams.then(|| fit(1)) }
    }

    /// The most connections and the most sessions, each with a warning where that is little.
    fn share_out(&self, spec: &Forward) -> Result<(Most, Most), Error> {
        Ok((
            self.most("max_connections", "connections", spec.max_connections, self.connections)?,
            self.most("sessions", "sessions of datagrams", spec.sessions, self.sessions)?,
        ))
    }

    /// What a key asks for, or what is possible, with a warning where that is little. `None`: there is nothing of the kind.
    fn most(
        &self,
        key: &str,
        what: &str,
        asked: Option<AtLeastOne>,
        possible: Option<usize>,
    ) -> Result<Most, Error> {
        let limit = self.limit;
        match (asked, possible) {
            (Some(asked), Some(possible)) if asked.0 as usize > possible => Err(Error::Cannot {
                reason: Reason::Resources,
                message: format!("{key} {} needs more than the {limit} open files that are allowed", asked.0),
                hint: Some(format!(
                    "raise the limit of open files (`ulimit -n`), or ask for at most {possible}"
                )),
            }),
            (Some(asked), _) => Ok((asked.0 as usize, None)),
            (None, Some(possible)) if possible < FEW => {
                let message = format!("{limit} open files are allowed, enough for {possible} {what}");
                Ok((possible, Some(message)))
            }
            (None, possible) => Ok((possible.unwrap_or(1), None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_descriptors_allow_is_shared_out() {
        let room = |streams, datagrams| {
            let room = Room::new(128, streams, datagrams);
            (room.connections, room.sessions)
        };
        assert_eq!(room(1, 0), (Some(49), None));
        assert_eq!(room(0, 1), (None, Some(98)));
        assert_eq!(room(1, 1), (Some(24), Some(48)));
        assert_eq!(room(30, 0), (Some(20), None));
    }

    #[test]
    fn only_a_number_of_the_file_is_refused() {
        let room = Room::new(128, 1, 1);
        let most =
            |asked: Option<u32>| room.most("sessions", "sessions", asked.map(AtLeastOne), room.sessions);
        assert_eq!(most(Some(48)).unwrap(), (48, None));
        let error = most(Some(49)).unwrap_err();
        assert_eq!(error.reason(), Reason::Resources);
        assert!(error.to_string().starts_with("sessions 49 needs more than the 128 open files"), "{error}");
        let (clamped, warning) = most(None).unwrap();
        assert_eq!(clamped, 48);
        assert_eq!(warning.unwrap(), "128 open files are allowed, enough for 48 sessions");
    }
}
