//! What survives a restart: files under `--state DIR`, one or two a job and one of all jobs' last starts. Only a hint: a
//! file that does not read is set aside, and one that cannot be written costs a sentence and never the work.
//!
//! One thread writes, each file whole or not at all; what comes while it is busy with an older value of the same file
//! takes that one's place.

#[doc(hidden)]
pub mod file;
mod lock;
mod writer;

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use file::Content;
use writer::{Draw, Task, Writer};

/// What a job remembers, in this process and, with a place, beyond it.
pub type Cell = Arc<Mutex<Option<Value>>>;

/// The files of a runner. Held by one runner at a time.
#[derive(Clone, Debug)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Each job's memory, by name, with its kind.
    memories: Mutex<HashMap<String, (String, Cell)>>,
    /// How far runs had come when the process before this one ended, until they are taken.
    checkpoints: Mutex<HashMap<String, Content>>,
    writer: Writer,
    /// Held as long as anybody may write.
    _lock: Arc<lock::Lock>,
}

/// One file of a job.
#[derive(Clone, Debug)]
pub struct Place {
    state: State,
    file: String,
    kind: &'static str,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses it.
    #[error("use {} for state: {operation}: {source}", folder.display())]
    System {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// What stands there is no runner's.
    #[error("use {} for state: `{name}` stands there, and is no state of a runner", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// A file of somebody else's.
        name: String,
    },
    /// Another runner works there.
    #[error("{} holds the state of another runner{}", folder.display(), pid.as_ref().map_or_else(String::new, |pid| format!(", process {pid}")))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// That runner's process, where it says so.
        pid: Option<String>,
    },
}

impl Error {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::System { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                "raise the limit of processes and threads (`ulimit -u`, the pids limit of the container)"
            }
            Self::System { .. } => "name a folder that this process may write to, or one that it may make",
            Self::Foreign { .. } => "name a folder of its own, such as one that is not there yet",
            Self::InUse { .. } => "end that runner, or give each runner a folder of its own",
        }
    }
}

/// The memory of no job: until where the starts of all jobs were dealt with.
const STARTS: &str = "STARTS";
/// Endings of the files; names of jobs have no capital letters, so that `LOCK` and `STARTS` are none of them.
const MEMORY: &str = ".json";
const CHECKPOINT: &str = ".checkpoint";
const TEMPORARY: &str = ".tmp";
/// For how long the memory of a job that is in no file any more is kept: nobody shall lose it to a bad reload.
const FORGET_AFTER: Duration = Duration::from_hours(30 * 24);

