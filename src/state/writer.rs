//! The thread that writes. Nobody waits for it but who asks to, and a disk that fails is told once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{
    file::{self, Content},
    lock::Lock,
};

/// What is to become of a file.
#[derive(Debug)]
pub(super) enum Task {
    Write(Content),
    /// What it holds is drawn up when its turn comes.
    Draw(Draw),
    Remove,
}

/// Makes a file's content, as it is by then.
pub(super) struct Draw(pub(super) Box<dyn Fn() -> Content + Send>);

impl fmt::Debug for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draw")
    }
}

/// The thread's other end; the thread ends with it.
#[derive(Debug)]
pub(super) struct Writer(Arc<Desk>);

#[derive(Debug, Default)]
struct Desk {
    tray: Mutex<Tray>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Tray {
    /// The newest task of each file.
    tasks: BTreeMap<String, Task>,
    /// Those that failed and are tried again, unless newer ones come.
    failed: BTreeMap<String, Task>,
    /// The file that is being written.
    busy: Option<String>,
    is_closed: bool,
}

/// How long until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);

impl Writer {
    pub(super) fn start(
        folder: &Path,
        lock: Weak<Lock>,
        failed: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let (folder, worked) = (folder.to_owned(), desk.clone());
        std::thread::Builder::new()
            .name("state".into())
            .spawn(move || work(&folder, &lock, &worked, &failed))?;
        Ok(Self(desk))
    }

    /// Puts a task in place of an older one of the same file.
    pub(super) fn put(&self, file: String, task: Task) {
        let mut tray = self.0.tray();
        tray.failed.remove(&file);
        tray.tasks.insert(file, task);
        self.0.changed.notify_all();
    }

    /// Waits until nothing is left to do, at most this long, what failed before tried once more; whether nothing is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let mut tray = self.0.tray();
        tray.try_again();
        self.0.changed.notify_all();
        let is_busy = |tray: &mut Tray| tray.busy.is_some() || !tray.tasks.is_empty();
        let waited = self.0.changed.wait_timeout_while(tray, patience, is_busy);
        let (tray, _) = waited.unwrap_or_else(PoisonError::into_inner);
        tray.unsaved().next().is_none()
    }

    /// The files that are not written yet, or could not be.
    pub(super) fn unsaved(&self) -> Vec<String> {
        let tray = self.0.tray();
        tray.unsaved().collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }
}

impl Tray {
    /// Puts what failed among the tasks, but in no newer one's place.
    fn try_again(&mut self) {
        for (file, task) in std::mem::take(&mut self.failed) {
            self.tasks.entry(file).or_insert(task);
        }
    }

    fn unsaved(&self) -> impl Iterator<Item = &String> {
        self.busy.iter().chain(self.tasks.keys()).chain(self.failed.keys())
    }
}

impl Desk {
    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task, waited for; `None` once nobody is left who could give one.
    fn next(&self) -> Option<(String, Task)> {
        let mut tray = self.tray();
        tray.busy = None;
        self.changed.notify_all();
        loop {
            if let Some(task) = tray.tasks.pop_first() {
                tray.busy = Some(task.0.clone());
                return Some(task);
            }
            if tray.is_closed {
                return None;
            }
            tray = if tray.failed.is_empty() {
                self.changed.wait(tray).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(tray, AGAIN);
                let (mut tray, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    tray.try_again();
                }
                tray
            };
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.tray().is_closed = true;
        self.0.changed.notify_all();
    }
}

fn work(folder: &Path, lock: &Weak<Lock>, desk: &Desk, failed: &impl Fn()) {
    let mut is_failing = false;
    while let Some((file, task)) = desk.next() {
        let path = folder.join(&file);
        // Another runner may work in a folder that was made anew.
        let kept = lock.upgrade().map_or(Ok(()), |lock| lock.keep());
        let done = kept.and_then(|()| match &task {
            Task::Write(content) => file::write(&path, content),
            Task::Draw(draw) => file::write(&path, &draw.0()),
            Task::Remove => file::remove(&path),
        });
        match done {
            // There is room for a removal on any disk.
            Ok(()) if is_failing && !matches!(task, Task::Remove) => {
                is_failing = false;
                tracing::info!("state: {} can be written again", folder.display());
            }
            Ok(()) => {}
            Err(error) => {
                failed();
                if !is_failing {
                    tracing::warn!(
                        "state: write {}: {error}; what was saved before stays, the work goes on, and further failures \
                         are only counted",
                        path.display()
                    );
                }
                is_failing = true;
                let mut tray = desk.tray();
                // A newer one may have come meanwhile.
                if !tray.tasks.contains_key(&file) {
                    tray.failed.insert(file, task);
                }
            }
        }
    }
}
