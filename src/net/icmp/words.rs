//! The words of the prober: hosts, probes, what becomes of them, and what is counted.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{Failure, Pace};

/// A host: its address and, where that is link-local, the index of the interface behind which it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// The interface's index; 0 where the address says enough.
    pub scope: u32,
}

impl Peer {
    /// The address as the kernel takes it.
    pub fn socket_address(self) -> SocketAddr {
        match self.address {
            IpAddr::V4(address) => (address, 0).into(),
            IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, self.scope).into(),
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self { address, scope: 0 }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() => address.scope_id(),
            _ => 0,
        };
        Self { address: address.ip(), scope }
    }
}

/// Where probes are sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address of this machine, with the interface's index where it is link-local.
    Address(IpAddr, u32),
    /// The interface with this index.
    Interface(u32),
}

/// What all probes of a session have in common.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of payload, at least 16.
    pub size: usize,
    /// How long each waits for its answer.
    pub timeout: Duration,
    /// The TTL or hop limit; the system's own where `None`.
    pub ttl: Option<u8>,
    /// The traffic class.
    pub tos: u8,
    /// Whether routers must not split them.
    pub df: bool,
    /// Where they are sent from.
    pub source: Option<Source>,
    /// How fast they are sent.
    pub pace: Pace,
    /// Whether the kernel stamps each as it leaves. Else a round trip begins with the call that sends a whole batch, and a
    /// probe costs a tenth less.
    pub is_stamped: bool,
    /// How often a probe is sent again, at most 30, where this machine itself may have lost the answer; all of a session
    /// together three times for each probe, and so many more.
    pub resends: u8,
}

impl Options {
    /// Small probes at once, with this timeout.
    pub fn new(timeout: Duration) -> Self {
        let pace = Pace::default();
        let (size, df, is_stamped, resends) = (56, false, true, MOST_RESENDS);
        Self { size, timeout, ttl: None, tos: 0, df, source: None, pace, is_stamped, resends }
    }
}

/// Losses on this machine after which a probe ends with that reason.
const MOST_RESENDS: u8 = 30;

/// One echo to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The caller's own number for it, which its events carry.
    pub index: u32,
    /// The host; its family must be the session's.
    pub peer: Peer,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The probe's number.
    pub index: u32,
    /// What became of it.
    pub what: What,
}

/// What became of a probe; all but `Extra` are its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its host answered in time.
    Answered {
        /// The round trip.
        rtt: Duration,
        /// TTL or hop limit of the answer.
        ttl: Option<u8>,
        /// Whether the kernel stamped both ends of the round trip; else it was measured outside the kernel.
        is_stamped: bool,
    },
    /// No answer came in time: a timeout, or the error that came instead.
    Lost(Failure),
    /// This machine did not send it.
    Refused(Failure),
    /// One more answer of its host: a duplicate where it was answered, else a late one.
    Extra,
}

/// What a session counts while it goes.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) packets: AtomicU64,
    pub(super) local_drops: AtomicU64,
}

impl Counts {
    /// Probes that were sent, each once.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Packets that were sent, those included that were sent again after a loss on this machine.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Packets that this machine itself lost while probes of the session were on their way.
    pub fn local_drops(&self) -> u64 {
        self.local_drops.load(Ordering::Relaxed)
    }
}
