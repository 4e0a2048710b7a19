//! What came by one call: the arena in which the datagrams of a thread stand, and each of them with its sender.

use std::{cell::RefCell, io, net::IpAddr, os::fd::BorrowedFd};

use super::LARGEST;
use crate::{
    net::stream::Peer,
    sys::datagram::{Batch, MOST, Received},
};

/// Room for the largest UDP datagram. Not a whole number of pages, or all of them would want the same lines of the cache.
const UDP_SLOT: usize = 65_536 + 1088;
/// Room for the largest Unix datagram that is taken, and a little more.
const UNIX_SLOT: usize = LARGEST + 64;

thread_local! {
    static ARENA: RefCell<Batch> = RefCell::new(Batch::new(MOST * UDP_SLOT));
}

/// The datagrams of one call.
pub struct Arrivals<'a>(&'a Batch);

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Who sent it; a Unix socket without a name cannot be answered.
    pub from: Peer,
    /// Which of our addresses it was sent to.
    pub to: Option<Local>,
    /// Whether it was larger than the largest that is taken.
    pub is_cut: bool,
    pub(super) drops: Option<u32>,
}

/// One of our addresses, and the interface that a link-local one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address.
    pub ip: IpAddr,
    interface: u32,
}

/// Takes what stands at a socket, as many as one call gives; says whether there may be more. Not to be asked from `take`.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    is_udp: bool,
    take: impl FnOnce(&Arrivals<'_>),
) -> io::Result<bool> {
    ARENA.with_borrow_mut(|batch| {
        let is_more = batch.receive(socket, if is_udp { UDP_SLOT } else { UNIX_SLOT }, is_udp)?;
        take(&Arrivals(batch));
        Ok(is_more)
    })
}

impl<'a> Arrivals<'a> {
    /// In the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Arrived<'a>> + use<'a> {
        self.0.iter().map(Arrived::new)
    }
}

impl<'a> Arrived<'a> {
    fn new(received: Received<'a>) -> Self {
        let Received { bytes, from, to, is_cut, drops, .. } = received;
        let is_cut = is_cut || bytes.len() > LARGEST;
        Self { bytes, from: Peer::of(&from), to: to.and_then(Local::new), is_cut, drops }
    }
}

impl Local {
    /// An answer cannot leave from a group's address.
    fn new((ip, interface): (IpAddr, u32)) -> Option<Self> {
        let needs_interface = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let interface = if needs_interface { interface } else { 0 };
        (!ip.is_multicast()).then(|| Self { ip: ip.to_canonical(), interface })
    }

    pub(super) fn parts(self) -> (IpAddr, u32) {
        (self.ip, self.interface)
    }
}
