//! The exit codes, a sentence each.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// All passed; also a daemon or service verb that a signal ended and that drained in time.
    Passed = 0,
    /// Something failed or errored.
    Failed = 1,
    /// The files or the command line are wrong.
    Usage = 2,
    /// Every job that did not pass lacked a right.
    Permission = 77,
    /// A `wait` verb ran out of time.
    TimedOut = 124,
    /// The program after `wait … --` may not be run; a shell's code for it.
    NotExecutable = 126,
    /// The program after `wait … --` does not exist; a shell's code for it.
    NotFound = 127,
    /// SIGINT ended a check or cut the drain short.
    Interrupted = 130,
    /// SIGTERM ended a check or cut the drain short.
    Terminated = 143,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}
