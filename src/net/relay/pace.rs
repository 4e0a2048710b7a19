//! How a direction of a relay waits for a bucket that it shares with others.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::rate::Bucket;

/// Waits for what a bucket gives.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bucket: Option<Arc<Bucket>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(bucket: Option<Arc<Bucket>>) -> Self {
        Self { bucket, pause: None }
    }

    /// How many bytes may be read now; pending while there are none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, most: usize, least: f64) -> Poll<usize> {
        let Some(bucket) = &self.bucket else { return Poll::Ready(most) };
        let least = least.min(most as f64).max(1.0);
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(tokens) = bucket.take(least, most as f64) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "from 1 to `most`"
                )]
                let whole = tokens as usize;
                bucket.give_back(tokens - whole as f64);
                return Poll::Ready(whole);
            }
            self.pause = Some(Box::pin(sleep_until(Instant::now() + bucket.wait(least))));
        }
    }

    /// Whether it waits.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Gives back what was allowed and not read.
    pub(super) fn give_back(&self, unused: usize) {
        if let Some(bucket) = &self.bucket {
            bucket.give_back(unused as f64);
        }
    }
}
