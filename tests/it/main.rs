//! The integration tests, one binary: a sentence for each module.

/// Forward, echo and exchange over real sockets of this machine.
mod streams;
