//! Tells a connection's rare events, such as its timer and the run's end, from the common one, bytes.
//!
//! All rare futures of a connection are polled with the bell's waker, so that a poll in which it has not rung need not ask
//! any of them: each would take a lock that all connections share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

#[derive(Debug, Default)]
pub(super) struct Bell(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    has_rung: AtomicBool,
    task: Waker,
}

impl Bell {
    /// The waker for the rare futures if they are to be asked now: it has rung, or they have not been asked yet.
    pub(super) fn heard(&mut self, cx: &Context<'_>) -> Option<Waker> {
        match &self.0 {
            Some(inner) if inner.task.will_wake(cx.waker()) => {
                let has_rung =
                    inner.has_rung.load(Ordering::Relaxed) && inner.has_rung.swap(false, Ordering::AcqRel);
                has_rung.then(|| inner.clone().into())
            }
            _ => {
                let inner = Inner { has_rung: AtomicBool::new(false), task: cx.waker().clone() };
                Some(self.0.insert(Arc::new(inner)).clone().into())
            }
        }
    }

    /// The waker for a rare future that is asked for the first time.
    pub(super) fn waker(&self) -> Option<Waker> {
        self.0.clone().map(Into::into)
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_heard_first_and_then_only_when_it_has_rung() {
        let woken = Arc::new(Woken::default());
        let task: Waker = woken.clone().into();
        let cx = Context::from_waker(&task);
        let mut bell = Bell::default();
        let waker = bell.heard(&cx).unwrap();
        assert!(bell.heard(&cx).is_none());
        waker.wake_by_ref();
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(bell.heard(&cx).is_some() && bell.heard(&cx).is_none());
        // In another task everything must be asked anew.
        assert!(bell.heard(&Context::from_waker(Waker::noop())).is_some());
    }
}
