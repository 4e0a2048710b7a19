//! One sender of datagrams: its upstream, what goes there and what comes back, until it is silent.

use std::{cell::RefCell, io, net::SocketAddr, sync::Arc};

use tokio::{
    io::Interest,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    connect::Far,
    datagram::{Datagrams, Key},
    gate::SourceSlot,
    upstream::{Route, Target},
};
use crate::{
    kind::service::Open,
    net::{
        datagram::{LARGEST, Port},
        hops,
        listen::Listener,
        stream::Peer,
    },
    outcome::Close,
};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LARGEST + 1]);
}

/// A session that was just begun.
pub(super) struct Session {
    pub(super) datagrams: Arc<Datagrams>,
    pub(super) listener: Arc<Listener>,
    pub(super) route: Arc<Route>,
    pub(super) key: Key,
    pub(super) number: u64,
    pub(super) queue: mpsc::Receiver<Vec<u8>>,
    pub(super) open: Open,
    /// Its share of what one source may take.
    pub(super) _source: Option<SourceSlot>,
    /// Whether the upstream has answered.
    pub(super) is_answered: bool,
}

impl Session {
    /// From the choice of the upstream to the end.
    pub(super) async fn run(mut self) {
        let service = self.datagrams.service.clone();
        let (route, peer) = (self.route.clone(), self.key.1);
        let open = &mut self.open;
        let hops = &service.connector.shared.hops;
        let before = if let Peer::Ip(sender) = peer { hops.before(sender) } else { 0 };
        let reached = tokio::select! {
            biased;
            () = service.ending.kill.cancelled() => Err(Close::Grace),
            () = std::future::ready(()), if before >= hops::MOST => Err(Close::Loop),
            reached = service.connector.reach(&route, &peer, true, |upstream| open.goes_to(upstream)) => reached,
        };
        let close = match reached {
            Ok((far, target, _busy)) => {
                let _hop = near(&far).map(|from| hops.enter(from, before));
                self.pass(&far, &target).await
            }
            Err(close) => close,
        };
        self.datagrams.end(&self.key, self.number, &self.queue, true);
        self.queue.close();
        while let Ok(bytes) = self.queue.try_recv() {
            self.datagrams.taken(bytes.len());
            self.datagrams.drop_one();
        }
        self.open.close(close);
    }

    /// Passes datagrams both ways until the session ends.
    async fn pass(&mut self, far: &Far, target: &Target) -> Close {
        let service = self.datagrams.service.clone();
        let ending = &service.ending;
        let mut idle = self.datagrams.idle;
        let mut active = Instant::now();
        let mut is_draining = false;
        // What the upstream does not take now; nothing more is taken from the queue meanwhile.
        let mut held: Option<Vec<u8>> = None;
        loop {
            tokio::select! {
                biased;
                () = ending.kill.cancelled() => return Close::Grace,
                () = ending.drain.cancelled(), if !is_draining => {
                    (idle, is_draining) = (idle.min(ending.drain_idle), true);
                }
                ready = writable(far), if held.is_some() => match ready.and_then(|()| offer(far, held.as_deref())) {
                    Ok(false) => {}
                    sent => {
                        let bytes = held.take().unwrap_or_default();
                        if let Some(close) = self.sent(sent, &bytes, target) {
                            return close;
                        }
                        active = Instant::now();
                    }
                },
                bytes = self.queue.recv(), if held.is_none() => match bytes {
                    Some(bytes) => {
                        self.datagrams.taken(bytes.len());
                        held = Some(bytes);
                    }
                    // The table has let go of it, to make room for another.
                    None => return Close::Limit,
                },
                ready = readable(far) => match ready.and_then(|()| self.answer(far, target)) {
                    Ok(Some(refused)) => {
                        self.send_later(&refused, target).await;
                        active = Instant::now();
                    }
                    Ok(None) => active = Instant::now(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return broken(&error, target),
                },
                () = sleep_until(active + idle) => {
                    if self.datagrams.end(&self.key, self.number, &self.queue, false) {
                        return if is_draining { Close::Drained } else { Close::IdleTimeout };
                    }
                }
            }
        }
    }

    /// Counts a datagram that went to the upstream, or says why the session is over.
    fn sent(&mut self, sent: io::Result<bool>, bytes: &[u8], target: &Target) -> Option<Close> {
        match sent {
            Ok(_) => {
                self.open.passed(bytes.len(), 0);
                target.received.add(bytes.len() as u64);
                None
            }
            // Too large for UDP or for the way: this one is lost, the others are not.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                self.datagrams.drop_one();
                None
            }
            Err(error) => Some(broken(&error, target)),
        }
    }

