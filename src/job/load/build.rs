//! One job of a file: keys, defaults, expansion, values, and what they may say together.

use std::{path::Path, rc::Rc, sync::Arc};

use super::{
    Loader,
    expand::Expander,
    identity, judge,
    keys::{self, Keys},
    merge,
    node::{At, Entry, Node, Step, find, steps},
    shape, value,
};
use crate::{
    diagnostic::{Diagnostic, Report, Severity},
    job::{Job, Open, common::Common},
    kind::{Room, Spec},
    value::{
        Flag, JobName, Schedule, Timespan, glob,
        schedule::{self, Zone},
    },
};

/// A job, and the places that checks over all jobs need.
pub(super) struct Draft {
    pub(super) job: Job,
    pub(super) name_at: At,
    pub(super) needs: Vec<(JobName, At)>,
    pub(super) refers: Vec<Reference>,
    pub(super) listens: Vec<(String, At)>,
    /// Why it is not in the plan.
    pub(super) left_out: Option<String>,
}

/// A job that a kind's key names.
pub(super) struct Reference {
    pub(super) name: JobName,
    pub(super) at: At,
    pub(super) path: String,
    /// `job:NAME`, which wants a service and comes first; else a check that is only watched.
    pub(super) is_endpoint: bool,
}

/// What the jobs of one file have in common.
pub(super) struct FileContext<'a> {
    pub(super) layers: &'a [&'a [Entry]],
    pub(super) base: Arc<Path>,
}

/// The root under which common keys stand as one map.
pub(super) fn root(entries: Vec<Entry>, at: At) -> Entry {
    use super::node::Content;
    Entry { key: "".into(), at, value: Rc::new(Node { at, content: Content::Map(entries) }) }
}

impl Loader<'_> {
    /// Reads one job; `None` where its shape is wrong, which the report then says.
    pub(super) fn build(&mut self, node: &Node, file: &FileContext<'_>) -> Option<Draft> {
        let keys = match keys::job(node) {
            Ok(keys) => keys,
            Err(located) => {
                // Its name still counts as known, so that jobs that need it are not reported as well.
                if let Some(name) = node.entries().and_then(|entries| find(entries, "name")) {
                    self.broken.extend(name.value.scalar().map(str::to_owned));
                }
                self.wrong(located);
                return None;
            }
        };
        let draft = self.build_judged(&keys, file);
        if draft.is_none() {
            self.broken.extend(keys.name.value.scalar().map(str::to_owned));
        }
        draft
    }

    fn build_judged(&mut self, keys: &Keys<'_>, file: &FileContext<'_>) -> Option<Draft> {
        let is_common = |entry: &&Entry| !std::ptr::eq(*entry, keys.kind);
        let own: Vec<Entry> = keys.entries.iter().filter(is_common).cloned().collect();
        let merged = merge::common(own.clone(), file.layers, keys.facts.service);
        let root = root(merge::without_idle_zone(merged, &own), keys.name.at);
        let mut expander = Expander::new(self.environment, &file.base);
        let common_value = value::expanded(&root.value, &mut expander);
        let parameters =
            expander.below(&keys.kind.key, |expander| value::expanded(&keys.kind.value, expander));
        let problems = std::mem::take(&mut expander.wrong);
        if !problems.is_empty() {
            for located in problems {
                self.wrong(located);
            }
            return None;
        }
        let identity = identity::of(&keys.kind.key, &common_value, &parameters);
        let common: Common = self.shaped(shape::common(common_value), &root, "")?;
        let spec = self.shaped(shape::spec(&keys.kind.key, parameters), keys.kind, &keys.kind.key)?;
        let name = common.name.clone()?;
        let place = self.line_of(keys.name.at);
        let from_defaults = |key: &str| find(&own, key).is_none();
        let mut draft = Draft {
            name_at: keys.name.value.at,
            needs: named(&common, &root),
            refers: references(&spec, keys.kind),
            listens: listens(&spec, keys.kind),
            left_out: self.left_out(&common),
            job: job(name, &common, spec, identity, place, file.base.clone()),
        };
        let mut report = Report::default();
        judge::common(&common, &mut draft.job, &from_defaults, &mut report);
        self.take(report, &root);
        let mut report = Report::default();
        draft.job.room.check(&mut report);
        self.take(report, keys.kind);
        Some(draft)
    }

    /// The value, or the report of why it is none.
    pub(super) fn shaped<T>(
        &mut self,
        read: Result<T, shape::Misshapen>,
        entry: &Entry,
        owner: &str,
    ) -> Option<T> {
        let misshapen = match read {
            Ok(value) => return Some(value),
            Err(misshapen) => misshapen,
        };
        let (at, mut diagnostic, offset) = misshapen.explain(entry, owner);
        diagnostic.path = shape::path(&misshapen.steps);
        let at = offset.map_or(at, |offset| self.inside(at, offset));
        self.wrong((at, diagnostic));
        None
    }

    /// Places what was found below an entry, and moves it into the loader's report.
    fn take(&mut self, report: Report, entry: &Entry) {
        for mut diagnostic in report.diagnostics {
            let at_key = diagnostic.path.ends_with(judge::AT_KEY);
            diagnostic.path.truncate(diagnostic.path.len() - usize::from(at_key));
            let steps = steps(&entry.value, &diagnostic.path);
            let (holder, node) = super::node::follow(entry, &steps);
            let at = if at_key || steps.is_empty() || node.scalar().is_none() { holder.at } else { node.at };
            diagnostic.place = self.place(at);
            self.report.diagnostics.push(diagnostic);
        }
    }

    fn left_out(&self, common: &Common) -> Option<String> {
        if common.enabled == Some(Flag(false)) {
            return Some("`enabled: false`".into());
        }
        let patterns = common.only_on.as_ref()?;
        let host = self.environment.host.to_ascii_lowercase();
        let short = host.split('.').next().unwrap_or(&host);
        let fits = |pattern: &str| glob::fits(pattern, &host) || glob::fits(pattern, short);
        let here = patterns.iter().any(|pattern| fits(&pattern.to_ascii_lowercase()));
        (!here).then(|| format!("`only_on` does not name this host, `{}`", host.escape_debug()))
    }
}

