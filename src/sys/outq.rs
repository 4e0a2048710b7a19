//! What a TCP socket still has to bring to its peer, and whether it stands at urgent data (tcp(7), `SIOCOUTQ`, `SIOCATMARK`).
#![allow(unsafe_code, reason = "ioctls that write an integer")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Bytes that the peer has not acknowledged; 0 where the kernel does not tell.
pub fn unacknowledged(tcp: BorrowedFd<'_>) -> usize {
    // SIOCOUTQ is TIOCOUTQ.
    ask(tcp, libc::TIOCOUTQ).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}

/// Whether the next byte to be read is urgent: a read before it stopped there, whatever lies behind.
pub fn is_at_mark(tcp: BorrowedFd<'_>) -> bool {
    const SIOCATMARK: libc::Ioctl = 0x8905;
    ask(tcp, SIOCATMARK).is_some_and(|is_there| is_there != 0)
}

fn ask(tcp: BorrowedFd<'_>, what: libc::Ioctl) -> Option<libc::c_int> {
    let mut answer: libc::c_int = 0;
    // SAFETY: both requests write one `int` to the place given, which lives until the call returns.
    let result = unsafe { libc::ioctl(tcp.as_raw_fd(), what, &raw mut answer) };
    (result == 0).then_some(answer)
}
