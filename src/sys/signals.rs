//! Signals that must not end the process: a closed pipe and a full file are errors to handle. See signal(7).
#![allow(unsafe_code, reason = "setting a signal's disposition is unsafe in general; these two run no code")]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Ignores SIGPIPE and SIGXFSZ: the write fails with EPIPE or EFBIG instead.
pub fn ignore_write_signals() {
    set(Signal::SIGPIPE, SigHandler::SigIgn);
    set(Signal::SIGXFSZ, SigHandler::SigIgn);
}

/// Gives both their usual meaning again, for a program that this process becomes.
pub fn restore_write_signals() {
    set(Signal::SIGPIPE, SigHandler::SigDfl);
    set(Signal::SIGXFSZ, SigHandler::SigDfl);
}

fn set(which: Signal, handler: SigHandler) {
    // SAFETY: neither disposition runs code of ours, so no handler can break an invariant.
    let _ = unsafe { signal(which, handler) };
}