fn job(name: JobName, common: &Common, spec: Spec, identity: u64, place: String, base: Arc<Path>) -> Job {
    let zone = |zone: &Option<Zone>| zone.as_ref().map_or(jiff::tz::TimeZone::UTC, |zone| zone.0.clone());
    let starts = common.every.is_some() || common.cron.is_some();
    let schedule = Schedule {
        every: common.every,
        cron: common.cron.clone(),
        timezone: zone(&common.timezone),
        at: common.at.or((!starts).then_some(schedule::At::Start)),
        jitter: common.jitter.unwrap_or_default(),
    };
    let open = common.open.as_ref().map(|window| Open {
        schedule: Schedule {
            every: None,
            cron: Some(window.cron.clone()),
            timezone: zone(&window.timezone),
            at: None,
            jitter: Timespan::default(),
        },
        length: window.r#for,
    });
    Job {
        name,
        schedule,
        overlap: common.overlap.unwrap_or_default(),
        missed: common.missed.unwrap_or_default(),
        run_timeout: common.run_timeout,
        retry: common.retry.unwrap_or_default(),
        needs: common.needs.clone().unwrap_or_default(),
        expect: common.expect.clone(),
        labels: Arc::new(common.labels.clone().unwrap_or_default()),
        open,
        room: Arc::new(spec),
        identity,
        place,
        base,
    }
}

fn named(common: &Common, root: &Entry) -> Vec<(JobName, At)> {
    let needs = common.needs.iter().flatten().enumerate();
    let at = |index: usize| super::node::follow(root, &[Step::Key("needs".into()), Step::Index(index)]).1.at;
    needs.map(|(index, name)| (name.clone(), at(index))).collect()
}

fn references(spec: &Spec, kind: &Entry) -> Vec<Reference> {
    let reference = |is_endpoint: bool, (path, name): (String, &JobName)| {
        let at = super::node::follow(kind, &steps(&kind.value, &path)).1.at;
        Reference { name: name.clone(), at, path, is_endpoint }
    };
    let endpoints = spec.refers().into_iter().map(|refer| reference(true, refer));
    endpoints.chain(spec.watches().into_iter().map(|watch| reference(false, watch))).collect()
}

fn listens(spec: &Spec, kind: &Entry) -> Vec<(String, At)> {
    let listens = spec.listens().into_iter();
    let at = |path: &str| super::node::follow(kind, &steps(&kind.value, path)).1.at;
    listens.map(|listen| (listen.bind.to_string(), at(&listen.path))).collect()
}

/// A diagnostic that is only a warning.
pub(super) fn warning(message: impl Into<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message) }
}
