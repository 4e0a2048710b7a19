//! The live series of jobs: atomics behind handles, each with its rendered `name{labels}`. Not the process-wide
//! families, which `prometheus::Registry` holds in `sink::metrics`.
//!
//! A series belongs to a job by name: a reload that changes a job keeps its counters, one that removes it drops them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::outcome::{Metric, MetricType};

/// A count that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down; it holds a float's bits.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds to the value; a negative amount takes away.
    pub fn add(&self, amount: f64) {
        let step = |bits| Some((f64::from_bits(bits) + amount).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// What it is.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Observed values in buckets.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One a bound and one beyond the last; not cumulative.
    counts: Vec<AtomicU64>,
    /// A float's bits.
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram that no registry shows; `Meters::histogram` makes those that are shown.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// Counts one value in the metric's unit.
    pub fn observe(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let step = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.0.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

#[derive(Clone, Debug)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// Everything with a `job_name`, in families.
#[derive(Debug)]
pub struct Registry {
    inner: Mutex<Inner>,
    max_series: usize,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Inner {
    families: BTreeMap<&'static str, Family>,
    count: usize,
}

#[derive(Debug)]
struct Family {
    metric: &'static Metric,
    jobs: BTreeMap<Arc<str>, HashMap<String, Series>>,
}

impl Registry {
    /// An empty registry that holds at most `max_series` series (a histogram counts as one).
    pub fn new(max_series: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), max_series, dropped: Counter::default() })
    }

    /// The handle through which one job makes its series. `labels` are the job's own.
    pub fn job<'a>(
        self: &Arc<Self>,
        name: &Arc<str>,
        kind: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Meters {
        let mut fixed = String::new();
        write_label(&mut fixed, "job_name", name);
        write_label(&mut fixed, "kind", kind);
        for (label, value) in labels {
            write_label(&mut fixed, label, value);
        }
        Meters { registry: self.clone(), job: name.clone(), fixed: fixed.into() }
    }

    /// Drops every series of a job.
    pub fn remove(&self, job: &str) {
        let mut inner = self.lock();
        let mut gone = 0;
        for family in inner.families.values_mut() {
            gone += family.jobs.remove(job).map_or(0, |series| series.len());
        }
        inner.count -= gone;
    }

    /// Series that were asked for beyond the cap.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// Appends all series in the Prometheus text format, families in name order.
    pub fn render(&self, out: &mut String) {
        let inner = self.lock();
        for (name, family) in &inner.families {
            if family.jobs.values().all(HashMap::is_empty) {
                continue;
            }
            let kind = match family.metric.r#type {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
            };
            let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.metric.help);
            for (labels, series) in family.jobs.values().flatten() {
                render_series(out, name, labels, series);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn render_series(out: &mut String, name: &str, labels: &str, series: &Series) {
    let _ = match series {
        Series::Counter(counter) => writeln!(out, "{name}{{{labels}}} {}", counter.value()),
        Series::Gauge(gauge) => writeln!(out, "{name}{{{labels}}} {}", gauge.value()),
        Series::Histogram(Histogram(buckets)) => {
            let mut total = 0;
            for (count, bound) in buckets.counts.iter().zip(buckets.bounds) {
                total += count.load(Ordering::Relaxed);
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
            }
            total += buckets.counts.last().map_or(0, |count| count.load(Ordering::Relaxed));
            let sum = f64::from_bits(buckets.sum.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
            writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {total}")
        }
    };
}

/// Appends `name="value"`, with a comma before it where something stands already.
fn write_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    let _ = write!(out, "{name}=\"");
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// One job's way to its series. Asking twice for the same series gives the same one.
#[derive(Clone, Debug)]
pub struct Meters {
    registry: Arc<Registry>,
    job: Arc<str>,
    fixed: Arc<str>,
}

impl Meters {
    /// A counter; the label values stand in the order of `metric.labels`.
    pub fn counter(&self, metric: &'static Metric, labels: &[&str]) -> Counter {
        debug_assert_eq!(metric.r#type, MetricType::Counter);
        match self.series(metric, labels) {
            Series::Counter(counter) => counter,
            _ => Counter::default(),
        }
    }

    /// A gauge; it is shown from now on, so ask only once there is a finding.
    pub fn gauge(&self, metric: &'static Metric, labels: &[&str]) -> Gauge {
        debug_assert_eq!(metric.r#type, MetricType::Gauge);
        match self.series(metric, labels) {
            Series::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// A histogram.
    pub fn histogram(&self, metric: &'static Metric, labels: &[&str]) -> Histogram {
        debug_assert_eq!(metric.r#type, MetricType::Histogram);
        match self.series(metric, labels) {
            Series::Histogram(histogram) => histogram,
            _ => Histogram::new(metric.buckets),
        }
    }

    /// Drops all of this job's series of a metric, such as those of an interface that is gone.
    pub fn clear(&self, metric: &'static Metric) {
        let mut inner = self.registry.lock();
        let series = inner.families.get_mut(metric.name).and_then(|family| family.jobs.remove(&self.job));
        inner.count -= series.map_or(0, |series| series.len());
    }

    fn series(&self, metric: &'static Metric, values: &[&str]) -> Series {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        let mut labels = self.fixed.to_string();
        for (name, value) in metric.labels.iter().zip(values) {
            write_label(&mut labels, name, value);
        }
        let fresh = || match metric.r#type {
            MetricType::Counter => Series::Counter(Counter::default()),
            MetricType::Gauge => Series::Gauge(Gauge::default()),
            MetricType::Histogram => Series::Histogram(Histogram::new(metric.buckets)),
        };
        let mut inner = self.registry.lock();
        let full = inner.count >= self.registry.max_series;
        let family =
            inner.families.entry(metric.name).or_insert_with(|| Family { metric, jobs: BTreeMap::new() });
        if let Some(known) = family.jobs.get(&self.job).and_then(|series| series.get(&labels)) {
            return known.clone();
        }
        if full {
            self.registry.dropped.inc();
            return fresh();
        }
        let series = fresh();
        family.jobs.entry(self.job.clone()).or_default().insert(labels, series.clone());
        inner.count += 1;
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Metric = Metric::counter("netjobs_test_total", &["target"], "A test.");
    const TIMES: Metric = Metric::histogram("netjobs_test_seconds", &[], &[0.1, 1.0], "A test.");

    #[test]
    fn series_render_in_the_text_format() {
        let registry = Registry::new(10);
        let meters = registry.job(&"a".into(), "ping", [("site", "la\"b\n")]);
        meters.counter(&RUNS, &["h"]).add(2);
        meters.counter(&RUNS, &["h"]).inc();
        meters.histogram(&TIMES, &[]).observe(0.1);
        meters.histogram(&TIMES, &[]).observe(5.0);
        let mut text = String::new();
        registry.render(&mut text);
        let labels = "job_name=\"a\",kind=\"ping\",site=\"la\\\"b\\n\"";
        assert_eq!(
            text,
            format!(
                "# HELP netjobs_test_seconds A test.\n# TYPE netjobs_test_seconds histogram\n\
                 netjobs_test_seconds_bucket{{{labels},le=\"0.1\"}} 1\n\
                 netjobs_test_seconds_bucket{{{labels},le=\"1\"}} 1\n\
                 netjobs_test_seconds_bucket{{{labels},le=\"+Inf\"}} 2\n\
                 netjobs_test_seconds_sum{{{labels}}} 5.1\nnetjobs_test_seconds_count{{{labels}}} 2\n\
                 # HELP netjobs_test_total A test.\n# TYPE netjobs_test_total counter\n\
                 netjobs_test_total{{{labels},target=\"h\"}} 3\n"
            )
        );
    }

    #[test]
    fn a_removed_job_leaves_no_series_and_frees_its_place() {
        let registry = Registry::new(1);
        registry.job(&"a".into(), "ping", []).counter(&RUNS, &["h"]).inc();
        registry.job(&"b".into(), "ping", []).counter(&RUNS, &["h"]).inc();
        assert_eq!(registry.dropped(), 1);
        registry.remove("a");
        let mut text = String::new();
        registry.render(&mut text);
        assert_eq!(text, "");
        registry.job(&"b".into(), "ping", []).counter(&RUNS, &["h"]).inc();
        registry.render(&mut text);
        assert!(text.contains("job_name=\"b\""));
    }
}
