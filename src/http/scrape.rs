//! One encode for all scrapes that arrive together. A scrape never gets what was encoded before it asked.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use hyper::body::Bytes;
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::sink::metrics::Metrics;

#[derive(Debug)]
pub(super) struct Scrapes {
    metrics: Arc<Metrics>,
    /// Encodes that were begun.
    begun: AtomicU64,
    /// Scrapes that wait for an encode or go on with one.
    asking: AtomicUsize,
    /// The number of the last encode and its text, kept while somebody may want it.
    last: Mutex<(u64, Bytes)>,
}

/// Counts a scrape for as long as it asks, also when its client goes away.
struct Asking<'a>(&'a AtomicUsize);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Scrapes {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            begun: AtomicU64::new(0),
            asking: AtomicUsize::new(0),
            last: Mutex::new((0, Bytes::new())),
        }
    }

    /// The metrics, encoded after this was asked.
    pub(super) async fn text(&self) -> Bytes {
        let before = self.begun.load(Ordering::Acquire);
        self.asking.fetch_add(1, Ordering::AcqRel);
        let asking = Asking(&self.asking);
        let mut last = self.last.lock().await;
        if last.0 <= before {
            let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
            let metrics = self.metrics.clone();
            let text = spawn_blocking(move || metrics.render()).await.unwrap_or_default();
            *last = (number, text.into());
        }
        let text = last.1.clone();
        drop(asking);
        if self.asking.load(Ordering::Acquire) == 0 {
            last.1 = Bytes::new();
        }
        text
    }

    #[cfg(test)]
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{meter::Registry, outcome::Metric};

    const COUNT: Metric = Metric::counter("netjobs_test_total", &[], "A test.");

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn scrapes_that_arrive_together_share_an_encode_and_none_is_older_than_its_question() {
        let registry = Registry::new(10);
        let counter = registry.job(&"a".into(), "ping", []).counter(&COUNT, &[]);
        let scrapes = Arc::new(Scrapes::new(Metrics::new(registry).unwrap()));
        let tasks = tokio_util::task::TaskTracker::new();
        let mut all = vec![];
        for _ in 0..200 {
            let (scrapes, counter) = (scrapes.clone(), counter.clone());
            all.push(tasks.spawn(async move {
                counter.inc();
                let least = counter.value();
                let text = scrapes.text().await;
                let text = std::str::from_utf8(&text).unwrap();
                let shown =
                    text.lines().find_map(|line| line.strip_prefix("netjobs_test_total{")?.rsplit_once(' '));
                assert!(shown.unwrap().1.parse::<u64>().unwrap() >= least);
            }));
        }
        for task in all {
            task.await.unwrap();
        }
        assert!(scrapes.begun() <= 200);
        let hold = scrapes.last.lock().await;
        let waiting = (0..50).map(|_| scrapes.text());
        let waiting: Vec<_> = waiting.map(Box::pin).collect();
        let before = scrapes.begun();
        let mut waiting = waiting;
        for one in &mut waiting {
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(one.as_mut().poll(cx))).await.is_pending()
            );
        }
        drop(hold);
        for one in waiting {
            assert!(!one.await.is_empty());
        }
        assert_eq!(scrapes.begun() - before, 1, "one encode for all that waited");
        assert!(scrapes.last.lock().await.1.is_empty(), "no text is kept when nobody asks");
    }
}
