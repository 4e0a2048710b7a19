//! Which addresses are listeners of this very process. Asked for each connection to an upstream: a port on which nothing of
//! ours ever listened is answered without a lock.

use std::{
    collections::HashMap,
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Key, Net, Pool};
use crate::value::{Endpoint, SocketPath};

/// The ports on which this process listens or has listened: one that was closed again only costs a look at the table.
pub(super) struct Marks(Box<[AtomicU64]>);

/// What addresses were found to be a moment ago.
#[derive(Debug, Default)]
pub(super) struct Locals(Mutex<HashMap<SocketAddr, (Instant, bool)>>);

/// Addresses come and go with interfaces; so long an answer is taken for true.
const FRESH: Duration = Duration::from_secs(1);

/// Beyond this many addresses all are forgotten.
const ADDRESSES: usize = 1024;

impl Marks {
    pub(super) fn set(&self, port: u16) {
        self.0[usize::from(port / 64)].fetch_or(1 << (port % 64), Ordering::Relaxed);
    }

    fn has(&self, port: u16) -> bool {
        self.0[usize::from(port / 64)].load(Ordering::Relaxed) & 1 << (port % 64) != 0
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self((0..1024).map(|_| AtomicU64::new(0)).collect())
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..=u16::MAX).filter(|port| self.has(*port))).finish()
    }
}

impl Pool {
    /// Whether a connection to this address arrives at a listener of this process.
    pub fn is_tcp(&self, to: SocketAddr) -> bool {
        self.tcp_ports.has(to.port()) && self.holds(Net::Tcp, to)
    }

    /// Whether a datagram from this address comes from a UDP listener of this process.
    pub fn is_udp(&self, from: SocketAddr) -> bool {
        self.holds(Net::Udp, from)
    }

    /// Whether a Unix stream listener of this process stands at this path, by whatever links.
    pub fn is_unix(&self, to: &SocketPath) -> bool {
        if !self.has_unix.load(Ordering::SeqCst) {
            return false;
        }
        let mut ours = vec![];
        for (key, socket) in &*self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            match key {
                Key::Unix(Endpoint::Unix(path)) if socket.strong_count() > 0 => ours.push(path.clone()),
                _ => {}
            }
        }
        let file = |path: &PathBuf| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        ours.iter().any(|own| match (own, to) {
            (SocketPath::File(own), SocketPath::File(to)) => {
                own == to || file(to).is_some_and(|to| file(own) == Some(to))
            }
            _ => own == to,
        })
    }

    /// Whether an address, whatever its port, is one of this machine's, as of a moment ago.
    pub fn is_local(&self, mut address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        if ip.is_loopback() || ip.is_unspecified() {
            return true;
        }
        // Its zone stays, without which a link-local address is nobody's.
        address.set_port(0);
        let mut locals = self.locals.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, is_local)) = locals.get(&address)
            && at.elapsed() < FRESH
        {
            return *is_local;
        }
        if locals.len() >= ADDRESSES {
            locals.clear();
        }
        // Only such an address can be bound.
        let is_local = UdpSocket::bind(address).is_ok();
        locals.insert(address, (Instant::now(), is_local));
        is_local
    }

    fn holds(&self, net: Net, at: SocketAddr) -> bool {
        let (ip, port) = (at.ip().to_canonical(), at.port());
        let mapped = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            IpAddr::V6(_) => ip,
        };
        // 0.0.0.0 and :: as a target mean this machine's loopback.
        let loopback: IpAddr = match ip {
            IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            _ => ip,
        };
        let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let (is_held, is_any_held) = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let is_there =
                |at: SocketAddr| held.get(&Key::Ip(net, at)).is_some_and(|socket| socket.strong_count() > 0);
            let is_held = |ip: IpAddr| is_there(SocketAddr::new(ip, port));
            // `at` as it is: with its zone, if it has one.
            let is_held_here = is_there(at) || [ip, mapped, loopback].into_iter().any(is_held);
            (is_held_here, any.into_iter().any(is_held))
        };
        is_held || is_any_held && self.is_local(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{listen::Listen, resolve::Resolver};

    async fn open(pool: &Pool, bind: &str) -> std::sync::Arc<super::super::Listener> {
        let listen = Listen { path: "listen".into(), bind: bind.parse().unwrap() };
        pool.open(&listen, &Resolver::default()).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_target_is_known_as_a_listener_of_ours() {
        for (bind, is_here, is_not) in [
            ("127.0.0.1:0", "::ffff:127.0.0.1", "127.0.0.2"),
            ("127.0.0.1:0", "0.0.0.0", "192.0.2.1"),
            ("0.0.0.0:0", "127.0.0.2", "192.0.2.1"),
            ("[::]:0", "127.0.0.2", "2001:db8::1"),
            ("[::1]:0", "::", "127.0.0.1"),
        ] {
            let pool = Pool::default();
            let listener = open(&pool, bind).await;
            let port = listener.local().unwrap().port();
            let asked = |ip: &str| pool.is_tcp(SocketAddr::new(ip.parse().unwrap(), port));
            assert!(asked(is_here) && !asked(is_not), "{bind}");
            drop(listener);
            assert!(!asked(is_here), "{bind} is closed");
        }
    }

    #[tokio::test]
    async fn a_socket_is_known_by_whatever_links() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let (pool, path) = (Pool::default(), folder.path().join("s"));
        let listener = open(&pool, &format!("unix://{}", path.display())).await;
        assert!(pool.is_unix(&SocketPath::File(link.join("s"))) && pool.is_unix(&SocketPath::File(path)));
        assert!(!pool.is_unix(&SocketPath::File(folder.path().join("other"))));
        drop(listener);
        assert!(!pool.is_unix(&SocketPath::File(link.join("s"))));
    }
}