impl State {
    /// Takes a folder, makes it where it is missing, and reads what is there. `failed` is called for each write that fails
    /// later.
    pub fn open(folder: &Path, failed: impl Fn() + Send + 'static) -> Result<Self, Error> {
        let error = |operation| {
            let folder = folder.to_owned();
            move |source| Error::System { folder, operation, source }
        };
        let make = || fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        make().map_err(error("make the folder"))?;
        let lock = Arc::new(lock::Lock::take(folder)?);
        file::try_to_write(folder).map_err(error("make a file"))?;
        let (mut memories, mut checkpoints) = (HashMap::new(), HashMap::new());
        // Now that nobody else writes here.
        for name in names(folder).map_err(error("read the folder"))? {
            if is_temporary(&name) {
                // Left by a runner that was killed.
                let _ = fs::remove_file(folder.join(&name));
            } else if let Some(job) = name.strip_suffix(MEMORY) {
                let read = file::read_or_set_aside(&folder.join(&name));
                let cell = |content: Content| (content.kind, Arc::new(Mutex::new(Some(content.value))));
                memories.extend(read.map(|content| (job.to_owned(), cell(content))));
            } else if let Some(job) = name.strip_suffix(CHECKPOINT) {
                let read = file::read_or_set_aside(&folder.join(&name));
                checkpoints.extend(read.map(|content| (job.to_owned(), content)));
            }
        }
        let writer = Writer::start(folder, Arc::downgrade(&lock), failed).map_err(error("start a thread"))?;
        let (memories, checkpoints) = (Mutex::new(memories), Mutex::new(checkpoints));
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), memories, checkpoints, writer, _lock: lock })))
    }

    /// A job's memory and where it is kept; that of another kind of job is none.
    pub fn memory(&self, job: &str, kind: &'static str) -> (Cell, Place) {
        let mut memories = self.0.memories.lock().unwrap_or_else(PoisonError::into_inner);
        if memories.len() == memories.capacity() {
            // Before the table grows it lets go of jobs that are gone and have left nothing.
            let is_of_use = |(_, cell): &(String, Cell)| {
                Arc::strong_count(cell) > 1 || cell.lock().unwrap_or_else(PoisonError::into_inner).is_some()
            };
            memories.retain(|_, known| is_of_use(known));
            let left = memories.len();
            memories.reserve(left + 1);
        }
        let known = memories.entry(job.to_owned()).or_insert_with(|| (kind.to_owned(), Cell::default()));
        if known.0 != kind {
            *known = (kind.to_owned(), Cell::default());
        }
        (known.1.clone(), self.place(job, MEMORY, kind))
    }

    /// The last starts of all jobs, and where they are kept.
    pub fn starts(&self) -> (Cell, Place) {
        self.memory(STARTS, "starts")
    }

    /// Where a job's run saves how far it has come.
    pub fn checkpoint(&self, job: &str, kind: &'static str) -> Place {
        self.place(job, CHECKPOINT, kind)
    }

    fn place(&self, job: &str, ending: &str, kind: &'static str) -> Place {
        Place { state: self.clone(), file: format!("{job}{ending}"), kind }
    }

    /// Drops what is older than a month and of none of these jobs.
    pub fn forget_all_but(&self, is_known: impl Fn(&str) -> bool) {
        let strangers = |map: &mut dyn Iterator<Item = &String>, ending: &str| -> Vec<String> {
            map.filter(|job| *job != STARTS && !is_known(job)).map(|job| format!("{job}{ending}")).collect()
        };
        let memories = self.0.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoints = self.0.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = strangers(&mut memories.keys(), MEMORY);
        files.extend(strangers(&mut checkpoints.keys(), CHECKPOINT));
        for file in files {
            let written = fs::metadata(self.0.folder.join(&file)).and_then(|found| found.modified());
            let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
            if age.is_some_and(|age| age > FORGET_AFTER) {
                self.0.writer.put(file, Task::Remove);
            }
        }
    }

    /// Waits until all is written, at most this long, what failed before tried once more; whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        self.0.writer.flush(patience)
    }

    /// The files that are not written yet, or could not be.
    pub fn unsaved(&self) -> Vec<String> {
        self.0.writer.unsaved()
    }
}

impl Place {
    /// Has a value written soon.
    pub fn save(&self, value: Value) {
        let content = Content { kind: self.kind.to_owned(), saved: SystemTime::now(), value };
        self.state.0.writer.put(self.file.clone(), Task::Write(content));
    }

    /// Has a value written soon that is drawn up on the writer's thread, as it is by then.
    pub fn save_drawn(&self, draw: impl Fn() -> Value + Send + 'static) {
        let kind = self.kind;
        let content = move || Content { kind: kind.to_owned(), saved: SystemTime::now(), value: draw() };
        self.state.0.writer.put(self.file.clone(), Task::Draw(Draw(Box::new(content))));
    }

    /// Has the file removed.
    pub fn remove(&self) {
        self.state.0.writer.put(self.file.clone(), Task::Remove);
    }

    /// What a checkpoint of the process before this one holds, and how long ago it was saved. It is given once.
    pub fn take(&self) -> Option<(Value, Duration)> {
        let job = self.file.strip_suffix(CHECKPOINT)?;
        let mut checkpoints = self.state.0.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let content = checkpoints.remove(job).filter(|content| content.kind == self.kind)?;
        // One of the future is of a clock that was wrong.
        let age = SystemTime::now().duration_since(content.saved).ok()?;
        Some((content.value, age))
    }
}

/// The names of what stands in a folder, as far as they are text: ours are.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.collect())
}

/// Whether a file is of the sort that is never finished.
fn is_temporary(name: &str) -> bool {
    let whole = name.strip_suffix(TEMPORARY);
    whole.is_some_and(|whole| whole.is_empty() || whole.ends_with(MEMORY) || whole.ends_with(CHECKPOINT))
}

/// Whether a file has a name that ours have, and is none of them.
fn is_foreign(folder: &Path, name: &str) -> bool {
    let is_kept = name.ends_with(MEMORY) || name.ends_with(CHECKPOINT);
    is_temporary(name) || is_kept && file::read(&folder.join(name)).is_err()
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.folder.display())
    }
}

#[cfg(test)]
mod tests;
