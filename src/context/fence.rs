//! Notices that a task of a run panics, which nobody may wait for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What stands around the tasks of one run.
#[derive(Debug, Default)]
pub(super) struct Fence(Arc<AtomicBool>);

impl Fence {
    pub(super) fn around<F: Future>(&self, task: F) -> impl Future<Output = F::Output> + use<F> {
        let guard = Guard(self.0.clone());
        async move {
            let _guard = guard;
            task.await
        }
    }

    /// Whether one has panicked.
    pub(super) fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
