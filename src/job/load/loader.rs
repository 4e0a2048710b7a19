//! The state of one load: sources, the defaults of folders, and the report that grows.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Environment, Loaded,
    build::{Draft, FileContext, root, warning},
    expand::Expander,
    keys,
    node::{At, Entry},
    read, shape, tree,
    tree::Located,
    value,
};
use crate::{
    diagnostic::{Diagnostic, Place, Report, Source},
    job::common::Common,
};

/// What is said of one file before it is given up.
const MOST_SAID: usize = 1_000;
/// So many unknown names of jobs are compared with the known ones.
const MOST_GUESSES: usize = 20;
/// The file whose defaults hold for all files of its folder.
const FOLDER_DEFAULTS: &str = "netjobs.yaml";

pub(super) struct Loader<'a> {
    pub(super) environment: &'a Environment,
    pub(super) report: Report,
    /// Names of jobs whose shape is wrong: they are known, and that is all.
    pub(super) broken: HashSet<String>,
    /// How many more unknown names get a guess: each is compared with all names.
    pub(super) guesses: usize,
    sources: Vec<Arc<Source>>,
    folders: HashMap<PathBuf, Vec<Entry>>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            report: Report::default(),
            broken: HashSet::new(),
            guesses: MOST_GUESSES,
            sources: Vec::new(),
            folders: HashMap::new(),
        }
    }

    /// Reads one file's text; its folder's defaults are read with the first file of the folder.
    pub(super) fn file(&mut self, path: &Path, text: String) -> Vec<Draft> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut below = Vec::new();
        if path.file_name().is_none_or(|name| name != FOLDER_DEFAULTS) {
            if !self.folders.contains_key(folder) {
                let defaults = self.folder_defaults(&folder.join(FOLDER_DEFAULTS));
                self.folders.insert(folder.to_owned(), defaults);
            }
            below.clone_from(&self.folders[folder]);
        }
        self.text(&path.display().to_string(), text, &below, folder.into())
    }

    fn folder_defaults(&mut self, path: &Path) -> Vec<Entry> {
        // Asked for also where it is missing: it may come.
        let read = read::job_file(path, &self.environment.notes);
        if std::fs::symlink_metadata(path).is_err() {
            return Vec::new();
        }
        match read {
            Ok(text) => {
                let file = self.parse(&path.display().to_string(), text, false);
                let base = path.parent().unwrap_or(Path::new(""));
                file.map(|file| self.sound(file.defaults, base)).unwrap_or_default()
            }
            Err(diagnostic) => {
                self.report.diagnostics.push(diagnostic);
                Vec::new()
            }
        }
    }

    /// Reads one text with the defaults below its own.
    pub(super) fn text(&mut self, name: &str, text: String, below: &[Entry], base: Arc<Path>) -> Vec<Draft> {
        let needs_jobs = Path::new(name).file_name().is_none_or(|name| name != FOLDER_DEFAULTS);
        let Some(file) = self.parse(name, text, needs_jobs) else { return Vec::new() };
        let defaults = self.sound(file.defaults, &base);
        let context = FileContext { layers: &[&defaults, below], base };
        let before = self.report.diagnostics.len();
        let mut drafts = Vec::new();
        for node in &file.jobs {
            drafts.extend(self.build(node, &context));
            if self.report.diagnostics.len() - before > MOST_SAID {
                self.wrong((node.at, Diagnostic::error("and so on: no more of this file is judged")));
                break;
            }
        }
        drafts
    }

    fn parse(&mut self, name: &str, text: String, needs_jobs: bool) -> Option<keys::File> {
        let source = Source::new(name, text);
        self.sources.push(source.clone());
        #[expect(clippy::cast_possible_truncation, reason = "there are at most twice as many as files")]
        let number = (self.sources.len() - 1) as u32;
        let read = tree::read(&source.text, number).and_then(|root| match root {
            Some(root) => keys::file(&root, needs_jobs).map(Some),
            None if needs_jobs => {
                let at = At { source: number, start: 0, end: 0 };
                Err((
                    at,
                    Diagnostic::error("nothing in this file")
                        .hint("write `jobs:` and a list of jobs below it"),
                ))
            }
            None => Ok(None),
        });
        match read {
            Ok(file) => {
                if let Some(file) = file.as_ref().filter(|file| needs_jobs && file.jobs.is_empty()) {
                    self.wrong((file.at, warning("no jobs in this file")));
                }
                file
            }
            Err(located) => {
                self.wrong(located);
                None
            }
        }
    }

    /// Defaults whose values are right; the others are reported here, once, and no job takes them.
    fn sound(&mut self, mut defaults: Vec<Entry>, base: &Path) -> Vec<Entry> {
        defaults.retain(|entry| {
            let root = root(vec![entry.clone()], entry.at);
            let mut expander = Expander::new(self.environment, base);
            let value = value::expanded(&root.value, &mut expander);
            let problems = std::mem::take(&mut expander.wrong);
            if problems.is_empty() {
                return self.shaped::<Common>(shape::common(value), &root, "").is_some();
            }
            for located in problems {
                self.wrong(located);
            }
            false
        });
        defaults
    }

    /// Adds a mistake at its place.
    pub(super) fn wrong(&mut self, (at, mut diagnostic): Located) {
        diagnostic.place = self.place(at);
        self.report.diagnostics.push(diagnostic);
    }

    /// The place of a node; `None` for what was not read from a text.
    pub(super) fn place(&self, at: At) -> Option<Place> {
        let source = self.sources.get(at.source as usize)?.clone();
        // What is missing at the end of a text has a place of its own there, and no byte.
        let (start, end) = (at.start as usize, at.end as usize);
        let span = source.text.floor_char_boundary(start)..source.text.ceil_char_boundary(end);
        Some(Place { source, span })
    }

    /// `jobs/lan.yaml:7`, for messages that point at another job.
    pub(super) fn line_of(&self, at: At) -> String {
        self.place(at).map_or_else(
            || "command line".to_owned(),
            |place| format!("{}:{}", place.source.name, place.line_column().0),
        )
    }

    /// The place of a byte of a scalar's value, where the value stands in the text as it is.
    pub(super) fn inside(&self, at: At, offset: usize) -> At {
        let Some(place) = self.place(at) else { return at };
        let text = &place.source.text[place.span];
        let quote = usize::from(text.starts_with(['"', '\'']));
        let start = at.start as usize + quote + offset;
        let differs = text.contains(['\n', '\\', '$']) || quote == 1 && text.contains("''");
        let Some(rest) = place.source.text.get(start..at.end as usize).filter(|_| !differs) else {
            return at;
        };
        // The word that begins there, or one character where none does.
        let word = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let length = word.max(rest.chars().next().map_or(0, char::len_utf8));
        #[expect(clippy::cast_possible_truncation, reason = "a file has at most a mebibyte")]
        At { start: start as u32, end: (start + length) as u32, ..at }
    }

    /// Checks all jobs together, and sorts the report.
    pub(super) fn finish(mut self, drafts: Vec<Draft>) -> Loaded {
        let (jobs, left_out) = self.whole(drafts);
        self.report.sort();
        Loaded { jobs, left_out, report: self.report, ..Loaded::default() }
    }
}
