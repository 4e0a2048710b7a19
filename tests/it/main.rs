//! The integration tests: one binary, a module a topic.

/// Events through all sinks at once: what promtool, a schema, and full disks say of it.
mod sinks;
