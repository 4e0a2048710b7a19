//! accept4(2): connections that no runtime knows yet, each with its peer's address from the same call.
#![allow(unsafe_code, reason = "std and socket2 need a second call to make the socket non-blocking")]

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockAddr, Socket};
use tokio::io::{Interest, unix::AsyncFd};

/// A listening socket, registered with the runtime that made it.
#[derive(Debug)]
pub struct Acceptor(AsyncFd<OwnedFd>);

impl Acceptor {
    /// Registers a non-blocking listening socket.
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` gives the same open descriptor each time it is asked, until it is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Waits for a connection; it is non-blocking and closed by exec. Where one is there and `has_room` says no, it stays in
    /// the kernel's queue, and this is `QuotaExceeded`.
    pub async fn accept(&self, has_room: impl Fn() -> bool) -> io::Result<(Socket, SockAddr)> {
        let accept = |listener: &OwnedFd| if has_room() { accept(listener) } else { Err(full(listener)) };
        self.0.async_io(Interest::READABLE, accept).await
    }
}

/// Why nobody is accepted where there is no room. That the runtime calls the listener ready may be from before the last one.
fn full(listener: &OwnedFd) -> io::Error {
    let mut listener = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    match poll(&mut listener, PollTimeout::ZERO) {
        Ok(0) => io::ErrorKind::WouldBlock.into(),
        Ok(_) => io::ErrorKind::QuotaExceeded.into(),
        Err(error) => error.into(),
    }
}

fn accept(listener: &OwnedFd) -> io::Result<(Socket, SockAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `storage` and `length` come from `try_init`, which gives a whole storage and its size; accept4 writes at most
    // that and sets the length. The descriptor is new and ours.
    unsafe {
        SockAddr::try_init(|storage, length| {
            match libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Socket::from_raw_fd(fd)),
            }
        })
    }
}
