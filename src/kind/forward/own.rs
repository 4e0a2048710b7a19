//! Which addresses are the job's own listeners, in every spelling: nothing is forwarded there.

use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt as _};

use crate::{
    net::listen::{Listener, Pool},
    value::{Endpoint, SocketPath},
};

/// One of the job's own listeners, by address.
#[derive(Debug)]
pub(super) struct Own {
    scheme: &'static str,
    endpoint: Endpoint,
    local: Option<SocketAddr>,
}

impl Own {
    pub(super) fn of(listener: &Listener) -> Option<Self> {
        let endpoint = listener.endpoint()?;
        Some(Self { scheme: endpoint.scheme(), endpoint, local: listener.local() })
    }

    /// Whether a connection to `target` arrives here.
    pub(super) fn is_at(&self, target: SocketAddr, scheme: &str, pool: &Pool) -> bool {
        self.scheme == scheme && self.local.is_some_and(|own| is_same(own, target, pool))
    }

    /// Whether a path leads here, by whatever links.
    pub(super) fn is_path(&self, endpoint: &Endpoint, path: &SocketPath) -> bool {
        self.endpoint == *endpoint || is_same_file(&self.endpoint, path)
    }
}

/// Whether a listener's socket file is the one to which a path leads, by whatever links.
fn is_same_file(own: &Endpoint, path: &SocketPath) -> bool {
    let (
        Endpoint::Unix(SocketPath::File(own)) | Endpoint::Unixgram(SocketPath::File(own)),
        SocketPath::File(path),
    ) = (own, path)
    else {
        return false;
    };
    match (fs::metadata(own), fs::metadata(path)) {
        (Ok(own), Ok(path)) => (own.dev(), own.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

/// Whether a connection to `target` arrives at a listener that is bound to `own`.
fn is_same(own: SocketAddr, target: SocketAddr, pool: &Pool) -> bool {
    if own.port() != target.port() {
        return false;
    }
    let (ours, theirs) = (own.ip().to_canonical(), target.ip().to_canonical());
    // 0.0.0.0 and :: as a target mean this machine's loopback.
    ours == theirs
        || theirs.is_unspecified() && (ours.is_loopback() || ours.is_unspecified())
        || ours.is_unspecified() && (ours.is_ipv6() || theirs.is_ipv4()) && pool.is_local(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_every_spelling() {
        let same = |own: &str, target: &str| {
            is_same(own.parse().unwrap(), target.parse().unwrap(), &Pool::default())
        };
        for target in ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80"] {
            assert!(same("127.0.0.1:80", target), "{target}");
        }
        for target in ["127.0.0.1:80", "127.0.0.9:80", "[::1]:80", "[::]:80"] {
            assert!(same("[::]:80", target), "{target}");
        }
        assert!(same("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!same("0.0.0.0:80", "[::1]:80"));
        assert!(!same("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!same("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!same("0.0.0.0:80", "192.0.2.1:80"));
    }
}
