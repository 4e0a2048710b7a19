//! Round trips of a run and what they come to: least, mean, largest, spread and percentiles. Empty: no sample at all.

use std::time::Duration;

use crate::outcome::{Sample, Samples, seconds};

/// The round trips of one run.
#[derive(Clone, Debug, Default)]
pub struct Rtt {
    seconds: Vec<f64>,
}

impl Rtt {
    /// Adds a round trip.
    pub fn record(&mut self, rtt: Duration) {
        self.seconds.push(seconds(rtt));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seconds.len()
    }

    /// The least, in seconds.
    pub fn min(&self) -> Option<f64> {
        self.seconds.iter().copied().min_by(f64::total_cmp)
    }

    /// The mean.
    pub fn avg(&self) -> Option<f64> {
        (!self.seconds.is_empty()).then(|| self.seconds.iter().sum::<f64>() / self.seconds.len() as f64)
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.seconds.iter().copied().max_by(f64::total_cmp)
    }

    /// The standard deviation over all of them, as iputils' `mdev`.
    pub fn stddev(&self) -> Option<f64> {
        let mean = self.avg()?;
        let squares: f64 = self.seconds.iter().map(|value| (value - mean).powi(2)).sum();
        Some((squares / self.seconds.len() as f64).sqrt())
    }

    /// The median.
    pub fn p50(&self) -> Option<f64> {
        self.percentile(50)
    }

    /// 95 of 100 are at most this.
    pub fn p95(&self) -> Option<f64> {
        self.percentile(95)
    }

    /// 99 of 100 are at most this.
    pub fn p99(&self) -> Option<f64> {
        self.percentile(99)
    }

    /// The nearest rank: a value that was measured, never one between two.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// Adds `rtt_min` and the others to a run's samples; nothing where there was no round trip.
    pub fn samples(&self, samples: &mut Samples) {
        for (name, value) in [
            ("rtt_min", self.min()),
            ("rtt_avg", self.avg()),
            ("rtt_max", self.max()),
            ("rtt_stddev", self.stddev()),
            ("rtt_p50", self.p50()),
            ("rtt_p95", self.p95()),
            ("rtt_p99", self.p99()),
        ] {
            if let Some(value) = value {
                samples.push(name, Sample::Number(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let mut rtt = Rtt::default();
        for ms in (1..=100).rev() {
            rtt.record(Duration::from_millis(ms));
        }
        assert_eq!((rtt.min(), rtt.max()), (Some(0.001), Some(0.1)));
        assert_eq!((rtt.p50(), rtt.p95(), rtt.p99()), (Some(0.05), Some(0.095), Some(0.099)));
        assert!((rtt.avg().unwrap() - 0.0505).abs() < 1e-12);
        assert!((rtt.stddev().unwrap() - 0.028_866).abs() < 1e-5);
    }

    #[test]
    fn no_round_trip_gives_no_sample() {
        let mut samples = Samples::default();
        Rtt::default().samples(&mut samples);
        assert_eq!(samples, Samples::default());
    }
}
