//! What a TCP socket still has to bring to its peer (tcp(7), `SIOCOUTQ`).
#![allow(unsafe_code, reason = "an ioctl that writes an integer")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Bytes that the peer has not acknowledged; 0 where the kernel does not tell.
pub fn unacknowledged(tcp: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one `int` to the place given, which lives until the call returns. SIOCOUTQ is TIOCOUTQ.
    let result = unsafe { libc::ioctl(tcp.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
