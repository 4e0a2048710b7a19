//! The accept loop of services: errors sorted by whose they are, a pause where this machine is short, and fairness to others.
//!
//! accept(2): errors of a connection that is already gone are the peer's and mean nothing; lack of descriptors or memory is
//! the machine's and passes; anything else is ours and ends the job.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    descriptors::{Descriptors, Hold, Waiting},
    is_short,
    listen::{Listener, Socket},
    stream::Accepted,
};
use crate::{outcome::Close, sys::accept::Acceptor};

/// Who takes connections.
pub trait Host: Sync {
    /// How many descriptors a connection takes, its own included.
    const DESCRIPTORS: u64;
    /// Takes a connection and the descriptors that are held for it; while this goes on no other is accepted. One that
    /// would still have to wait at the stop is given back.
    fn welcome(
        &self,
        client: Accepted,
        hold: Hold,
        stop: &CancellationToken,
    ) -> impl Future<Output = Option<Accepted>> + Send;
    /// Tells the operator that this machine is short of something.
    fn warn(&self, message: String);
    /// Breaks a connection off that cannot be served, and tells so.
    fn turn_away(&self, client: Accepted, close: Close);
}

/// What becomes of a connection while descriptors are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// It waits until another ends, and those behind it in the kernel's queue.
    Wait,
    /// It is broken off.
    Reset,
}

/// So many connections are accepted before others get their turn.
const BATCH: u32 = 16;

/// The pause where this machine is short. A limit that is raised again says nothing: it is found by looking, within a tenth
/// of a second.
const PAUSE: Duration = Duration::from_millis(50);

/// A shortage is told at most so often: each client could make one.
const AGAIN: Duration = Duration::from_mins(1);

/// What the operator is told where the descriptors that are left are not for connections.
const FULL: &str = "nearly all open files that are allowed are in use; clients wait meanwhile";

/// Accepts until it is told to stop. `Err`: the listener is of no use any more.
pub async fn accept<H: Host>(
    listener: &Listener,
    host: &H,
    descriptors: &Arc<Descriptors>,
    full: Full,
    stop: &CancellationToken,
) -> io::Result<()> {
    let acceptor = register(listener.socket())?;
    let _serving = listener.serve();
    let mut told = Told(None);
    let (mut accepted, mut errors) = (0, 0);
    // Once this machine is short.
    let mut waiting: Option<Waiting<'_>> = None;
    // What is free may be all that HTTP has: it is not taken for a client who could only wait with it.
    let has_room = || full == Full::Reset || descriptors.has_room(H::DESCRIPTORS);
    loop {
        // Before the attempt, so that no descriptor is freed unheard between the two.
        let freed = waiting.as_ref().map(Waiting::freed);
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            client = listener.handed_on() => Ok(client),
            result = acceptor.accept(has_room) => result.map(|(socket, peer)| Accepted::new(socket, &peer)),
        };
        match result {
            Ok(client) => {
                (errors, waiting) = (0, None);
                // Whoever was accepted is let in though the loop is to stop just now: another run of the job may go on at
                // this address, and to its clients nothing has ended. That run gets who would have to wait; where there is none, who
                // waits is broken off.
                let left = admit(client, host, descriptors, full, &mut told, stop).await;
                if let Some(client) = left.and_then(|client| listener.hand_on(client)) {
                    host.turn_away(client, Close::Drained);
                }
                accepted += 1;
                if accepted % BATCH == 0 {
                    yield_now().await;
                }
            }
            Err(error) => match (whose(&error), freed) {
                (Whose::Ours, _) => return Err(error),
                (Whose::Peers, _) if errors < BATCH => errors += 1,
                // An error that comes again and again is waited for too, or it would take a whole core.
                (Whose::Peers | Whose::Machines, None) => {
                    told.tell(host, || match error.raw_os_error() {
                        Some(_) => format!("accept: {error}; clients wait meanwhile"),
                        None => FULL.into(),
                    });
                    waiting = Some(descriptors.wait());
                }
                (Whose::Peers | Whose::Machines, Some(freed)) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = sleep(PAUSE) => {}
                        () = freed => {}
                    }
                }
            },
        }
    }
}

/// Hands a connection to its host; while descriptors are short it waits for one here, or is turned away. Gives back who still
/// waits at the stop.
async fn admit<H: Host>(
    client: Accepted,
    host: &H,
    descriptors: &Arc<Descriptors>,
    full: Full,
    told: &mut Told,
    stop: &CancellationToken,
) -> Option<Accepted> {
    let hold = match descriptors.hold(H::DESCRIPTORS) {
        Some(hold) => hold,
        None if full == Full::Reset => {
            host.turn_away(client, Close::Resources);
            return None;
        }
        None => tokio::select! {
            biased;
            hold = wait(host, descriptors, told) => hold,
            () = stop.cancelled() => return Some(client),
        },
    };
    host.welcome(client, hold, stop).await
}

async fn wait<H: Host>(host: &H, descriptors: &Arc<Descriptors>, told: &mut Told) -> Hold {
    let waiting = descriptors.wait();
    loop {
        let freed = waiting.freed();
        if let Some(hold) = descriptors.hold(H::DESCRIPTORS) {
            return hold;
        }
        told.tell(host, || FULL.into());
        // Others than connections give descriptors back too, and say nothing.
        tokio::select! {
            () = freed => {}
            () = sleep(PAUSE) => {}
        }
    }
}

/// When a shortage was told last.
struct Told(Option<Instant>);

impl Told {
    fn tell(&mut self, host: &impl Host, message: impl FnOnce() -> String) {
        if self.0.is_none_or(|last| last.elapsed() >= AGAIN) {
            self.0 = Some(Instant::now());
            host.warn(message());
        }
    }
}

/// The listener as a descriptor of its own: another run may accept from the same one, on this runtime or another.
fn register(socket: &Socket) -> io::Result<Acceptor> {
    match socket {
        Socket::Tcp(tcp) => Acceptor::new(tcp.try_clone()?.into()),
        Socket::Unix(unix) => Acceptor::new(unix.try_clone()?.into()),
        Socket::Udp(_) | Socket::Unixgram(_) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "a datagram socket takes no connections"))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Whose {
    Peers,
    Machines,
    Ours,
}

/// Sorts an error of accept(2).
fn whose(error: &io::Error) -> Whose {
    match error.raw_os_error() {
        _ if is_short(error) || error.kind() == io::ErrorKind::QuotaExceeded => Whose::Machines,
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT) | None => {
            Whose::Ours
        }
        // ECONNABORTED, EINTR, EPERM of a firewall, and whatever was pending on the new connection.
        Some(_) => Whose::Peers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_whose_they_are() {
        let of = |number| whose(&io::Error::from_raw_os_error(number));
        assert_eq!(of(libc::ECONNABORTED), Whose::Peers);
        assert_eq!(of(libc::EPROTO), Whose::Peers);
        assert_eq!(of(libc::EMFILE), Whose::Machines);
        assert_eq!(of(libc::EBADF), Whose::Ours);
    }
}
