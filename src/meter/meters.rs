//! One job's way to its series, with those at hand that each of its runs asks for. Not the registry, which owns them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Counter, Family, Gauge, Histogram, Inner, Registry, Series, fresh, text};
use crate::outcome::{Metric, MetricType};

/// The first series of a job that were asked for: each run asks for the same few, which need not be looked for among those
/// of all jobs. Locked before the registry.
pub(super) type AtHand = Arc<Mutex<Vec<Asked>>>;

/// So many series of a job are at hand.
pub(super) const MOST_AT_HAND: usize = 24;

#[derive(Debug)]
pub(super) struct Asked {
    metric: &'static str,
    values: Box<[Box<str>]>,
    series: Series,
}

impl Asked {
    fn is(&self, metric: &Metric, values: &[&str]) -> bool {
        let pairs = || self.values.iter().zip(values);
        self.metric == metric.name && pairs().all(|(known, value)| **known == **value)
    }
}

/// One job's way to its series. Asking twice for the same series gives the same one.
#[derive(Clone, Debug)]
pub struct Meters {
    pub(super) registry: Arc<Registry>,
    pub(super) job: Arc<str>,
    pub(super) id: u64,
    pub(super) at_hand: AtHand,
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
        let mut at_hand = self.at_hand();
        let mut inner = self.registry.lock();
        if !self.is_current(&inner) {
            return;
        }
        at_hand.retain(|asked| asked.metric != metric.name);
        let series = inner.families.get_mut(metric.name).and_then(|family| family.jobs.remove(&self.job));
        inner.count -= series.map_or(0, |series| series.len());
    }

    fn is_current(&self, inner: &Inner) -> bool {
        inner.jobs.get(&self.job).is_some_and(|entry| entry.id == self.id)
    }

    fn at_hand(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn series(&self, metric: &'static Metric, values: &[&str]) -> Series {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        let mut at_hand = self.at_hand();
        if let Some(asked) = at_hand.iter().find(|asked| asked.is(metric, values)) {
            return asked.series.clone();
        }
        let found = self.find(metric, values);
        if let Some(series) = &found
            && at_hand.len() < MOST_AT_HAND
        {
            let values = values.iter().map(|value| Box::from(*value)).collect();
            at_hand.push(Asked { metric: metric.name, values, series: series.clone() });
        }
        found.unwrap_or_else(|| fresh(metric))
    }

    /// A series of the registry; `None` where there is no room for it, or its job has left.
    fn find(&self, metric: &'static Metric, values: &[&str]) -> Option<Series> {
        let mut inner = self.registry.lock();
        let entry = inner.jobs.get(&self.job).filter(|entry| entry.id == self.id)?;
        let mut labels = entry.fixed.to_string();
        for (name, value) in metric.labels.iter().zip(values) {
            text::write_label(&mut labels, name, value);
        }
        let full = inner.count >= self.registry.max_series;
        let family =
            inner.families.entry(metric.name).or_insert_with(|| Family { metric, jobs: BTreeMap::new() });
        if let Some(known) = family.jobs.get(&self.job).and_then(|series| series.get(&labels)) {
            return Some(known.clone());
        }
        if full {
            self.registry.dropped.inc();
            return None;
        }
        let series = fresh(metric);
        family.jobs.entry(self.job.clone()).or_default().insert(labels, series.clone());
        inner.count += 1;
        Some(series)
    }
}
