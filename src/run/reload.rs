//! Reloads: read all, check all, open what is new, then take it on in one step that cannot fail. All or nothing.
//!
//! One is going on and at most one more is to come: whoever asks meanwhile gets the answer of that one, which reads the
//! files later than they asked. What is the same stays as it is: its task, sockets and phase.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::{
    Loader, Set,
    board::SlotId,
    control::{Command, Identities, ReloadSummary, Reply},
    engine::Engine,
    slot::Fate,
    task,
};
use crate::{
    context::{Memory, Shared},
    diagnostic::Report,
    event::Event,
    job::Job,
    net::{listen::Listener, resolve::Bound},
    sys::heap,
};

/// Reloads under way.
pub(super) struct Reloads {
    /// Absent while it reads.
    loader: Option<Loader>,
    /// At most one.
    pub(super) reading: JoinSet<Read>,
    /// Whom the reload that is going on answers.
    asked: Vec<Reply>,
    /// Whom the one after it answers.
    next: Vec<Reply>,
}

/// What came of reading.
pub(super) struct Read {
    loader: Loader,
    acquired: Result<Acquired, Report>,
}

/// A set whose new listeners are open.
struct Acquired {
    set: Set,
    listeners: HashMap<Arc<str>, Vec<Arc<Listener>>>,
}

impl Reloads {
    pub(super) fn new(loader: Option<Loader>) -> Self {
        Self { loader, reading: JoinSet::new(), asked: vec![], next: vec![] }
    }

    /// Tells all who wait that there will be no reload.
    pub(super) fn refuse(&mut self, why: &str) {
        self.reading.abort_all();
        for reply in self.asked.drain(..).chain(self.next.drain(..)) {
            let _ = reply.send(Err(refusal(why)));
        }
    }
}

impl Engine {
    /// What a job that is new in the plan remembers of an earlier time.
    pub(super) fn memory_of(&self, job: &Job) -> Memory {
        Memory::of(self.world.shared.state.as_ref(), job.name.as_str(), job.room.facts().name)
    }

    /// Somebody asks for something.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Reload(reply) => self.reload(reply),
            Command::Compare(identities, reply) => {
                // Nobody is told what will not come; and whoever asked may have gone.
                if !self.stopping {
                    let _ = reply.send(self.compare(&identities));
                }
            }
        }
    }

    /// What would be new, gone or another if these were the jobs.
    fn compare(&self, identities: &Identities) -> ReloadSummary {
        let mut summary = ReloadSummary::default();
        let mut before = self.plan.clone();
        for (name, identity) in identities {
            match before.remove(name) {
                Some(id) if self.slots[&id].job.identity == *identity => summary.kept += 1,
                Some(_) => summary.changed.push(name.clone()),
                None => summary.added.push(name.clone()),
            }
        }
        summary.removed = before.into_keys().collect();
        summary
    }

    /// Somebody asks for a reload.
    fn reload(&mut self, reply: Reply) {
        if self.stopping {
            let _ = reply.send(Err(refusal("the runner is stopping")));
            return;
        }
        self.reloads.next.push(reply);
        self.read_next();
    }

    /// Begins the next reload that was asked for, unless one is going on.
    pub(super) fn read_next(&mut self) {
        // Sinks that are far behind shall not be told of set after set.
        if !self.reloads.reading.is_empty() || self.reloads.next.is_empty() || self.outbox.is_full() {
            return;
        }
        let Some(loader) = self.reloads.loader.take() else {
            return self.reloads.refuse("there are no files to read anew");
        };
        self.outbox.push(Event::ConfigReading);
        self.reloads.asked = std::mem::take(&mut self.reloads.next);
        let known = self.plan.iter().map(|(name, id)| (name.clone(), self.slots[id].job.identity)).collect();
        let shared = self.world.shared.clone();
        let reading = read(loader, known, shared);
        match &self.world.runs {
            Some(threads) => self.reloads.reading.spawn_on(reading, threads),
            None => self.reloads.reading.spawn(reading),
        };
    }

    /// Takes note of what a reload has read.
    pub(super) fn read(&mut self, read: Result<Read, JoinError>) {
        if self.stopping {
            return;
        }
        let acquired = match read {
            Ok(read) => {
                self.reloads.loader = Some(read.loader);
                read.acquired
            }
            Err(error) => Err(refusal(&format!("the reload broke: {error}"))),
        };
        let answer = match acquired {
            Ok(acquired) => Ok(self.commit(acquired)),
            Err(report) => {
                self.outbox.push(Event::ConfigRejected { report: report.clone() });
                Err(report)
            }
        };
        for reply in self.reloads.asked.drain(..) {
            let _ = reply.send(answer.clone());
        }
        if let Some(threads) = &self.world.runs {
            threads.spawn_blocking(heap::give_back);
        }
        self.read_next();
    }

    /// Takes the new set on.
    fn commit(&mut self, acquired: Acquired) -> ReloadSummary {
        let Acquired { set, mut listeners } = acquired;
        let mut summary = ReloadSummary::default();
        let mut before = self.plan.clone();
        let mut fresh = Vec::new();
        for job in set.jobs {
            let name = job.name.shared();
            let memory = match before.remove(&name) {
                Some(id) if self.slots[&id].job.identity == job.identity => {
                    summary.kept += 1;
                    continue;
                }
                Some(id) => {
                    summary.changed.push(name.clone());
                    self.replace(id, &job)
                }
                None => {
                    summary.added.push(name.clone());
                    self.memory_of(&job)
                }
            };
            fresh.push((job, listeners.remove(&name).unwrap_or_default(), memory));
        }
        for (name, id) in before {
            self.retire(id, Fate::Removed);
            summary.removed.push(name);
        }
        let ids = fresh.into_iter();
        let ids: Vec<_> = ids.map(|(job, listeners, memory)| self.insert(job, listeners, memory)).collect();
        for id in &ids {
            self.outbox.push(Event::JobAdded { job: self.slots[id].known_as.clone() });
        }
        for (name, why) in set.left_out {
            self.outbox.push(Event::LeftOut { name, why });
        }
        let ReloadSummary { added, removed, changed, kept } = summary.clone();
        self.outbox.push(Event::ConfigReloaded { added, removed, changed, kept });
        self.set_off(&ids);
        summary
    }
}

