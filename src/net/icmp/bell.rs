//! How the prober is woken: by a byte in a pipe, written only while it sleeps. And which sessions nobody holds any more.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The callers' end. The prober notices when the last of them is gone.
#[derive(Debug)]
pub(super) struct Bell {
    pipe: PipeWriter,
    shared: Arc<Shared>,
}

/// The prober's end.
#[derive(Debug)]
pub(super) struct Ear {
    pipe: PipeReader,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    asleep: AtomicBool,
    /// No more than there are sessions.
    closed: Mutex<Vec<u64>>,
}

/// Both ends.
pub(super) fn pair() -> io::Result<(Bell, Ear)> {
    let (reader, writer) = io::pipe()?;
    let shared = Arc::<Shared>::default();
    Ok((Bell { pipe: writer, shared: shared.clone() }, Ear { pipe: reader, shared }))
}

impl Bell {
    /// Wakes the prober where it sleeps.
    pub(super) fn ring(&self) {
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            // One byte at a time: the pipe is never full.
            let _ = (&self.pipe).write(&[1]);
        }
    }

    /// Nobody holds this session any more; `wakes`: a sleeping prober is to know at once.
    pub(super) fn close(&self, session: u64, wakes: bool) {
        self.shared.closed.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        if wakes {
            self.ring();
        }
    }
}

impl Ear {
    /// The sessions that nobody holds any more.
    pub(super) fn closed(&self) -> Vec<u64> {
        std::mem::take(&mut *self.shared.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on a caller writes a byte. What came before that must be looked for after it.
    pub(super) fn fall_asleep(&self) -> bool {
        self.shared.asleep.store(true, Ordering::SeqCst);
        self.shared.closed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// From now on nobody needs to write; takes the byte of who did.
    pub(super) fn wake(&self) {
        if !self.shared.asleep.swap(false, Ordering::SeqCst) {
            // It is there, or about to come.
            let _ = (&self.pipe).read(&mut [0]);
        }
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_rung(ear: &Ear) -> bool {
        let mut polled = [PollFd::new(ear.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn a_byte_is_written_once_and_only_to_a_sleeper() {
        let (bell, ear) = pair().unwrap();
        bell.ring();
        assert!(!is_rung(&ear));
        assert!(ear.fall_asleep());
        bell.ring();
        bell.ring();
        assert!(is_rung(&ear));
        ear.wake();
        assert!(!is_rung(&ear));
        bell.close(7, true);
        assert!(!ear.fall_asleep());
        ear.wake();
        assert_eq!(ear.closed(), [7]);
        assert!(ear.fall_asleep());
        bell.close(8, false);
        assert!(!is_rung(&ear));
        ear.wake();
        assert_eq!(ear.closed(), [8]);
        drop(bell);
        assert!(is_rung(&ear));
    }
}
