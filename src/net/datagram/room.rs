//! Waiting for room to send. Rare, so that no socket is registered for it until it was found full.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::sys::interest::register;

/// A full socket, registered until there is room.
#[derive(Debug)]
pub struct Room(AsyncFd<OwnedFd>);

impl Room {
    pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        register(socket.try_clone_to_owned()?, Interest::WRITABLE).map(Self)
    }

    /// Tries each time when there may be room, until it is no longer `WouldBlock`.
    pub async fn until<T>(&self, mut attempt: impl FnMut() -> io::Result<T> + Send) -> io::Result<T> {
        self.0.async_io(Interest::WRITABLE, |_| attempt()).await
    }
}
