//! The integration tests, one binary: an index, a sentence per module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

// Network namespaces that leave nothing behind, for the tests of every topic.
mod netns;

// Pings and sweeps against real kernels, forged answers and broken networks.
mod icmp;
