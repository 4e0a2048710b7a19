//! The system calls that nobody wraps; the only unsafe code.
#![allow(unsafe_code, reason = "the only place for it")]

use std::{io, mem, net::UdpSocket, os::fd::AsRawFd, ptr};

/// Raises the soft limit of descriptors to the hard one.
pub(crate) fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid `rlimit`.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Lets this thread run before those of ordinary priority; false where that is not allowed.
pub(crate) fn run_first() -> bool {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: thread 0 is the calling one, and the parameter is valid.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) == 0 }
}

/// Lets this thread's sleeps end on time.
pub(crate) fn wake_exactly() {
    // SAFETY: this option takes a number.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// A type's size as the socket calls want it.
fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

/// A large receive buffer, beyond the system's limit where that is allowed.
pub(crate) fn large_buffer(socket: &UdpSocket) {
    let bytes: libc::c_int = 8 << 20;
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        // SAFETY: the value is an int of the length that is given.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const bytes).cast(),
                length_of::<libc::c_int>(),
            );
        }
    }
}

/// Room for many datagrams, each with its sender.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    names: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    heads: Vec<libc::mmsghdr>,
    size: usize,
}

impl Batch {
    pub(crate) fn new(messages: usize, size: usize) -> Self {
        // SAFETY: all three are plain data for which zero is valid.
        let (name, part, head) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            bytes: vec![0x5a; messages * size],
            names: vec![name; messages],
            parts: vec![part; messages],
            heads: vec![head; messages],
            size,
        }
    }

    /// Points the headers at the room; `named`: with the addresses. `kept`: with the lengths that were received.
    fn prepare(&mut self, named: bool, kept: bool) {
        for index in 0..self.heads.len() {
            let length = if kept { self.heads[index].msg_len as usize } else { self.size };
            self.parts[index].iov_base = self.bytes[index * self.size..].as_mut_ptr().cast();
            self.parts[index].iov_len = length;
            let head = &mut self.heads[index].msg_hdr;
            head.msg_iov = &raw mut self.parts[index];
            head.msg_iovlen = 1;
            head.msg_name = if named { (&raw mut self.names[index]).cast() } else { ptr::null_mut() };
            head.msg_namelen = if named { length_of::<libc::sockaddr_in>() } else { 0 };
        }
    }

    /// Receives what is there, at least one unless `flags` say not to wait.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        named: bool,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        self.prepare(named, false);
        let room = u32::try_from(self.heads.len()).unwrap_or(u32::MAX);
        // SAFETY: the headers point into vectors of `self` that are not touched meanwhile.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.heads.as_mut_ptr(), room, flags, ptr::null_mut())
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Sends the first `count`: full ones to whom the socket is connected to, or back what was received.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize, back: bool) -> usize {
        self.prepare(back, back);
        let count = count.min(self.heads.len());
        let mut sent = 0;
        while sent < count {
            // SAFETY: as above; `sent` is within the headers.
            let more = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.heads[sent..].as_mut_ptr(),
                    u32::try_from(count - sent).unwrap_or(0),
                    0,
                )
            };
            match usize::try_from(more) {
                Ok(more) if more > 0 => sent += more,
                _ => break,
            }
        }
        sent
    }
}
