//! How far a sweep has come, told a few times a second.

use std::time::Duration;

use tokio::time::Instant;

use crate::{context::Context, outcome::Notice};

/// How far a sweep has come, told a few times a second.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) total: u64,
    told: Option<Instant>,
}

const TELL_EVERY: Duration = Duration::from_millis(200);

impl Progress {
    pub(super) fn tell(&mut self, cx: &Context, alive: u32) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        cx.notice(Notice::Progress {
            done: self.done,
            total: self.total,
            what: "probes",
            alive: Some(alive.into()),
        });
    }
}