impl Engine {
    /// Retires a job whose place another definition takes. It hands on its series and what it kept, but not to another
    /// kind, which has nothing but the name from it.
    fn replace(&mut self, id: SlotId, job: &Job) -> Memory {
        let old = &self.slots[&id];
        if old.known_as.kind != job.room.facts().name {
            self.retire(id, Fate::Removed);
            return self.memory_of(job);
        }
        let memory = old.memory.clone();
        self.retire(id, Fate::Changed);
        memory
    }
}

/// Reads the files on a thread that may block, and opens what is new.
async fn read(mut loader: Loader, known: HashMap<Arc<str>, u64>, shared: Arc<Shared>) -> Read {
    let reading = spawn_blocking(move || {
        let read = catch_unwind(AssertUnwindSafe(&mut loader));
        (loader, read.unwrap_or_else(|_| Err(refusal("the loader broke, which is a defect of this program"))))
    });
    let (loader, set) = reading.await.unwrap_or_else(|error| {
        let why = error.to_string();
        (Box::new(move || Err(refusal(&why))), Err(refusal("reading was cut off")))
    });
    let acquired = match set {
        Ok(set) => acquire(set, &known, &shared).await,
        Err(report) => Err(report),
    };
    Read { loader, acquired }
}

/// Opens what new and changed services listen on; the pool knows what is open already.
async fn acquire(set: Set, known: &HashMap<Arc<str>, u64>, shared: &Shared) -> Result<Acquired, Report> {
    let mut listeners = HashMap::new();
    let mut report = Report::default();
    let bound = Bound::begin();
    let is_new = |job: &&Job| known.get(job.name.as_str()) != Some(&job.identity);
    // Outside its window a service holds no port.
    for job in set.jobs.iter().filter(is_new).filter(|job| job.open.is_none()) {
        match bound.keep(task::open(job, shared)).await {
            Ok(open) => {
                listeners.insert(job.name.shared(), open);
            }
            Err(error) => {
                report.error("", format!("{}: job `{}`: {error}", job.place, job.name), error.hint());
            }
        }
    }
    if report.has_errors() { Err(report) } else { Ok(Acquired { set, listeners }) }
}

fn refusal(why: &str) -> Report {
    let mut report = Report::default();
    report.error("", why, None);
    report
}
