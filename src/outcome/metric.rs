//! How metric families are declared. `meter` holds their series.

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

/// A metric family with series per job, declared once; `meter` holds its series.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its full name, such as `netjobs_ping_rtt_seconds`.
    pub name: &'static str,
    /// Its type.
    pub r#type: MetricType,
    /// Label names besides `job_name`, `kind` and the job's own.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets, ascending, without +Inf; empty otherwise.
    pub buckets: &'static [f64],
    /// Its help line.
    pub help: &'static str,
}

impl Metric {
    /// Declares a counter.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, r#type: MetricType::Counter, labels, buckets: &[], help }
    }

    /// Declares a gauge.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, r#type: MetricType::Gauge, labels, buckets: &[], help }
    }

    /// Declares a histogram.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        buckets: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self { name, r#type: MetricType::Histogram, labels, buckets, help }
    }
}

/// Histogram bounds for times on a network, in seconds: 50 µs, doubled up to 26 s.
pub const NETWORK_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6, 0.051_2,
    0.102_4, 0.204_8, 0.409_6, 0.819_2, 1.638_4, 3.276_8, 6.553_6, 13.107_2, 26.214_4,
];
