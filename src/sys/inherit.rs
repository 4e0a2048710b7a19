//! What a process is started with for itself alone: variables, and descriptors. See `sd_listen_fds(3)`.
#![allow(
    unsafe_code,
    reason = "changing the environment and taking a descriptor by its number are unsafe in general; both are done \
              before this process has a second thread or a descriptor of its own"
)]

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The number of the first descriptor that is handed over; those below it are the standard streams.
pub const FIRST: RawFd = 3;

/// Whether descriptors were taken: they can be taken once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes variables out of the environment, so that no child sees them. Once there is a second thread they are only read.
pub fn take_variables<const N: usize>(names: [&str; N]) -> [Option<OsString>; N] {
    let alone = is_alone();
    names.map(|name| {
        let value = env::var_os(name)?;
        if alone {
            // SAFETY: this process has one thread, so that nobody reads the environment meanwhile.
            unsafe { env::remove_var(name) };
        }
        Some(value)
    })
}

/// Takes so many descriptors from [`FIRST`] on, and has them closed when another program is started. Those from the first
/// on that is not open are missing. To be called before anything is opened: later calls take none.
pub fn take_descriptors(count: usize) -> Vec<OwnedFd> {
    if TAKEN.swap(true, Ordering::SeqCst) || !is_alone() {
        return vec![];
    }
    (FIRST..).take(count).map_while(|number| take(number).ok()).collect()
}

fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call only looks at the table of descriptors, and fails where there is none of this number.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, as the call before says; whoever started us handed it over, this process has opened nothing yet,
    // and none is taken twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether this thread is the only one.
fn is_alone() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_another_thread_nothing_is_taken_away() {
        // The harness has a thread of its own.
        assert!(!is_alone());
        assert_eq!(take_variables(["PATH"]), [env::var_os("PATH")]);
        assert!(env::var_os("PATH").is_some());
        assert!(take_descriptors(9).is_empty());
    }
}
