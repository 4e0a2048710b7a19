//! One system call a time on a connected stream, as the relay wants it: by shared reference, so that a watch for errors
//! can stand beside reads and writes, and without the extra call that only learns that nothing more is there.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    task::{Context, Poll, ready},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
};
use tokio::io::Interest;

use super::Stream;

/// What a system call did.
struct Done {
    count: usize,
    /// Whether it shows that the next call would have to wait, so that readiness must come anew.
    is_last: bool,
}

impl Stream {
    /// Reads once. Zero: the peer has finished.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let is_tcp = matches!(self, Self::Tcp(_));
        self.poll_call(cx, Interest::READABLE, |socket| {
            let count = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
            // A read that does not fill the buffer has emptied the socket; what comes later wakes us (epoll(7)). Not so with
            // a Unix socket: a read stops behind bytes that came with descriptors, whatever follows them.
            Ok(Done { count, is_last: is_tcp && 0 < count && count < buffer.len() })
        })
    }

    /// Reads once, whether or not the runtime has heard that there is something. `None`: nothing is there.
    pub fn recv_now(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match recv(self.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            read => Some(read.map_err(Into::into)),
        }
    }

    /// Writes once.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_call(cx, Interest::WRITABLE, |socket| {
            let count = send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?;
            Ok(Done { count, is_last: count < bytes.len() })
        })
    }

    /// Makes a call of the caller's that takes bytes from the socket, once there may be some.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> nix::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_call(cx, Interest::READABLE, |socket| Ok(Done { count: call(socket)?, is_last: false }))
    }

    /// Makes a call of the caller's that gives bytes to the socket, once it may take some.
    pub fn poll_give(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> nix::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_call(cx, Interest::WRITABLE, |socket| Ok(Done { count: call(socket)?, is_last: false }))
    }

    fn poll_call(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> nix::Result<Done>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_ready(cx, interest))?;
            let mut moved = None;
            let tried = self.try_io(interest, || {
                loop {
                    match call(self.as_fd()) {
                        Err(Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                        Ok(done) => {
                            moved = Some(done.count);
                            // To the runtime this means: wait for news before the next call.
                            return if done.is_last { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) };
                        }
                    }
                }
            });
            match (moved, tried) {
                (Some(count), _) => return Poll::Ready(Ok(count)),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) => {}
            }
        }
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        match (self, interest.is_readable()) {
            (Self::Tcp(tcp), true) => tcp.poll_read_ready(cx),
            (Self::Tcp(tcp), false) => tcp.poll_write_ready(cx),
            (Self::Unix(unix), true) => unix.poll_read_ready(cx),
            (Self::Unix(unix), false) => unix.poll_write_ready(cx),
        }
    }

    fn try_io(&self, interest: Interest, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.try_io(interest, call),
            Self::Unix(unix) => unix.try_io(interest, call),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}
