//! The integration tests, one binary: an index, a sentence per module.

// Network namespaces that leave nothing behind, for the tests of every topic.
mod netns;

// Waits, interfaces, IPv6 and children, against real kernels, services and name servers.
mod probes;
