//! Pipes for splicing: leased for as long as they hold bytes, pooled a few a thread, and bounded in the whole process.
//!
//! The invariant: a pipe in a pool is empty; one that is given back with bytes in it is closed.

use std::{
    cell::RefCell,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::{pipe2, read},
};

use crate::{meter::relay::RELAYS, sys::limits};

/// What a pipe holds; more gains nothing.
pub(super) const PIPE: usize = 256 << 10;

/// A smaller pipe is worse than copying. The kernel gives one to a user who has too many (pipe(7)).
const LEAST: usize = 64 << 10;

/// So many empty pipes are kept in all pools together, and no more than may be in use.
const POOLED: usize = 8;

/// So many pipes are in use at most at a time: a thirty-second of the open files that are allowed, 4 to 192. Only directions
/// whose peer does not keep up hold one for longer than a poll.
static MOST: LazyLock<usize> = LazyLock::new(|| {
    let files = limits::open_files().map_or(1024, |limits| limits.soft);
    usize::try_from(files / 32).unwrap_or(usize::MAX).clamp(4, 192)
});

thread_local! {
    static POOL: Pool = const { Pool(RefCell::new(vec![])) };
}

struct Pool(RefCell<Vec<Pipe>>);

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe of one direction's own.
#[derive(Debug)]
pub(super) struct Lease {
    /// Empty only while it is made and dropped.
    pipe: Option<Pipe>,
    held: usize,
}

impl Lease {
    /// An empty pipe; `None` where as many are in use as may be. `Err`: the kernel gives none.
    pub(super) fn new() -> io::Result<Option<Self>> {
        if !try_add(&RELAYS.leased, *MOST) {
            return Ok(None);
        }
        // From here on its place is given back on every path.
        let mut lease = Self { pipe: None, held: 0 };
        let pooled = POOL.try_with(|pool| pool.0.borrow_mut().pop()).ok().flatten();
        if pooled.is_some() {
            RELAYS.pooled.fetch_sub(1, Ordering::Relaxed);
        }
        lease.pipe = Some(pooled.map_or_else(Pipe::new, Ok)?);
        Ok(Some(lease))
    }

    /// Bytes in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Fills the empty pipe from a socket. Only an empty one: one with bytes may run out of slots, and EAGAIN would not
    /// say whose it is.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> nix::Result<usize> {
        debug_assert_eq!(self.held, 0);
        let Some(pipe) = &self.pipe else { return Err(Errno::EBADF) };
        self.held = splice(from, None, &pipe.write, None, PIPE, FLAGS)?;
        Ok(self.held)
    }

    /// Empties it into a socket as far as that takes it.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>) -> nix::Result<usize> {
        let Some(pipe) = &self.pipe else { return Err(Errno::EBADF) };
        let count = splice(&pipe.read, None, to, None, self.held, FLAGS)?;
        self.held -= count;
        Ok(count)
    }

    /// Its bytes, for a socket that takes them only by a copy.
    pub(super) fn rescue(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        while self.held > 0 {
            let Some(pipe) = &self.pipe else { break };
            let start = bytes.len() - self.held;
            match read(&pipe.read, &mut bytes[start..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.held -= count,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }
}

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_NONBLOCK.union(SpliceFFlags::SPLICE_F_MOVE);

impl Drop for Lease {
    fn drop(&mut self) {
        RELAYS.leased.fetch_sub(1, Ordering::Relaxed);
        let Some(pipe) = self.pipe.take().filter(|_| self.held == 0) else { return };
        if try_add(&RELAYS.pooled, POOLED.min(*MOST)) {
            // Where the thread is about to end, its pool is gone, and the pipe with it.
            let kept = POOL.try_with(|pool| pool.0.borrow_mut().push(pipe));
            if kept.is_err() {
                RELAYS.pooled.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let wanted = i32::try_from(PIPE).unwrap_or(i32::MAX);
        let size = fcntl(&write, FcntlArg::F_SETPIPE_SZ(wanted))
            .or_else(|_| fcntl(&write, FcntlArg::F_GETPIPE_SZ))?;
        if usize::try_from(size).is_ok_and(|size| size >= LEAST) {
            Ok(Self { read, write })
        } else {
            Err(io::ErrorKind::QuotaExceeded.into())
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        RELAYS.pooled.fetch_sub(self.0.get_mut().len(), Ordering::Relaxed);
    }
}

/// Adds one unless there are `most` already.
fn try_add(count: &AtomicUsize, most: usize) -> bool {
    let more = |count| (count < most).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}
