//! Through how many forwards of this process a connection or a sender of datagrams has come, so that a circle of them comes
//! to an end: a datagram would go round for ever, and a connection until no descriptor is left.
//!
//! Known by address: a forward that goes on to this process says from where, before its first byte or datagram leaves.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::stream::Peer;

/// More forwards in a row are taken for a circle.
pub const MOST: u8 = 8;

/// The addresses from which this process forwards to itself.
#[derive(Debug, Default)]
pub struct Hops {
    /// How many there are, so that who asks while there are none takes no lock.
    count: AtomicUsize,
    numbers: AtomicUsize,
    before: Mutex<HashMap<Peer, Entered>>,
}

#[derive(Debug)]
struct Entered {
    before: u8,
    number: usize,
}

/// An entry, for as long as its socket is open.
#[derive(Debug)]
pub struct Hop {
    hops: Arc<Hops>,
    from: Peer,
    /// Its address may be another's by the time at which it is dropped.
    number: usize,
}

impl Hops {
    /// Through how many forwards a sender has come.
    pub fn before(&self, sender: impl Into<Peer>) -> u8 {
        if self.count.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        self.lock().get(&sender.into()).map_or(0, |entered| entered.before)
    }

    /// Enters a socket that goes on for a sender that came through `before` forwards.
    pub fn enter(self: &Arc<Self>, from: impl Into<Peer>, before: u8) -> Hop {
        let from = from.into();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(from, Entered { before: before.saturating_add(1), number });
        self.count.fetch_add(1, Ordering::SeqCst);
        Hop { hops: self.clone(), from, number }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Peer, Entered>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::ip(address)
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let mut before = self.hops.lock();
        if before.get(&self.from).is_some_and(|entered| entered.number == self.number) {
            before.remove(&self.from);
        }
        drop(before);
        self.hops.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_add_up_and_go_with_their_socket() {
        let hops = Arc::new(Hops::default());
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (first, second) = (at("127.0.0.1:1"), at("[::ffff:127.0.0.1]:2"));
        let _first = hops.enter(first, hops.before(at("127.0.0.1:9")));
        let on = hops.enter(second, hops.before(first));
        assert_eq!((hops.before(first), hops.before(at("127.0.0.1:2"))), (1, 2));
        drop(on);
        assert_eq!(hops.before(second), 0);
    }

    #[test]
    fn an_address_that_another_socket_has_by_now_stays() {
        let hops = Arc::new(Hops::default());
        let at: SocketAddr = "127.0.0.1:1".parse().unwrap();
        // A socket closes before its entry goes, and the port may be given out in between.
        let gone = hops.enter(at, 0);
        let heir = hops.enter(at, 6);
        drop(gone);
        assert_eq!(hops.before(at), 7);
        drop(heir);
        assert_eq!((hops.before(at), hops.lock().len()), (0, 0));
    }
}
