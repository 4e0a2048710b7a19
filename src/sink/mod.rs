//! The readers of events: metrics, logs, console, result files, history. None knows a kind, the scheduler, or another
//! reader, and none may keep the hub waiting for a slow peer.

pub mod aside;
pub mod console;
pub mod escape;
pub mod file;
pub mod history;
pub mod json;
pub mod junit;
pub mod line;
pub mod metrics;
pub mod queue;
pub mod record;
mod results;
pub mod tap;
#[doc(hidden)]
pub mod testing;
pub mod units;

use std::{fmt, fs::File, io, os::fd::AsFd, str::FromStr, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use crate::event::Event;

/// A reader of events.
pub trait Sink: Send {
    /// Takes notice of what happened. Never blocks for long.
    fn event(&mut self, event: &Event);

    /// All events that came together have been told.
    fn told(&mut self) {}

    /// Whether much of what it has taken still waits to be written. It is given time to catch up, and drops what it cannot.
    fn is_behind(&self) -> bool {
        false
    }

    /// Writes what is still held back; nothing comes after it.
    fn close(&mut self) {}
}

/// So many events are taken at a time.
const BATCH: usize = 256;

/// Events that come within this of each other are told together: ten thousand connections a second must not wake the
/// sinks ten thousand times.
const TOGETHER: Duration = Duration::from_millis(2);

/// The pause after each batch while a sink is behind: fifty thousand events a second still pass, so that a burst is written
/// and a reader who is gone holds up nothing.
const CATCH_UP: Duration = Duration::from_millis(5);

/// Hands each event to each sink, until the runner has stopped or nobody is left to tell more; then closes the sinks.
pub async fn pump(mut events: mpsc::Receiver<Event>, mut sinks: Vec<Box<dyn Sink>>) {
    let mut batch = vec![];
    'told: while events.recv_many(&mut batch, BATCH).await > 0 {
        let is_all = batch.len() < BATCH;
        for event in batch.drain(..) {
            for sink in &mut sinks {
                sink.event(&event);
            }
            if matches!(event, Event::Stopped) {
                break 'told;
            }
        }
        for sink in &mut sinks {
            sink.told();
        }
        if sinks.iter().any(|sink| sink.is_behind()) {
            sleep(CATCH_UP).await;
        } else if is_all {
            sleep(TOGETHER).await;
        }
    }
    for sink in &mut sinks {
        sink.close();
    }
}

/// How much a log record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a mistake.
    Debug,
    /// The ordinary course.
    Info,
    /// Something to look at.
    Warn,
    /// Something is wrong.
    Error,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: &'static [Self] = &[Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The word in records and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().copied().find(|level| level.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is not a level: write debug, info, warn or error"))
    }
}

/// A sink that could not do its work.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A result file is not there, or not whole.
    #[error("write {path}: {why}")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        why: String,
    },
}

/// The process's stdout without a buffer or a lock of its own; writes to it fail honestly.
pub fn stdout() -> Box<dyn io::Write + Send> {
    unbuffered(io::stdout().as_fd())
}

/// The process's stderr, likewise.
pub fn stderr() -> Box<dyn io::Write + Send> {
    unbuffered(io::stderr().as_fd())
}

fn unbuffered(descriptor: std::os::fd::BorrowedFd<'_>) -> Box<dyn io::Write + Send> {
    match descriptor.try_clone_to_owned() {
        Ok(owned) => Box::new(File::from(owned)),
        Err(_) => Box::new(io::sink()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Recorder(Arc<Mutex<Vec<&'static str>>>);

    impl Sink for Recorder {
        fn event(&mut self, event: &Event) {
            let word = if matches!(event, Event::Stopped) { "stopped" } else { "event" };
            self.0.lock().unwrap().push(word);
        }
        fn close(&mut self) {
            self.0.lock().unwrap().push("closed");
        }
    }

    #[tokio::test]
    async fn the_pump_ends_after_the_last_event_and_closes_every_sink() {
        let seen = Arc::new(Mutex::new(vec![]));
        let (sender, receiver) = mpsc::channel(8);
        for event in [Event::Started { jobs: vec![] }, Event::Stopped, Event::Stopped] {
            sender.send(event).await.unwrap();
        }
        pump(receiver, vec![Box::new(Recorder(seen.clone())), Box::new(Recorder(seen.clone()))]).await;
        let seen = seen.lock().unwrap();
        assert_eq!(*seen, ["event", "event", "stopped", "stopped", "closed", "closed"]);
    }

    #[tokio::test]
    async fn the_pump_ends_when_nobody_is_left_to_tell_more() {
        let seen = Arc::new(Mutex::new(vec![]));
        let (sender, receiver) = mpsc::channel(8);
        drop(sender);
        pump(receiver, vec![Box::new(Recorder(seen.clone()))]).await;
        assert_eq!(*seen.lock().unwrap(), ["closed"]);
    }

    #[test]
    fn levels_read_their_own_words_only() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(*level));
        }
        assert_eq!(
            "loud".parse::<Level>(),
            Err("`loud` is not a level: write debug, info, warn or error".into())
        );
    }
}
