//! Signals to the engine: the first SIGINT or SIGTERM stops it, a second one ends it at once, SIGHUP reloads.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::TaskTracker;

use crate::run::{self, Control};

/// Signals that are caught from here on.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Only a daemon reloads; elsewhere SIGHUP ends the program, as it always does.
    hangup: Option<Signal>,
}

impl Signals {
    /// Catches them; those that come before somebody listens are kept.
    pub fn catch(reloads: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: reloads.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Tells the engine of each, for ever.
    pub async fn tell(mut self, control: Control) {
        let reloads = TaskTracker::new();
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => control.stop(run::Signal::Interrupt),
                _ = self.terminate.recv() => control.stop(run::Signal::Terminate),
                _ = hangup => {
                    // What comes of it is an event, which the log tells. Reading may take long, and the next signal
                    // may ask to end.
                    let control = control.clone();
                    reloads.spawn(async move { control.reload().await });
                }
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
