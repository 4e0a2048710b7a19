//! The exit codes, a sentence each.

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
    /// SIGINT ended a check or cut the drain short.
    Interrupted = 130,
    /// SIGTERM ended a check or cut the drain short.
    Terminated = 143,
}
