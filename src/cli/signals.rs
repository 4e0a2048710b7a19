//! Signals to the engine: the first SIGINT or SIGTERM stops it, a second one ends it at once, SIGHUP reloads.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio_util::task::TaskTracker;

use crate::{
    run::{self, Control},
    sys::signals::{self, Caught},
};

/// Signals that are caught from here on.
#[derive(Debug)]
pub struct Signals(Caught);

/// From here on SIGHUP waits until it is caught: somebody who asks for a reload too early must not end the program; and
/// SIGINT and SIGTERM end it at once as they do later, with 0. To be called before there is a second thread.
pub fn expect() {
    let _ = signals::leave_at(&[Signal::SIGINT, Signal::SIGTERM]);
    let _ = hangup().thread_block();
}

fn hangup() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGHUP);
    set
}

impl Signals {
    /// Catches them; those that come before somebody listens are kept. Only a daemon reloads; elsewhere SIGHUP ends the
    /// program, as it always does.
    pub fn catch(reloads: bool) -> io::Result<Self> {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let caught = Caught::new(if reloads { &all } else { &all[..2] })?;
        if reloads {
            // This thread hears what was held for the whole process.
            hangup().thread_unblock()?;
        }
        Ok(Self(caught))
    }

    /// The next signal that asks to end.
    pub async fn end(&mut self) -> run::Signal {
        loop {
            let came = self.0.next().await;
            if came.has(Signal::SIGINT) {
                return run::Signal::Interrupt;
            }
            if came.has(Signal::SIGTERM) {
                return run::Signal::Terminate;
            }
        }
    }

    /// Tells the engine of each, for ever.
    pub async fn tell(mut self, control: Control) {
        let reloads = TaskTracker::new();
        loop {
            let came = self.0.next().await;
            if came.has(Signal::SIGINT) {
                control.stop(run::Signal::Interrupt);
            }
            if came.has(Signal::SIGTERM) {
                control.stop(run::Signal::Terminate);
            }
            if came.has(Signal::SIGHUP) {
                // What comes of it is an event, which the log tells. Reading may take long, and the next signal may ask
                // to end.
                let control = control.clone();
                reloads.spawn(async move { control.reload().await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        time::Duration,
    };

    use nix::sys::signal::{Signal::SIGHUP, Signal::SIGTERM, raise};

    use super::*;
    use crate::{
        context::Shared,
        meter::{Counter, Registry},
        run::{Mode, Set, Start, SystemClock},
    };

    #[tokio::test]
    async fn the_runner_ends_though_a_reload_still_reads() {
        let signals = Signals::catch(true).unwrap();
        let (control, commands) = run::control();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (release, released) = mpsc::sync_channel::<()>(0);
        let mut begun = Some(begun);
        let start = Start {
            set: Set::default(),
            shared: Shared::new(Registry::new(10)),
            events: tokio::sync::mpsc::channel(100).0,
            dropped: Counter::default(),
            commands,
            loader: Some(Box::new(move || {
                begun.take().map(|begun| begun.send(()));
                let _ = released.recv();
                Ok(Set::default())
            })),
            mode: Mode::Daemon,
            grace: Duration::from_secs(30),
            drain_idle: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            runs: None,
        };
        let tasks = TaskTracker::new();
        let (telling, engine) = (tasks.spawn(signals.tell(control)), tasks.spawn(run::run(start)));
        raise(SIGHUP).unwrap();
        begins.await.unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(engine.await.unwrap().signal, Some(run::Signal::Terminate));
        telling.abort();
        drop(release);
    }
}
