//! Signals to the engine: the first SIGINT or SIGTERM stops it, a second one ends it at once, SIGHUP reloads.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

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
                    // What comes of it is an event, which the log tells.
                    let _ = control.reload().await;
                }
            }
        }
    }
}
