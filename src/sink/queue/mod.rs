//! Lines of the log on their way to a file or pipe: a bounded queue and a thread of its own that writes it out. Whoever adds a line
//! never waits; what does not fit, or cannot be written, is dropped and counted, line by line.
//!
//! A line that an error cut in two is finished first thing when the file takes bytes again, so that no reader ever sees
//! half a record with another after it.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::meter::Counter;

/// While fewer bytes wait, one more line may.
const LIMIT: usize = 4 << 20;
/// A buffer larger than this is given back after use.
const KEPT: usize = 64 << 10;
/// The longest that a closing queue waits for its reader.
const FAREWELL: Duration = Duration::from_secs(1);
/// The pause before a descriptor in non-blocking mode is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// The near end of a queue; clones add to the same one.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    reopen: bool,
    closed: bool,
    finished: bool,
}

impl Queue {
    /// Starts the thread that writes to `out`; lines that are lost are counted in `dropped`.
    pub fn start(out: Box<dyn Write + Send>, dropped: Counter) -> io::Result<Self> {
        Self::run(Writer { out, file: None, rest: vec![], dropped })
    }

    /// The same for a file that may be reopened: `file` is what was opened under the path.
    pub fn start_file(file: File, path: PathBuf, dropped: Counter) -> io::Result<Self> {
        let named = Named { id: id(&file), path };
        Self::run(Writer { out: Box::new(file), file: Some(named), rest: vec![], dropped })
    }

    fn run(mut writer: Writer) -> io::Result<Self> {
        let dropped = writer.dropped.clone();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), dropped });
        let theirs = shared.clone();
        thread::Builder::new().name("netjobs-log".into()).spawn(move || writer.run(&theirs))?;
        Ok(Self(shared))
    }

    /// Opens the file anew, where it is one: lines that are not written yet go to what stands under its path now.
    pub fn reopen(&self) {
        self.0.lock().reopen = true;
        self.0.changed.notify_all();
    }

    /// Adds a line, which has no line break in it, and sees to it that it is written.
    pub fn push(&self, line: &str) {
        self.add(line);
        self.send();
    }

    /// Adds a line that may wait for others until `send`.
    pub fn add(&self, line: &str) {
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() >= LIMIT {
            self.0.dropped.inc();
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        state.waiting.push(b'\n');
    }

    /// Whether a quarter of what may wait does.
    pub fn is_behind(&self) -> bool {
        self.0.lock().waiting.len() >= LIMIT / 4
    }

    /// Has what was added written.
    pub fn send(&self) {
        if !self.0.lock().waiting.is_empty() {
            self.0.changed.notify_all();
        }
    }

    /// Takes no more lines and waits for a second at most until those that wait are written.
    pub fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.changed.notify_all();
        let waited = self.0.changed.wait_timeout_while(state, FAREWELL, |state| !state.finished);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.0.dropped.add(lines(&state.waiting));
        state.waiting.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and swaps them into `batch`; whether the file is to be reopened before they are written, or `None`
    /// when the queue is closed and empty.
    fn next(&self, batch: &mut Vec<u8>) -> Option<bool> {
        let waits = |state: &mut State| state.waiting.is_empty() && !state.closed && !state.reopen;
        let mut state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, batch);
        let reopen = std::mem::take(&mut state.reopen);
        (reopen || !batch.is_empty()).then_some(reopen)
    }

    fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }
}

/// Opens a log file to be added to. A pipe that nobody reads is an error; it is not waited for.
pub fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("nobody reads from this pipe"),
        _ => error,
    })
}

/// Tells a file from another that has its name later.
fn id(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|known| (known.dev(), known.ino()))
}

/// A file by its name.
struct Named {
    path: PathBuf,
    id: Option<(u64, u64)>,
}

struct Writer {
    out: Box<dyn Write + Send>,
    /// What `out` is, where it may be reopened.
    file: Option<Named>,
    /// The end of a line whose beginning is written.
    rest: Vec<u8>,
    dropped: Counter,
}

impl Writer {
    fn run(&mut self, shared: &Shared) {
        let mut batch = Vec::new();
        while let Some(reopen) = shared.next(&mut batch) {
            if reopen {
                self.reopen();
            }
            self.write(&batch);
            batch.clear();
            batch.shrink_to(KEPT);
        }
        if !self.rest.is_empty() {
            self.dropped.inc();
        }
        shared.finish();
    }

    /// Goes on in what stands under the file's path now; where nothing can be opened there, in the old file.
    fn reopen(&mut self) {
        let Some(named) = &mut self.file else { return };
        let file = match open(&named.path) {
            Ok(file) => file,
            Err(error) => {
                // This is a line of the log, too; nobody holds the queue here.
                tracing::warn!("open {}: {error}: the log goes on in the old file", named.path.display());
                return;
            }
        };
        let id = id(&file);
        if id == named.id {
            return;
        }
        named.id = id;
        // A line that was cut ends where it began, or not at all.
        let rest = std::mem::take(&mut self.rest);
        if self.write_some(&rest) < rest.len() {
            self.dropped.inc();
        }
        self.out = Box::new(file);
    }

    fn write(&mut self, batch: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        let done = self.write_some(&rest);
        if done < rest.len() {
            self.rest = rest[done..].to_vec();
            self.dropped.add(lines(batch));
            return;
        }
        let done = self.write_some(batch);
        let left = &batch[done..];
        let cut_inside = done > 0 && batch[done - 1] != b'\n';
        if cut_inside && let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            self.rest = left[..=end].to_vec();
            self.dropped.add(lines(&left[end + 1..]));
        } else {
            self.dropped.add(lines(left));
        }
    }

    /// Writes until all is written or an error says that no more can be; how many bytes went.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match self.out.write(&bytes[done..]) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
                Err(_) => break,
            }
        }
        done
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests;
