//! Watches the job files of `netjobs run` and reloads when what they hold has changed. Decides nothing about jobs.
//!
//! inotify(7) only says that something may have happened. Whoever writes is waited for, then all files are read and compared
//! with what the last load read, so that an editor's own files, a `touch` or a reload that somebody asked for lead to nothing.
//! While nothing happens nothing wakes, but after a reload that was refused; and reading wakes nobody: opening a file is not
//! asked for.

mod places;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::{job::load::Seen, run::Control, sys::interest};
use places::Places;

/// So long nothing must have happened before files are read.
const SETTLE: Duration = Duration::from_millis(100);
/// A storm of changes is looked at so often, however few pauses it has.
const STORM: Duration = Duration::from_secs(10);
/// A file that is being written is waited for until its writer has been silent for so long.
const SILENT: Duration = Duration::from_secs(10);
/// Nothing is waited for longer.
const LONGEST: Duration = Duration::from_mins(1);

/// So often files are looked at after a reload was refused: what a shortage or a mount kept from being read comes back
/// without a word.
const REFUSED: Duration = Duration::from_secs(10);

/// So often files are looked at again after a reload. Not for ever: some hold something else each time they are read.
const LOOKS: usize = 2;

/// What happens in a folder, and to itself: what comes, goes, gets other rights or another name.
const IN_FOLDER: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// What happens to the files in it. Where there are none but on the way, what others write there wakes nobody.
const IN_FILES: AddWatchFlags = AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CLOSE_WRITE);

/// What the last load read: written by the loader, compared here.
pub type Sight = Arc<Mutex<Seen>>;

/// Watches files.
#[derive(Debug)]
struct Watch {
    paths: Vec<PathBuf>,
    sight: Sight,
    inotify: Inotify,
    /// The same, to wait for.
    bell: AsyncFd<OwnedFd>,
    places: Places,
    watched: HashMap<WatchDescriptor, PathBuf>,
    /// Files that were written and not closed since.
    open: HashSet<PathBuf>,
    /// Whether it was told that something is not watched.
    is_told: bool,
}

/// Reloads when files of these paths have changed; says so where the system does not let it watch.
///
/// It ends as soon as the engine is told to.
pub async fn watch(paths: Vec<PathBuf>, sight: Sight, control: Control) {
    let mut watching = match Watch::new(paths, sight) {
        Ok(watch) => Box::pin(watch.run(control.clone())),
        Err(error) => return say_blind("", &error),
    };
    tokio::select! {
        () = control.ends() => {}
        () = &mut watching => {}
    }
    // The system takes some 15 ms to close an inotify instance that watched, and more on a busy machine: beside what drains.
    drop(spawn_blocking(|| drop(watching)));
}

impl Watch {
    fn new(paths: Vec<PathBuf>, sight: Sight) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let bell = interest::register(inotify.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self {
            paths,
            sight,
            inotify,
            bell,
            places: Places::default(),
            watched: HashMap::new(),
            open: HashSet::new(),
            is_told: false,
        })
    }

    async fn run(mut self, control: Control) {
        let (mut again, mut is_refused) = (0, false);
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
                is_refused = control.reload().await.is_err();
            }
            if has_changed && again < LOOKS {
                // Files may have been named that nobody watched until then.
                let heard = timeout(SETTLE, self.heard()).await.is_ok();
                again = if heard { 0 } else { again + 1 };
            } else {
                let patience = if is_refused { REFUSED } else { Duration::MAX };
                let _ = timeout(patience, self.heard()).await;
                again = 0;
            }
            self.settled().await;
        }
    }

    /// Watches the folders that matter now, and no others.
    fn arm(&mut self) {
        let seen = self.seen();
        self.places = Places::of(&self.paths, seen.files());
        let before = std::mem::take(&mut self.watched);
        for (folder, is_needed) in &self.places.folders {
            let files = if *is_needed { IN_FILES } else { AddWatchFlags::empty() };
            // One that is watched already is told apart from another of its name, and stays as it is.
            match self.inotify.add_watch(folder, IN_FOLDER | files) {
                Ok(watch) => {
                    self.watched.insert(watch, folder.clone());
                }
                // That it comes again is heard in the folder above.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) if *is_needed && !self.is_told => {
                    self.is_told = true;
                    say_blind(&format!(" in {}", folder.display()), &error.into());
                }
                Err(_) => {}
            }
        }
        for watch in before.keys().filter(|watch| !self.watched.contains_key(watch)) {
            // That of a folder that is gone went with it.
            let _ = self.inotify.rm_watch(*watch);
        }
    }

    fn has_changed(&self) -> bool {
        !self.seen().is_current(&self.paths)
    }

    fn seen(&self) -> Seen {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something happens that may matter.
    async fn heard(&mut self) {
        loop {
            let read = self.bell.async_io(Interest::READABLE, |_| Ok(self.inotify.read_events()?));
            match read.await {
                Ok(events) => {
                    // Each is heard: what is open depends on all.
                    if events.into_iter().filter(|event| self.hear(event)).count() > 0 {
                        return;
                    }
                }
                // What was missed is seen by a look, and that it goes on failing costs few of them.
                Err(_) => return sleep(STORM).await,
            }
        }
    }

    /// Whether this may change what is read.
    fn hear(&mut self, event: &InotifyEvent) -> bool {
        let is = |which| event.mask.intersects(which);
        if is(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        let Some(folder) = self.watched.get(&event.wd) else { return false };
        let path = event.name.as_ref().map_or_else(|| folder.clone(), |name| folder.join(name));
        if !self.places.concern(&path) {
            return false;
        }
        if is(AddWatchFlags::IN_MODIFY) || is(AddWatchFlags::IN_CREATE) && is_begun(&path) {
            self.open.insert(path);
        } else if !is(AddWatchFlags::IN_ATTRIB) {
            // Written, gone, or another's in its place, which is whole.
            self.open.remove(&path);
        }
        true
    }

    /// Waits until nobody writes.
    async fn settled(&mut self) {
        let begun = Instant::now();
        let mut last = begun;
        loop {
            if timeout(SETTLE, self.heard()).await.is_ok() {
                last = Instant::now();
            }
            let is_open = !self.open.is_empty();
            let patience = if is_open { SILENT } else { SETTLE };
            if last.elapsed() >= patience || begun.elapsed() >= if is_open { LONGEST } else { STORM } {
                break;
            }
        }
        self.open.clear();
    }
}

/// Whether a new file has nothing in it yet. Links and what is renamed here are whole when they come.
fn is_begun(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

fn say_blind(place: &str, error: &io::Error) {
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC) => "the limit `fs.inotify.max_user_watches` is reached".into(),
        Some(Errno::EMFILE) => {
            "the limit `fs.inotify.max_user_instances`, or that of open files, is reached".into()
        }
        _ => error.to_string(),
    };
    tracing::warn!("changes of job files{place} are not noticed: {why}; a reload by SIGHUP works as ever");
}
