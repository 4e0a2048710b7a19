//! The families of the whole process. None has a `job_name`: ten thousand jobs cost them nothing.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::{event::Finished, meter::relay::Relays};

/// Handles of the families that events change.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) log_dropped: IntCounter,
    pub(super) events_dropped: IntCounter,
    pub(super) series_dropped: IntCounter,
    pub(super) state_failed: IntCounter,
    pub(super) clock_steps: IntCounter,
    pub(super) relay_fallbacks: IntCounter,
    relay_pipes: IntGaugeVec,
    reload_successful: IntGauge,
    reload_success_time: Gauge,
    duration: HistogramVec,
    lag: HistogramVec,
}

/// From a socketpair's round trip to a wait of half an hour.
const DURATIONS: &[f64] =
    &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1800.0];
/// From the bare timer's lateness to a start that waited for its needs.
const LAGS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

impl Families {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = Opts::new("netjobs_build_info", "The version that runs; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"))
            .const_label("os", std::env::consts::OS)
            .const_label("arch", std::env::consts::ARCH);
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        registry.register(Box::new(build))?;
        let duration = HistogramOpts::new("netjobs_run_duration_seconds", "How long runs took.");
        let lag = HistogramOpts::new("netjobs_run_start_lag_seconds", "How late runs started.");
        let families = Self {
            log_dropped: IntCounter::new(
                "netjobs_log_dropped_total",
                "Log lines lost to a slow or full reader.",
            )?,
            events_dropped: IntCounter::new(
                "netjobs_events_dropped_total",
                "Notices lost because metrics, log and history could not follow.",
            )?,
            series_dropped: IntCounter::new(
                "netjobs_series_dropped_total",
                "Series left out because --metrics.max-series was reached.",
            )?,
            state_failed: IntCounter::new(
                "netjobs_state_write_failures_total",
                "Writes below --state that failed; what was saved before stays.",
            )?,
            clock_steps: IntCounter::new("netjobs_clock_steps_total", "How often the wall clock was set.")?,
            relay_fallbacks: IntCounter::new(
                "netjobs_relay_fallbacks_total",
                "Directions of connections copied for good because the kernel gave no pipe or did not splice.",
            )?,
            relay_pipes: IntGaugeVec::new(
                Opts::new("netjobs_relay_pipes", "Pipes for bytes that are not copied: leased or pooled."),
                &["state"],
            )?,
            reload_successful: IntGauge::new(
                "netjobs_config_last_reload_successful",
                "Whether the job files were taken when they were last read.",
            )?,
            reload_success_time: Gauge::new(
                "netjobs_config_last_reload_success_timestamp_seconds",
                "When job files were last taken.",
            )?,
            duration: HistogramVec::new(duration.buckets(DURATIONS.to_vec()), &["kind"])?,
            lag: HistogramVec::new(lag.buckets(LAGS.to_vec()), &["kind"])?,
            registry,
        };
        families.register()?;
        Ok(families)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let counters = [
            &self.log_dropped,
            &self.events_dropped,
            &self.series_dropped,
            &self.state_failed,
            &self.clock_steps,
            &self.relay_fallbacks,
        ];
        for counter in counters {
            self.registry.register(Box::new(counter.clone()))?;
        }
        self.registry.register(Box::new(self.relay_pipes.clone()))?;
        self.registry.register(Box::new(self.reload_successful.clone()))?;
        self.registry.register(Box::new(self.reload_success_time.clone()))?;
        self.registry.register(Box::new(self.duration.clone()))?;
        self.registry.register(Box::new(self.lag.clone()))
    }

    pub(super) fn config_taken(&self) {
        self.reload_successful.set(1);
        self.reload_success_time.set(epoch_seconds(Timestamp::now()));
    }

    pub(super) fn config_rejected(&self) {
        self.reload_successful.set(0);
    }

    /// Shows what the relays hold now.
    pub(super) fn relays(&self, relays: &Relays) {
        for (state, count) in [("leased", &relays.leased), ("pooled", &relays.pooled)] {
            let count = i64::try_from(count.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            self.relay_pipes.with_label_values(&[state]).set(count);
        }
    }

    pub(super) fn observe(&self, run: &Finished) {
        self.duration.with_label_values(&[run.job.kind]).observe(run.duration.as_secs_f64());
        self.lag.with_label_values(&[run.job.kind]).observe(run.start_lag.as_secs_f64());
    }
}

/// A time as metrics have it.
pub(super) fn epoch_seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