    /// Reads an answer and sends it to the client; gives it back where the client's side is full.
    fn answer(&mut self, far: &Far, target: &Target) -> io::Result<Option<Vec<u8>>> {
        BUFFER.with_borrow_mut(|buffer| {
            let length = match far {
                Far::Udp(udp) => udp.try_recv(buffer)?,
                Far::Unixgram(unix) => unix.try_recv(buffer)?,
                Far::Stream(_) => return Err(io::ErrorKind::Unsupported.into()),
            };
            if !std::mem::replace(&mut self.is_answered, true) {
                target.answered();
            }
            let Some(port) = Port::of(self.listener.socket()) else { return Ok(None) };
            if length > LARGEST {
                self.datagrams.drop_one();
                return Ok(None);
            }
            let sent = port.try_send(&buffer[..length], &self.key.1, self.key.2);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Ok(Some(buffer[..length].to_vec()))
                }
                sent => {
                    self.answered(sent.is_ok(), length, target);
                    Ok(None)
                }
            }
        })
    }

    /// Waits for room on the client's side: a moment for UDP, until it reads for a Unix socket.
    async fn send_later(&mut self, bytes: &[u8], target: &Target) {
        let Some(port) = Port::of(self.listener.socket()) else { return };
        let ending = &self.datagrams.service.ending;
        let sent = tokio::select! {
            sent = port.send(bytes, &self.key.1, self.key.2) => sent,
            () = sleep_until(Instant::now() + PATIENCE) => Err(io::ErrorKind::TimedOut.into()),
            () = ending.kill.cancelled() => Err(io::ErrorKind::TimedOut.into()),
        };
        self.answered(sent.is_ok(), bytes.len(), target);
    }

    fn answered(&mut self, is_sent: bool, length: usize, target: &Target) {
        if is_sent {
            self.open.passed(0, length);
            target.sent.add(length as u64);
        } else {
            self.datagrams.drop_one();
        }
    }
}

/// Where a socket that is connected to this machine itself starts.
fn near(far: &Far) -> Option<SocketAddr> {
    let Far::Udp(udp) = far else { return None };
    let (local, peer) = (udp.local_addr().ok()?, udp.peer_addr().ok()?);
    (local.ip() == peer.ip() || local.ip().to_canonical().is_loopback()).then_some(local)
}

/// How long an answer waits for room on the client's side.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);

async fn writable(far: &Far) -> io::Result<()> {
    match far {
        Far::Udp(udp) => udp.writable().await,
        Far::Unixgram(unix) => unix.writable().await,
        Far::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Waits for an answer, or for word that the upstream is not there.
async fn readable(far: &Far) -> io::Result<()> {
    const BOTH: Interest = Interest::READABLE.add(Interest::ERROR);
    // An error stands until somebody says that it was seen.
    let seen = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    let error = match far {
        Far::Udp(udp) if udp.ready(BOTH).await?.is_error() => {
            let _ = udp.try_io(Interest::ERROR, seen);
            udp.take_error()?
        }
        Far::Unixgram(unix) if unix.ready(BOTH).await?.is_error() => {
            let _ = unix.try_io(Interest::ERROR, seen);
            unix.take_error()?
        }
        Far::Udp(_) | Far::Unixgram(_) => None,
        Far::Stream(_) => Some(io::ErrorKind::Unsupported.into()),
    };
    error.map_or(Ok(()), Err)
}

/// Sends to the upstream; `false` where it takes nothing now.
fn offer(far: &Far, bytes: Option<&[u8]>) -> io::Result<bool> {
    let bytes = bytes.unwrap_or_default();
    let sent = match far {
        Far::Udp(udp) => udp.try_send(bytes),
        Far::Unixgram(unix) => unix.try_send(bytes),
        Far::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    match sent {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The upstream says no: it is tried last for a while, and the sender's next datagram begins anew.
fn broken(error: &io::Error, target: &Target) -> Close {
    target.failed();
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::ENOTCONN | libc::EPIPE) => Close::Refused,
        Some(libc::ENOBUFS | libc::ENOMEM) => Close::Resources,
        _ => Close::Unreachable,
    }
}
