//! Dispositions of signals: a closed pipe and a full file are errors to handle, not ends of the process; and those that are
//! caught. See signal(7).
//!
//! Not tokio's signals: where the system call fails that wakes its driver, the signal is lost, and where the one fails that
//! reads it, a thread panics. A runner that cannot hear SIGTERM would have to be killed.
#![allow(
    unsafe_code,
    reason = "setting a signal's disposition is unsafe in general; the one that runs code only sets a bit and rings a bell"
)]

use std::{
    io,
    os::{
        fd::{BorrowedFd, IntoRawFd as _},
        unix::net::UnixStream,
    },
    sync::atomic::{AtomicI32, AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc::{_exit, c_int},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal},
    unistd::write,
};
use tokio::{net, time::sleep};

/// The pause after an error of the bell's, which says nothing of whether a signal came.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the bell is rung where that fails.
const RINGS: usize = 3;

/// A bit for each signal that came and was not told yet.
static CAME: AtomicU64 = AtomicU64::new(0);

/// A bit for each signal that this process was told to ignore from its start, as a shell does for what runs behind.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// Where a byte wakes whoever waits for them. It is never closed: a handler may be about to write.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Signals that are caught from here on; of two of these in one process the later one hears of them.
#[derive(Debug)]
pub struct Caught(net::UnixStream);

/// Signals that came together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came(u64);

impl Caught {
    /// Catches these; those that come before somebody listens are kept. Must be called in a runtime.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let (heard, rung) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let heard = net::UnixStream::from_std(heard)?;
        BELL.store(rung.into_raw_fd(), Ordering::Release);
        for signal in signals {
            handle(*signal, note)?;
        }
        Ok(Self(heard))
    }

    /// Waits until some come.
    pub async fn next(&mut self) -> Came {
        loop {
            let came = CAME.swap(0, Ordering::Acquire);
            if came != 0 {
                return Came(came);
            }
            let ready = self.0.readable().await;
            match ready.and_then(|()| self.0.try_read(&mut [0; 16])) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

impl Came {
    /// Whether this one is among them.
    pub fn has(self, signal: Signal) -> bool {
        self.0 & bit(signal as c_int) != 0
    }
}

fn bit(number: c_int) -> u64 {
    1 << number
}

/// The handler.
extern "C" fn note(number: c_int) {
    let errno = Errno::last_raw();
    CAME.fetch_or(bit(number), Ordering::Release);
    // SAFETY: the descriptor is never closed, and is stored before the first signal is caught.
    let bell = unsafe { BorrowedFd::borrow_raw(BELL.load(Ordering::Acquire)) };
    for _ in 0..RINGS {
        // One that is full rings already.
        if matches!(write(bell, &[0]), Ok(_) | Err(Errno::EAGAIN)) {
            break;
        }
    }
    Errno::set_raw(errno);
}

/// From here on these end the process at once, with exit code 0 and without a word, until they are caught: for the time in
/// which there is nothing to drain yet.
pub fn leave_at(signals: &[Signal]) -> io::Result<()> {
    signals.iter().try_for_each(|signal| handle(*signal, leave))
}

/// The handler of that time.
extern "C" fn leave(_: c_int) {
    // SAFETY: it ends the process, and nothing else runs in it; signal-safety(7) allows it.
    unsafe { _exit(0) }
}

/// Has one of the handlers above called.
fn handle(which: Signal, handler: extern "C" fn(c_int)) -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers only touch atomics and errno, and call write(2) or _exit(2), as signal-safety(7) allows.
    let before = unsafe { sigaction(which, &action) }?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        IGNORED.fetch_or(bit(which as c_int), Ordering::Relaxed);
    }
    Ok(())
}

/// Ignores SIGPIPE and SIGXFSZ: the write fails with EPIPE or EFBIG instead.
pub fn ignore_write_signals() {
    set(Signal::SIGPIPE, SigHandler::SigIgn);
    set(Signal::SIGXFSZ, SigHandler::SigIgn);
}

/// Gives these and the signals that end a program the meaning again that they had when this process started, for a program
/// that it becomes: from here on none is caught by a runtime that no longer listens.
pub fn restore_for_program() {
    let ignored = IGNORED.load(Ordering::Relaxed);
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGINT, Signal::SIGTERM] {
        let was_ignored = ignored & bit(signal as c_int) != 0;
        set(signal, if was_ignored { SigHandler::SigIgn } else { SigHandler::SigDfl });
    }
}

fn set(which: Signal, handler: SigHandler) {
    // SAFETY: no disposition set here runs code of ours, so no handler can break an invariant.
    let _ = unsafe { signal(which, handler) };
}
