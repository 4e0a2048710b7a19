//! The metric families of echoes.

use crate::outcome::Metric;

pub(super) static CONNECTIONS: Metric =
    Metric::counter("netjobs_echo_connections_total", &[], "Connections that were accepted.");
pub(super) static ACTIVE: Metric =
    Metric::gauge("netjobs_echo_connections_active", &[], "Connections that are open.");
pub(super) static CLOSES: Metric = Metric::counter(
    "netjobs_echo_closes_total",
    &["reason", "upstream"],
    "Connections that ended, by reason; an echo has no upstream.",
);
