//! What happens inside a run and may be told while it goes on. What a run comes to is an `Outcome`.

use std::time::Duration;

use super::{Close, HostState, Reason};

/// Something that happened inside a run and that sinks may want to tell.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A connection of a service ended.
    ConnectionClosed {
        /// The client's address, made by the kernel.
        peer: String,
        /// The upstream's address or name as the file gives it; empty for an echo.
        upstream: String,
        /// Why it ended.
        close: Close,
        /// Bytes from the client.
        received_bytes: u64,
        /// Bytes to the client.
        sent_bytes: u64,
        /// From accept to close.
        duration: Duration,
        /// How bytes were moved: `copy`, `splice`, `datagram`; `none` where no byte of a stream was.
        engine: &'static str,
    },
    /// A host of a sweep was seen for the first time or changed.
    HostChanged {
        /// The host's address.
        host: String,
        /// What it was; `None` at first sight.
        from: Option<HostState>,
        /// What it is.
        to: HostState,
        /// What the state rests on: an `Evidence` or a `Reason`.
        why: &'static str,
        /// The round trip of an alive one.
        rtt: Option<Duration>,
    },
    /// One answer of a run that goes on: a ping's reply or loss, an exchange's answer.
    Answer {
        /// Counts from 1.
        sequence: u64,
        /// Who answered, or who was asked.
        from: String,
        /// The round trip; `None` where nothing came.
        rtt: Option<Duration>,
        /// Why nothing came.
        reason: Option<Reason>,
        /// More to show, such as `ttl=64`; made by us, never a peer's bytes.
        note: String,
    },
    /// What a waiting run sees has changed, such as from `refused` to `connect_timeout`.
    StateChanged {
        /// What is waited for, as the file gives it.
        what: String,
        /// The word before; empty at first.
        from: &'static str,
        /// The word now.
        to: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// How far a long run has come.
    Progress {
        /// Things done.
        done: u64,
        /// Things in all.
        total: u64,
        /// What they are, such as `probes`.
        what: &'static str,
        /// Hosts found alive so far; `None` where none are looked for.
        alive: Option<u64>,
    },
    /// Something worth knowing that is nothing to mend, such as where a run goes on from.
    Remark {
        /// A sentence for people.
        message: String,
    },
    /// Something that the operator should know and that is no outcome.
    Warning {
        /// A sentence for people.
        message: String,
    },
}
