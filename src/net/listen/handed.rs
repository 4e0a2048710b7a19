//! Listeners that the process was started with: a service manager opened them, and told the job of each by name.
//!
//! They stay open until the runner stops, also while no job has the name or the job's window is closed: the manager holds
//! them anyway, clients wait in their queues, and a reload that brings the job back finds them.

use std::{
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixListener},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use socket2::{Domain, Type};

use super::{Held, Key, Listen, Listener, Net, Pool, Socket, enter, socket::prepare, spell};
use crate::{
    net::{Error, resolve::Resolver},
    value::{Endpoint, Host, SocketPath},
};

/// The sockets, each with the name of its job.
#[derive(Debug, Default)]
pub(super) struct Sockets(Mutex<Vec<Handed>>);

#[derive(Clone, Debug)]
struct Handed {
    job: String,
    held: Arc<Held>,
    address: String,
}

impl Pool {
    /// Takes a descriptor for a job; an error says what is wrong with it, in words that follow its name.
    pub fn adopt(&self, job: &str, descriptor: OwnedFd) -> io::Result<()> {
        let (key, address, socket) = known(descriptor)?;
        let held = Arc::new(Held { socket, returned: super::returned::Returned::default(), _file: None });
        let mut table = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if table.get(&key).is_some_and(|other| other.strong_count() > 0) {
            return Err(refused(format!("{address} was handed over twice")));
        }
        enter(&mut table, key.clone(), &held);
        match key {
            Key::Ip(Net::Tcp, at) => self.tcp_ports.set(at.port()),
            Key::Ip(Net::Udp, _) => {}
            Key::Unix(_) => self.has_unix.store(true, Ordering::SeqCst),
        }
        let mut all = self.handed.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Handed { job: job.to_owned(), held, address });
        Ok(())
    }

    /// Opens all that a job listens on. A descriptor that was handed over for it and fits none of it is an error.
    pub async fn open_all(
        &self,
        job: &str,
        listens: &[Listen],
        resolver: &Resolver,
    ) -> Result<Vec<Arc<Listener>>, Error> {
        let handed: Vec<Handed> = {
            let all = self.handed.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter(|handed| handed.job == job).cloned().collect()
        };
        let (mut opened, mut failed) = (vec![], None);
        for listen in listens {
            match self.open(listen, resolver).await {
                Ok(listeners) => opened.extend(listeners),
                Err(error) if handed.is_empty() => return Err(error),
                // It may be in use by the very descriptor that does not fit.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let fits = |handed: &&Handed| opened.iter().any(|listener| Arc::ptr_eq(&listener.held, &handed.held));
        if let Some(stray) = handed.iter().find(|handed| !fits(handed)) {
            let wanted: Vec<_> = listens.iter().map(|listen| listen.bind.to_string()).collect();
            let wanted = if wanted.is_empty() { "nothing".into() } else { wanted.join(", ") };
            return Err(Error::Handed { handed: stray.address.clone(), wanted });
        }
        failed.map_or(Ok(opened), Err)
    }

    /// Keeps listeners open that could not be opened again, though no run listens on them.
    pub fn keep(&self, listeners: &[Arc<Listener>]) {
        let mut all = self.handed.0.lock().unwrap_or_else(PoisonError::into_inner);
        // No job has an empty name: they are a job's by their address alone.
        let nobody = String::new;
        let kept = listeners.iter().map(|listener| (listener.held.clone(), listener.address.clone()));
        all.extend(kept.map(|(held, address)| Handed { job: nobody(), held, address }));
    }

    /// Closes what was handed over or kept as soon as no run listens on it any more: the runner stops.
    pub fn let_go(&self) {
        self.handed.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Looks at a descriptor and makes a listener of it.
fn known(descriptor: OwnedFd) -> io::Result<(Key, String, Socket)> {
    let socket = socket2::Socket::from(descriptor);
    let kind = socket.r#type().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTSOCK) => refused("is no socket".into()),
        _ => error,
    })?;
    let local = socket.local_addr()?;
    let is_stream = kind == Type::STREAM;
    if is_stream && !socket.is_listener()? {
        return Err(refused("is a connection and no listener; a socket unit says `Accept=no`".into()));
    }
    if !is_stream && kind != Type::DGRAM {
        return Err(refused("is a socket of neither streams nor datagrams".into()));
    }
    socket.set_nonblocking(true)?;
    if socket.domain()? == Domain::UNIX {
        let path = if let Some(name) = local.as_abstract_namespace() {
            SocketPath::Abstract(
                String::from_utf8(name.to_vec()).map_err(|_| refused("has no name in UTF-8".into()))?,
            )
        } else {
            SocketPath::File(
                local.as_pathname().ok_or_else(|| refused("is bound to no address".into()))?.to_owned(),
            )
        };
        let (endpoint, socket) = if is_stream {
            (Endpoint::Unix(path), Socket::Unix(UnixListener::from(OwnedFd::from(socket))))
        } else {
            (Endpoint::Unixgram(path), Socket::Unixgram(OwnedFd::from(socket).into()))
        };
        return Ok((Key::unix(&endpoint), endpoint.to_string(), socket));
    }
    let at: SocketAddr = local.as_socket().ok_or_else(|| refused("has no address of a network".into()))?;
    if at.port() == 0 {
        return Err(refused("is bound to no port".into()));
    }
    let net = if is_stream { Net::Tcp } else { Net::Udp };
    prepare(net, &socket)?;
    let address = spell(net, &Host::Ip(at.ip()), at);
    let socket = if is_stream { Socket::Tcp(socket.into()) } else { Socket::Udp(socket.into()) };
    Ok((Key::Ip(net, at), address, socket))
}

fn refused(sentence: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, sentence)
}
