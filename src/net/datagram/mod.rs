//! Datagrams of a listener, UDP or Unix: who sent each, to which of our addresses, and the answer back the same way.
//!
//! ip(7) and ipv6(7), `IP_PKTINFO`: the answer leaves from the address that the client spoke to. A datagram is whole or it is
//! told to be cut; sizes from 0 to the largest are exact. They are received and sent many at a time, through one arena a thread.
//!
//! A Unix client that is connected to the listener and does not read can take all of the listener's send buffer: the system
//! holds only those that are not connected to `net.unix.max_dgram_qlen`.

mod arrived;
mod connected;
mod room;

use std::{
    ffi::OsStr,
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt as _,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use socket2::SockAddr;
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{listen::Socket, stream::Peer};
use crate::sys::{
    datagram::{self, Outgoing},
    icmp::drops,
    interest,
};

pub use crate::sys::datagram::MOST;
pub use arrived::{Arrivals, Arrived, Local};
pub use connected::Connected;
pub use room::Room;

/// The largest datagram that is taken whole; a Unix one can be larger than a UDP one.
pub const LARGEST: usize = 256 << 10;

/// The pause after an error of a receive.
const PAUSE: Duration = Duration::from_millis(100);

/// A datagram socket that many peers speak to.
#[derive(Clone, Copy, Debug)]
pub enum Port<'a> {
    /// UDP.
    Udp(&'a std::net::UdpSocket),
    /// Unix.
    Unix(&'a std::os::unix::net::UnixDatagram),
}

impl<'a> Port<'a> {
    /// The datagram side of a listener; `None` for one that takes connections.
    pub fn of(socket: &'a Socket) -> Option<Self> {
        match socket {
            Socket::Udp(udp) => Some(Self::Udp(udp)),
            Socket::Unixgram(unix) => Some(Self::Unix(unix)),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// Registers it with the runtime of the caller, as a descriptor of its own: another run may hold the same listener.
    pub fn register(self) -> io::Result<Served> {
        let (fd, is_udp): (OwnedFd, _) = match self {
            Self::Udp(udp) => (udp.try_clone()?.into(), true),
            Self::Unix(unix) => (unix.try_clone()?.into(), false),
        };
        let is_v6 = matches!(self, Self::Udp(udp) if udp.local_addr()?.is_ipv6());
        // What an earlier run lost is not ours to tell; where the kernel does not say, we count from nought.
        let drops = AtomicU32::new(if is_udp { drops(fd.as_fd()).unwrap_or(0) } else { 0 });
        Ok(Served { socket: interest::register(fd, Interest::READABLE)?, is_udp, is_v6, drops })
    }
}

/// A datagram socket at work, registered with the runtime of whoever serves it.
#[derive(Debug)]
pub struct Served {
    socket: AsyncFd<OwnedFd>,
    is_udp: bool,
    is_v6: bool,
    /// How many the kernel was known to have dropped.
    drops: AtomicU32,
}

/// A client as the system takes it, for answers.
#[derive(Debug)]
pub struct Address(SockAddr);

impl Served {
    /// Hands on all datagrams that come, until it is told to stop. An error of a receive is about an earlier answer, or a
    /// lack of memory: it is told, and after a pause it goes on.
    pub async fn serve(
        &self,
        stop: &CancellationToken,
        mut take: impl FnMut(&Arrivals<'_>) + Send,
        mut told: impl FnMut(io::Error) + Send,
    ) {
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.receive(&mut take) => received,
            };
            match received {
                // Where there is more, the answers of the others get their turn first.
                Ok(true) => yield_now().await,
                Ok(false) => {}
                Err(error) => {
                    told(error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits for datagrams and hands them on, as many as one call gives; says whether there may be more.
    pub async fn receive(&self, take: impl FnOnce(&Arrivals<'_>) + Send) -> io::Result<bool> {
        let mut ready = self.socket.readable().await?;
        let received = arrived::receive(self.socket.as_fd(), self.is_udp, take);
        match received {
            Ok(is_more) => {
                if !is_more {
                    ready.clear_ready();
                }
                Ok(is_more)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// How many the kernel has dropped since this was last asked, by what a datagram says.
    pub fn newly_dropped(&self, arrived: &Arrived<'_>) -> u32 {
        let Some(drops) = arrived.drops else { return 0 };
        let new = drops.wrapping_sub(self.drops.load(Ordering::Relaxed));
        // One that waited since before we looked says less than we know.
        if new.cast_signed() <= 0 {
            return 0;
        }
        self.drops.store(drops, Ordering::Relaxed);
        new
    }

    /// A peer as this socket takes it: an IPv4 one of a dual-stack socket in IPv6's clothes again.
    pub fn address(&self, peer: &Peer) -> io::Result<Address> {
        let address = match peer {
            Peer::Ip(SocketAddr::V4(v4)) if self.is_v6 => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()).into()
            }
            Peer::Ip(address) => (*address).into(),
            Peer::Unix(name) => match (name.path(), name.as_abstract()) {
                (Some(path), _) => SockAddr::unix(path)?,
                (_, Some(name)) => SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()))?,
                _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
            },
        };
        Ok(Address(address))
    }

    /// Sends datagrams, at most [`MOST`], each to a peer from one of our addresses, without waiting: how many have gone. An
    /// error is about the first.
    pub fn send<'a>(
        &self,
        answers: impl Iterator<Item = (&'a [u8], &'a Address, Option<Local>)>,
    ) -> io::Result<usize> {
        send_all(self.socket.as_fd(), answers.map(|(bytes, to, from)| (bytes, Some(&to.0), from)))
    }

    /// What wakes when it may be that more can be sent.
    pub fn room(&self) -> io::Result<Room> {
        Room::of(self.socket.as_fd())
    }
}

/// One call for all of them.
fn send_all<'a>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = (&'a [u8], Option<&'a SockAddr>, Option<Local>)>,
) -> io::Result<usize> {
    let mut all = [Outgoing { bytes: &[], to: None, from: None, control: &[] }; MOST];
    let mut count = 0;
    for (place, (bytes, to, from)) in all.iter_mut().zip(messages) {
        *place = Outgoing { bytes, to, from: from.map(Local::parts), control: &[] };
        count += 1;
    }
    datagram::send(socket, &all[..count])
}

#[cfg(test)]
mod tests;
