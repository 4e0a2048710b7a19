//! Watches the job files of `netjobs run` and reloads when what they hold has changed. Decides nothing about jobs.
//!
//! inotify(7), through the crate `notify`, only says that something may have happened. Whoever writes is waited for, then
//! all files are read and compared with what the last load read, so that an editor's own files, a `touch` or a reload
//! that somebody asked for lead to nothing. While nothing happens only its own thread wakes: the crate also hears of files that
//! are opened in a folder on the way, and those are passed over.

mod places;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use notify::{
    Event, EventKind, INotifyWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{job::load::Seen, run::Control};
use places::Places;

/// So long nothing must have happened before files are read.
const SETTLE: Duration = Duration::from_millis(100);
/// A storm of changes is looked at so often, however few pauses it has.
const STORM: Duration = Duration::from_secs(10);
/// A file that is being written is waited for until its writer has been silent for so long.
const SILENT: Duration = Duration::from_secs(10);
/// Nothing is waited for longer.
const LONGEST: Duration = Duration::from_mins(1);

/// So often files are looked at again after a reload. Not for ever: some hold something else each time they are read.
const LOOKS: usize = 2;

/// What the last load read: written by the loader, compared here.
pub type Sight = Arc<Mutex<Seen>>;

/// Watches files.
pub struct Watch {
    paths: Vec<PathBuf>,
    sight: Sight,
    ear: Arc<Ear>,
    watcher: INotifyWatcher,
    /// The folders that are watched, and which file each was.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
    /// Whether it was told that something is not watched.
    is_told: bool,
}

/// Hears of changes, on the thread of the crate.
#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    woken: Notify,
}

#[derive(Default)]
struct Heard {
    places: Places,
    /// Files that were written and not closed since.
    open: HashSet<PathBuf>,
}

impl Watch {
    /// Prepares to watch these paths; says so where the system does not let it.
    pub fn new(paths: Vec<PathBuf>, sight: Sight) -> Option<Self> {
        let ear = Arc::<Ear>::default();
        let hearing = ear.clone();
        let started = INotifyWatcher::new(move |event| hearing.hear(event), notify::Config::default());
        let started = started.and_then(|watcher| if_heard(watcher, &ear));
        match started {
            Ok(watcher) => {
                Some(Self { paths, sight, ear, watcher, watched: BTreeMap::new(), is_told: false })
            }
            Err(error) => {
                say_blind(&error);
                None
            }
        }
    }

    /// Reloads when files have changed, until it is told to stop.
    pub async fn run(self, control: Control, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch(control) => {}
        }
    }

    async fn watch(mut self, control: Control) {
        let ear = self.ear.clone();
        let mut again = 0;
        loop {
            let looking = spawn_blocking(move || {
                self.arm();
                let has_changed = self.has_changed();
                (self, has_changed)
            });
            let Ok((this, has_changed)) = looking.await else { return };
            self = this;
            if has_changed {
                // What comes of it is an event, which the log tells.
                let _ = control.reload().await;
            }
            if has_changed && again < LOOKS {
                // Files may have been named that nobody watched until then.
                let heard = timeout(SETTLE, ear.woken.notified()).await.is_ok();
                again = if heard { 0 } else { again + 1 };
            } else {
                ear.woken.notified().await;
                again = 0;
            }
            ear.settled().await;
        }
    }

    /// Watches the folders that matter now, and no others.
    fn arm(&mut self) {
        let places = Places::of(&self.paths, lock(&self.sight).files());
        let gone = std::mem::take(&mut self.watched);
        for (folder, is_needed) in &places.folders {
            let file = fs::metadata(folder).ok().map(|found| (found.dev(), found.ino()));
            if gone.get(folder).is_some_and(|before| *before != file) {
                let _ = self.watcher.unwatch(folder);
            }
            // Again also where it was watched: another folder may stand there, even under the same number.
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone(), file);
                }
                Err(error) if *is_needed && !self.is_told => {
                    self.is_told = true;
                    say_blind(&error);
                }
                Err(_) => {}
            }
        }
        for folder in gone.keys().filter(|folder| !places.folders.contains_key(*folder)) {
            let _ = self.watcher.unwatch(folder);
        }
        lock(&self.ear.heard).places = places;
    }

    fn has_changed(&self) -> bool {
        let seen = lock(&self.sight).clone();
        !seen.is_current(&self.paths)
    }
}

impl Ear {
    fn hear(&self, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.woken.notify_one() };
        let kind = event.kind;
        let is_close = kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
        // Whoever reads changes nothing, and this program reads too.
        if kind.is_access() && !is_close {
            return;
        }
        let mut heard = lock(&self.heard);
        let mut matters = event.need_rescan();
        for path in event.paths {
            if !heard.places.concern(&path) {
                continue;
            }
            matters = true;
            match kind {
                EventKind::Modify(ModifyKind::Data(_)) => heard.open.insert(path),
                EventKind::Create(CreateKind::File) if is_begun(&path) => heard.open.insert(path),
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    heard.open.remove(&path)
                }
                _ if is_close => heard.open.remove(&path),
                _ => false,
            };
        }
        if matters {
            self.woken.notify_one();
        }
    }

    /// Waits until nobody writes.
    async fn settled(&self) {
        let begun = Instant::now();
        let mut last = begun;
        loop {
            if timeout(SETTLE, self.woken.notified()).await.is_ok() {
                last = Instant::now();
            }
            let is_open = !lock(&self.heard).open.is_empty();
            let patience = if is_open { SILENT } else { SETTLE };
            if last.elapsed() >= patience || begun.elapsed() >= if is_open { LONGEST } else { STORM } {
                break;
            }
        }
        lock(&self.heard).open.clear();
    }
}

/// Whether a new file has nothing in it yet. Links and what is renamed here are whole when they come.
fn is_begun(path: &std::path::Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// The crate starts a thread and takes for granted that it could, and panics later where it could not. What such a thread
/// would hear by is dropped at once then, and the watcher must never be.
fn if_heard(watcher: INotifyWatcher, ear: &Arc<Ear>) -> notify::Result<INotifyWatcher> {
    if Arc::strong_count(ear) > 1 {
        return Ok(watcher);
    }
    std::mem::forget(watcher);
    Err(notify::Error::io(std::io::Error::other("a thread could not be started")))
}

fn say_blind(error: &notify::Error) {
    let limit = "the limit `fs.inotify.max_user_watches` is reached";
    let why = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => limit.to_owned(),
        notify::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    let place = error.paths.first().map(|path| format!(" in {}", path.display())).unwrap_or_default();
    tracing::warn!("changes of job files{place} are not noticed: {why}; a reload by SIGHUP works as ever");
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("paths", &self.paths).finish_non_exhaustive()
    }
}
