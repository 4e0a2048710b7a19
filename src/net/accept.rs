//! The accept loop of services: errors sorted by whose they are, a pause where this machine is short, and fairness to others.
//!
//! accept(2): errors of a connection that is already gone are the peer's and mean nothing; lack of descriptors or memory is
//! the machine's and passes; anything else is ours and ends the job.

use std::{future::Future, io, pin::pin, time::Duration};

use tokio::{task::yield_now, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{descriptors::Descriptors, listen::Socket, stream::Accepted};
use crate::sys::accept::Acceptor;

/// Who takes connections.
pub trait Host: Sync {
    /// Takes a connection; while this goes on no other is accepted.
    fn welcome(&self, client: Accepted) -> impl Future<Output = ()> + Send;
    /// Tells the operator that this machine is short of something.
    fn warn(&self, message: String);
    /// Breaks a connection off for which this machine has no descriptors, and tells so.
    fn turn_away(&self, client: Accepted);
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

/// The first pause where this machine is short; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until it is told to stop. `Err`: the listener is of no use any more.
pub async fn accept(
    socket: &Socket,
    host: &impl Host,
    descriptors: &Descriptors,
    full: Full,
    stop: &CancellationToken,
) -> io::Result<()> {
    let listener = register(socket)?;
    let mut pause = FIRST_PAUSE;
    let (mut accepted, mut errors) = (0, 0);
    loop {
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            result = listener.accept() => result,
        };
        match result {
            Ok((socket, peer)) => {
                (pause, errors) = (FIRST_PAUSE, 0);
                let client = Accepted::new(socket, &peer);
                // Whoever was accepted is let in though the loop is to stop just now: another run of the job may go on at
                // this address, and to its clients nothing has ended. Only who would have to wait is broken off.
                tokio::select! {
                    biased;
                    () = admit(client, host, descriptors, full) => {}
                    () = stop.cancelled() => return Ok(()),
                }
                accepted += 1;
                if accepted % BATCH == 0 {
                    yield_now().await;
                }
            }
            Err(error) => match whose(&error) {
                Whose::Peers if errors < BATCH => errors += 1,
                // An error that comes again and again is waited for too, or it would take a whole core.
                Whose::Peers | Whose::Machines => {
                    if pause == FIRST_PAUSE {
                        host.warn(format!("accept: {error}; clients wait meanwhile"));
                    }
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = sleep(pause) => {}
                        () = descriptors.freed() => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Whose::Ours => return Err(error),
            },
        }
    }
}

/// Hands a connection to its host; while descriptors are short it waits for one here, or is turned away.
async fn admit(mut client: Accepted, host: &impl Host, descriptors: &Descriptors, full: Full) {
    let mut is_told = false;
    loop {
        let mut freed = pin!(descriptors.freed());
        // From here on no word of a freed descriptor is missed.
        freed.as_mut().enable();
        if !descriptors.is_spare(client.number()) {
            return host.welcome(client).await;
        }
        if full == Full::Reset {
            return host.turn_away(client);
        }
        if !std::mem::replace(&mut is_told, true) {
            host.warn("nearly all open files that are allowed are in use; clients wait meanwhile".into());
        }
        tokio::select! {
            () = freed => {}
            () = sleep(LONGEST_PAUSE) => {}
        }
        client.renumber();
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
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Whose::Machines,
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
