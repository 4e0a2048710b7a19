//! Dispositions of signals: a closed pipe and a full file are errors to handle, not ends of the process. See signal(7).
#![allow(
    unsafe_code,
    reason = "setting a signal's disposition is unsafe in general; none set here runs code"
)]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Ignores SIGPIPE and SIGXFSZ: the write fails with EPIPE or EFBIG instead.
pub fn ignore_write_signals() {
    set(Signal::SIGPIPE, SigHandler::SigIgn);
    set(Signal::SIGXFSZ, SigHandler::SigIgn);
}

/// Ignores SIGHUP until somebody catches it: it asks for a reload, and must not end a daemon that is only starting.
pub fn ignore_hangup() {
    set(Signal::SIGHUP, SigHandler::SigIgn);
}

/// Gives these and the signals that end a program their usual meaning again, for a program that this process becomes:
/// from here on none is caught by a runtime that no longer listens.
pub fn restore_for_program() {
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGINT, Signal::SIGTERM] {
        set(signal, SigHandler::SigDfl);
    }
}

fn set(which: Signal, handler: SigHandler) {
    // SAFETY: no disposition set here runs code of ours, so no handler can break an invariant.
    let _ = unsafe { signal(which, handler) };
}
