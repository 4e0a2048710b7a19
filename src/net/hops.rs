//! Through how many forwards of this process a sender of datagrams has come, so that a circle of them comes to an end.
//!
//! Not for streams: each round of a circle takes descriptors of its own there, and their limit ends it. A datagram in a
//! circle would go round for ever, with a new session each time. Known by address: a forward that sends to this machine
//! says from where before its first datagram leaves.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// More forwards in a row are taken for a circle.
pub const MOST: u8 = 8;

/// The addresses from which this process forwards to this machine.
#[derive(Debug, Default)]
pub struct Hops(Mutex<HashMap<SocketAddr, u8>>);

/// An entry, for as long as its socket is open.
#[derive(Debug)]
pub struct Hop {
    hops: Arc<Hops>,
    from: SocketAddr,
}

impl Hops {
    /// Through how many forwards a sender has come.
    pub fn before(&self, sender: SocketAddr) -> u8 {
        self.lock().get(&plain(sender)).copied().unwrap_or(0)
    }

    /// Enters a socket that goes on for a sender that came through `before` forwards.
    pub fn enter(self: &Arc<Self>, from: SocketAddr, before: u8) -> Hop {
        let from = plain(from);
        self.lock().insert(from, before.saturating_add(1));
        Hop { hops: self.clone(), from }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.hops.lock().remove(&self.from);
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_add_up_and_go_with_their_socket() {
        let hops = Arc::new(Hops::default());
        let (first, second) = ("127.0.0.1:1".parse().unwrap(), "[::ffff:127.0.0.1]:2".parse().unwrap());
        let _first = hops.enter(first, hops.before("127.0.0.1:9".parse().unwrap()));
        let on = hops.enter(second, hops.before(first));
        assert_eq!((hops.before(first), hops.before("127.0.0.1:2".parse().unwrap())), (1, 2));
        drop(on);
        assert_eq!(hops.before(second), 0);
    }
}
