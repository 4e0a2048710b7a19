//! The metric families of forwards.

use crate::outcome::{Metric, NETWORK_SECONDS};

pub(super) static CONNECTIONS: Metric = Metric::counter(
    "netjobs_forward_connections_total",
    &[],
    "Connections that were accepted, and senders of datagrams.",
);
pub(super) static ACTIVE: Metric = Metric::gauge(
    "netjobs_forward_connections_active",
    &[],
    "Connections that are open, and senders of datagrams.",
);
pub(super) static CLOSES: Metric = Metric::counter(
    "netjobs_forward_closes_total",
    &["reason", "upstream"],
    "Connections that ended, by reason.",
);
pub(super) static RECEIVED_BYTES: Metric =
    Metric::counter("netjobs_forward_received_bytes_total", &["upstream"], "Bytes passed from clients.");
pub(super) static SENT_BYTES: Metric =
    Metric::counter("netjobs_forward_sent_bytes_total", &["upstream"], "Bytes passed to clients.");
pub(super) static SPLICED_BYTES: Metric = Metric::counter(
    "netjobs_forward_spliced_bytes_total",
    &["upstream"],
    "Bytes passed either way that the kernel moved without a copy.",
);
pub(super) static UPSTREAM_UP: Metric = Metric::gauge(
    "netjobs_forward_upstream_up",
    &["upstream"],
    "Whether the upstream was reached when it was last tried, and no health check of it has failed since.",
);
pub(super) static CONNECT_SECONDS: Metric = Metric::histogram(
    "netjobs_forward_connect_seconds",
    &["upstream"],
    NETWORK_SECONDS,
    "Time to reach the upstream, its name's look-up included.",
);
pub(super) static DROPPED_DATAGRAMS: Metric = Metric::counter(
    "netjobs_forward_dropped_datagrams_total",
    &["reason"],
    "Datagrams that did not pass: `queue` (no room to wait), `cut` (more than 256 KiB), `denied` (`allow`, `deny`), `limit` \
     (`max_per_source`), `too_big` (for the way), `kernel` (the listener's buffer was full), `unsent` (nobody there).",
);
