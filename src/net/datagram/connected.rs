//! A datagram socket with one peer: what a session has towards its upstream. The kernel keeps foreign senders away.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use socket2::SockRef;
use tokio::{
    io::{Interest, Ready, unix::AsyncFd},
    net::{UdpSocket, UnixDatagram},
};

use super::{Arrivals, Room, arrived, send_all};
use crate::{net::stream::Peer, sys::interest::register};

/// A connected datagram socket, registered with the runtime of whoever reads from it; anybody may send.
#[derive(Debug)]
pub struct Connected {
    socket: AsyncFd<OwnedFd>,
    is_udp: bool,
}

/// What a UDP socket asks for; the system cuts it to `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

impl Connected {
    /// Of a UDP socket.
    pub fn udp(socket: UdpSocket) -> io::Result<Self> {
        let socket = socket.into_std()?;
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        Ok(Self { socket: register(socket.into(), Interest::READABLE)?, is_udp: true })
    }

    /// Of a Unix socket.
    pub fn unix(socket: UnixDatagram) -> io::Result<Self> {
        let socket = register(socket.into_std()?.into(), Interest::READABLE)?;
        Ok(Self { socket, is_udp: false })
    }

    /// Its own address and the peer's, as others see them.
    pub fn addresses(&self) -> Option<(Peer, Peer)> {
        let socket = SockRef::from(&self.socket);
        Some((Peer::of(&socket.local_addr().ok()?), Peer::of(&socket.peer_addr().ok()?)))
    }

    /// Waits for a datagram, or for word that the peer is not there.
    pub async fn ready(&self) -> io::Result<()> {
        const BOTH: Interest = Interest::READABLE.add(Interest::ERROR);
        let mut ready = self.socket.ready(BOTH).await?;
        if ready.ready().is_error() {
            // An error stands until somebody says that it was seen.
            ready.clear_ready_matching(Ready::ERROR);
            let error = SockRef::from(&self.socket).take_error()?;
            return error.filter(|error| !is_of_size(error)).map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Takes what has come, as many as one call gives; says whether there may be more.
    pub fn receive(&self, take: impl FnOnce(&Arrivals<'_>)) -> io::Result<bool> {
        let mut is_more = true;
        let received = self.socket.try_io(Interest::READABLE, |socket| {
            is_more = match arrived::receive(socket.as_fd(), self.is_udp, take) {
                Err(error) if is_of_size(&error) => true,
                received => received?,
            };
            // Less than there was room for: nothing is left, and the next one wakes us.
            if is_more { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            received => received.map(|()| true),
        }
    }

    /// Sends datagrams in order, as many as one call takes, without waiting: how many have gone. An error is about the first.
    pub fn send(&self, datagrams: &[&[u8]]) -> io::Result<usize> {
        let attempt = || send_all(self.socket.as_fd(), datagrams.iter().map(|bytes| (*bytes, None, None)));
        match attempt() {
            // It may be about an earlier one; asked again, it is about this one.
            Err(error) if is_of_size(&error) => attempt(),
            sent => sent,
        }
    }

    /// What wakes when it may be that more can be sent.
    pub fn room(&self) -> io::Result<Room> {
        Room::of(self.socket.as_fd())
    }
}

/// Whether an error tells that the way is narrower than was thought. The kernel keeps it for the next call, whatever that is,
/// and splits datagrams from then on: it says nothing of the peer.
fn is_of_size(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}
