//! Whether an address could be listened on, without a moment in which somebody could connect to it.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Weak,
};

use super::{Key, Listen, Net, Pool, bind_error, socket, spell, unix};
use crate::{
    net::{Error, is_not_here, resolve::Resolver},
    value::{Endpoint, Family, Host, Ports},
};

impl Pool {
    /// The error that `open` would give now. Ports are bound for a moment and not listened on; of a Unix socket only what
    /// stands at its path is judged.
    pub async fn foresee(&self, listen: &Listen, resolver: &Resolver) -> Result<(), Error> {
        match &listen.bind.0 {
            Endpoint::Tcp(host, ports) => self.foresee_ip(Net::Tcp, host, *ports, resolver).await,
            Endpoint::Udp(host, ports) => self.foresee_ip(Net::Udp, host, *ports, resolver).await,
            endpoint if self.has(&Key::unix(endpoint)) => Ok(()),
            endpoint => unix::foresee(endpoint).map_err(|source| bind_error(endpoint.to_string(), source)),
        }
    }

    async fn foresee_ip(
        &self,
        net: Net,
        host: &Host,
        ports: Ports,
        resolver: &Resolver,
    ) -> Result<(), Error> {
        let addresses = resolver.lookup(host, 0, Family::Any).await?;
        let is_name = matches!(host, Host::Name(_));
        for port in ports.each() {
            for mut at in addresses.iter().copied() {
                at.set_port(port);
                if self.has(&Key::Ip(net, at)) {
                    continue;
                }
                // As in `open_address`: the IPv4 side is ours already.
                let twin = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
                let only_v6 = at.ip() == Ipv6Addr::UNSPECIFIED && self.has(&Key::Ip(net, twin));
                match socket::bound(net, at, only_v6) {
                    Err(source) if !(is_name && is_not_here(&source)) => {
                        return Err(bind_error(spell(net, host, at), source));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether this process listens there: a reload hands that on.
    fn has(&self, key: &Key) -> bool {
        let held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.get(key).is_some_and(|socket: &Weak<_>| socket.strong_count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_is_foreseen_and_what_is_ours_or_free_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, resolver) = (Pool::default(), Resolver::default());
        let listen = |bind: String| Listen { path: "listen".into(), bind: bind.parse().unwrap() };
        let ours = pool.open(&listen("127.0.0.1:0".into()), &resolver).await.unwrap();
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = theirs.local_addr().unwrap().to_string();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = |name: &str| format!("unix://{}", folder.path().join(name).display());
        std::fs::write(folder.path().join("file"), "").unwrap();
        let live = std::os::unix::net::UnixListener::bind(folder.path().join("live")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("stale")).unwrap());
        for (bind, fits) in [
            (ours[0].local().unwrap().to_string(), true),
            ("127.0.0.1:0".into(), true),
            (taken.clone(), false),
            (format!("udp://{}", datagrams.local_addr().unwrap()), false),
            (file("new"), true),
            (file("file"), false),
            (file("live"), false),
            (file("stale"), true),
            (file("missing/new"), false),
        ] {
            let foreseen = pool.foresee(&listen(bind.clone()), &resolver).await;
            assert_eq!(foreseen.is_ok(), fits, "{bind}: {foreseen:?}");
            let really = pool.open(&listen(bind.clone()), &resolver).await;
            assert_eq!(really.is_ok(), fits, "{bind}: it is as foreseen: {really:?}");
        }
        drop((theirs, datagrams, live));
        assert!(pool.foresee(&listen(taken), &resolver).await.is_ok());
        assert!(!folder.path().join("new").exists(), "the listener that was opened to compare is gone");
    }
    /// A job folder may be given as a relative path, and so its sockets.
    #[tokio::test]
    async fn what_is_ours_is_known_by_a_relative_path_and_beside_its_twin() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, resolver) = (Pool::default(), Resolver::default());
        let listen = |bind: &str| Listen { path: "listen".into(), bind: bind.parse().unwrap() };
        let up = "../".repeat(std::env::current_dir().unwrap().components().count());
        let socket = folder.path().join("s").display().to_string();
        let v4 = pool.open(&listen("0.0.0.0:0"), &resolver).await.unwrap();
        let unix = listen(&format!("unix:{up}{}", socket.trim_start_matches('/')));
        let ours = pool.open(&unix, &resolver).await.unwrap();
        let v6 = listen(&format!("[::]:{}", v4[0].local().unwrap().port()));
        for listen in [unix, v6] {
            pool.foresee(&listen, &resolver).await.unwrap();
            assert!(pool.open(&listen, &resolver).await.is_ok());
        }
        drop((v4, ours));
    }
}
