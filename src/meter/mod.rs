//! The live series of jobs: atomics behind handles, each with its rendered `name{labels}`. Not the process-wide
//! families, which `prometheus::Registry` holds in `sink::metrics`.
//!
//! A series belongs to a job by name: a reload that changes a job keeps its counters and gives them the new labels, one
//! that removes it drops them, and what an old run then still counts is not shown.

mod handle;
mod meters;
pub mod relay;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use handle::{Counter, Gauge, Histogram};
use meters::AtHand;
pub use meters::Meters;

use crate::outcome::{Metric, MetricType};

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
    jobs: HashMap<Arc<str>, Entry>,
    count: usize,
    last_id: u64,
}

/// A job that is in the registry now.
#[derive(Debug)]
struct Entry {
    /// Tells this job from an earlier one of the same name.
    id: u64,
    kind: Box<str>,
    at_hand: AtHand,
    /// The rendered labels that all its series begin with.
    fixed: Arc<str>,
}

#[derive(Debug)]
struct Family {
    metric: &'static Metric,
    /// By job, then by rendered labels: a scrape shows them in the same order each time.
    jobs: BTreeMap<Arc<str>, BTreeMap<String, Series>>,
}

impl Registry {
    /// An empty registry that holds at most `max_series` series (a histogram counts as one).
    pub fn new(max_series: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), max_series, dropped: Counter::default() })
    }

    /// Puts a job into the registry, and gives the handle through which it makes its series. `labels` are the job's own.
    ///
    /// Other labels than before move to the series that are there; another kind begins anew. Whoever keeps the plan calls
    /// this, and nobody else: a run or a sink that comes late must not bring back what was removed.
    pub fn job<'a>(
        self: &Arc<Self>,
        name: &Arc<str>,
        kind: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Meters {
        let mut fixed = String::new();
        text::write_label(&mut fixed, "job_name", name);
        text::write_label(&mut fixed, "kind", kind);
        for (label, value) in labels {
            text::write_label(&mut fixed, label, value);
        }
        let mut inner = self.lock();
        if inner.jobs.get(name).is_some_and(|entry| *entry.kind != *kind) {
            inner.remove(name);
        }
        let (id, at_hand) = match inner.jobs.get(name) {
            Some(entry) => {
                let known = (entry.id, entry.at_hand.clone());
                inner.relabel(name, &fixed);
                known
            }
            None => inner.add(name, kind, fixed.into()),
        };
        Meters { registry: self.clone(), job: name.clone(), id, at_hand }
    }

    /// The handle of a job that is in the registry now.
    pub fn find(self: &Arc<Self>, name: &Arc<str>) -> Option<Meters> {
        let inner = self.lock();
        let Entry { id, at_hand, .. } = inner.jobs.get(name)?;
        Some(Meters { registry: self.clone(), job: name.clone(), id: *id, at_hand: at_hand.clone() })
    }

    /// Drops every series of a job.
    pub fn remove(&self, job: &str) {
        self.lock().remove(job);
    }

    /// Series that were asked for beyond the cap.
    pub fn dropped(&self) -> u64 {
        self.dropped.value()
    }

    /// Appends all series in the Prometheus text format, families, jobs and labels in order.
    ///
    /// The lock is let go between parts, so that no job waits for a whole scrape.
    pub fn render(&self, out: &mut String) {
        let names: Vec<&'static str> = self.lock().families.keys().copied().collect();
        for name in names {
            let mut after = None;
            let mut bare = true;
            loop {
                after = self.lock().render_part(out, name, after.as_ref(), &mut bare);
                if after.is_none() {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After so many series a render lets go of the lock.
const PART: usize = 500;

impl Inner {
    fn add(&mut self, name: &Arc<str>, kind: &str, fixed: Arc<str>) -> (u64, AtHand) {
        self.last_id += 1;
        let (id, at_hand) = (self.last_id, AtHand::default());
        self.jobs.insert(name.clone(), Entry { id, kind: kind.into(), fixed, at_hand: at_hand.clone() });
        (id, at_hand)
    }

    fn remove(&mut self, job: &str) {
        self.jobs.remove(job);
        for family in self.families.values_mut() {
            self.count -= family.jobs.remove(job).map_or(0, |series| series.len());
        }
    }

    fn relabel(&mut self, job: &str, fixed: &str) {
        let Some(entry) = self.jobs.get_mut(job).filter(|entry| *entry.fixed != *fixed) else { return };
        let old = std::mem::replace(&mut entry.fixed, fixed.into());
        for series in self.families.values_mut().filter_map(|family| family.jobs.get_mut(job)) {
            let moved = std::mem::take(series).into_iter();
            *series =
                moved.map(|(labels, series)| (format!("{fixed}{}", &labels[old.len()..]), series)).collect();
        }
    }

    /// Renders jobs of a family that come after one; the last job rendered, or `None` where none is left.
    fn render_part(
        &self,
        out: &mut String,
        family: &str,
        after: Option<&Arc<str>>,
        bare: &mut bool,
    ) -> Option<Arc<str>> {
        let family = self.families.get(family)?;
        let mut left = PART;
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(&**after));
        for (job, all) in family.jobs.range::<str, _>((start, Bound::Unbounded)) {
            for (labels, series) in all {
                if std::mem::take(bare) {
                    text::write_head(out, family.metric);
                }
                let name = family.metric.name;
                match series {
                    Series::Counter(counter) => text::write_counter(out, name, labels, counter),
                    Series::Gauge(gauge) => text::write_gauge(out, name, labels, gauge),
                    Series::Histogram(histogram) => text::write_histogram(out, name, labels, histogram),
                }
            }
            left = left.saturating_sub(all.len());
            if left == 0 {
                return Some(job.clone());
            }
        }
        None
    }
}

fn fresh(metric: &'static Metric) -> Series {
    match metric.r#type {
        MetricType::Counter => Series::Counter(Counter::default()),
        MetricType::Gauge => Series::Gauge(Gauge::default()),
        MetricType::Histogram => Series::Histogram(Histogram::new(metric.buckets)),
    }
}

#[cfg(test)]
mod tests;
