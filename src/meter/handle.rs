//! The handles of series: atomics that any thread may touch without waiting. Not where they are named or shown.
//!
//! A handle goes on working after its series was dropped; nobody sees it then.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

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
        add(&self.0, amount);
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

    /// Counts one value in the metric's unit; what is not a number is passed over, for it would spoil the sum.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        add(&self.0.sum, value);
    }

    /// Each bound with the number of values up to it; the last bound is +Inf.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(&self.0.counts).scan(0, |total, (bound, count)| {
            *total += count.load(Ordering::Relaxed);
            Some((bound, *total))
        })
    }

    /// The sum of all values.
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.0.sum.load(Ordering::Relaxed))
    }
}

fn add(bits: &AtomicU64, amount: f64) {
    let step = |bits| Some((f64::from_bits(bits) + amount).to_bits());
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_lost_between_threads() {
        let (counter, gauge, histogram) = (Counter::default(), Gauge::default(), Histogram::new(&[1.0]));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        counter.inc();
                        gauge.add(1.0);
                        histogram.observe(2.0);
                    }
                });
            }
        });
        assert_eq!(counter.value(), 40_000);
        assert!((gauge.value() - 40_000.0).abs() < f64::EPSILON);
        assert!((histogram.sum() - 80_000.0).abs() < f64::EPSILON);
        assert_eq!(histogram.cumulative().last(), Some((f64::INFINITY, 40_000)));
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket_and_nan_to_none() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.1, 1.0, f64::NAN, f64::INFINITY] {
            histogram.observe(value);
        }
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 3]);
    }
}
