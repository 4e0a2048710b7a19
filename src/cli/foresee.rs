//! What a reload of the running daemon would change, for `GET /api/v1/plan`: the files are read anew and nothing is done.
//!
//! One look at a time, and never more than a tenth of the time: whoever asks together gets one answer, and nobody who only
//! asks keeps a core busy.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{files::Files, predict};
use crate::{
    context::Shared,
    diagnostic::{Diagnostic, Report, Severity},
    http::{Plan, Planned},
    job::{Job, load::Loaded},
    net::resolve::Bound,
    run::Control,
};

/// How many times as long as a look took nobody looks again.
const REST: u32 = 9;
/// So many mistakes are told, and so many notes.
const MOST: usize = 200;

/// Looks ahead.
pub struct Foresight {
    files: Files,
    control: Control,
    shared: Arc<Shared>,
    last: Arc<Mutex<Last>>,
}

/// The last look.
struct Last {
    /// When it began, and what came of it.
    answer: Option<(Instant, Planned)>,
    rest_until: Instant,
}

impl Foresight {
    /// Of these files, beside this runner.
    pub fn new(files: Files, control: Control, shared: Arc<Shared>) -> Self {
        let last = Last { answer: None, rest_until: Instant::now() };
        Self { files, control, shared, last: Arc::new(Mutex::new(last)) }
    }

    /// As the server asks for it.
    pub fn asked(self) -> Plan {
        let this = Arc::new(self);
        Box::new(move || {
            let this = this.clone();
            Box::pin(async move { this.look().await })
        })
    }

    /// What a reload would change, read after this was asked.
    async fn look(&self) -> Planned {
        let asked = Instant::now();
        let mut last = self.last.clone().lock_owned().await;
        if let Some((begun, answer)) = &last.answer
            && *begun >= asked
        {
            return answer.clone();
        }
        sleep_until(last.rest_until).await;
        let files = self.files.clone();
        let begun = Instant::now();
        // The thread keeps the lock also where the client goes away meanwhile.
        let reading = spawn_blocking(move || {
            let loaded = files.load();
            last.rest_until = rest_after(begun.elapsed());
            (last, loaded)
        });
        let (mut last, loaded) =
            reading.await.map_err(|error| format!("reading the files broke: {error}"))?;
        let answer = self.changes(loaded).await;
        last.answer = Some((begun, answer.clone()));
        answer
    }

    async fn changes(&self, loaded: Loaded) -> Planned {
        let Loaded { jobs, mut report, .. } = loaded;
        let changes = self.control.compare(&jobs).await.ok_or("the runner is stopping")?;
        if report.has_errors() {
            // Nothing is known of the jobs, and all that run would be kept.
            let running = changes.removed.len() + changes.changed.len() + changes.kept;
            return Ok(answer([&[], &[], &[]], running, &report, &[]));
        }
        let fresh: HashSet<&str> = changes.added.iter().chain(&changes.changed).map(|name| &**name).collect();
        let bound = Bound::begin();
        let is_fresh = |job: &&Job| fresh.contains(job.name.as_str());
        for job in jobs.iter().filter(is_fresh).filter(|job| job.open.is_none()) {
            for listen in job.room.listens() {
                let listen = listen.based(&job.base);
                let foreseen = self.shared.listeners.foresee(&listen, &self.shared.resolver);
                if let Err(error) = bound.keep(foreseen).await {
                    report.error("", format!("{}: job `{}`: {error}", job.place, job.name), error.hint());
                }
            }
        }
        let notes = predict::rights(jobs.iter().filter(is_fresh));
        let notes = notes.iter().take(MOST).map(|note| {
            json!({ "job_name": note.job, "place": note.place, "message": note.message, "hint": note.hint })
        });
        let lists = [&changes.added[..], &changes.removed, &changes.changed];
        Ok(answer(lists, changes.kept, &report, &notes.collect::<Vec<_>>()))
    }
}

/// When somebody may look again after a look that took so long.
fn rest_after(took: Duration) -> Instant {
    Instant::now() + took * REST
}

fn answer(
    [added, removed, changed]: [&[Arc<str>]; 3],
    kept: usize,
    report: &Report,
    notes: &[Value],
) -> Value {
    let errors = report.diagnostics.iter().filter(|one| one.severity == Severity::Error);
    let errors: Vec<Value> = errors.map(Diagnostic::to_json).take(MOST).collect();
    json!({
        "added": names(added),
        "removed": names(removed),
        "changed": names(changed),
        "kept": kept,
        "errors": errors,
        "notes": notes,
    })
}

fn names(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

impl std::fmt::Debug for Foresight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foresight").field("files", &self.files).finish_non_exhaustive()
    }
}
