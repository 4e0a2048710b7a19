//! Files → jobs. The only folder that names the YAML libraries.
//!
//! ```text
//! read ─text─► tree ─located tree─► keys ─► merge, expand ─values─► shape (serde) ─► judge ─drafts─► whole ─► jobs
//! ```
//!
//! Each file reports its syntax error, each job its first error of shape, and all else that is wrong comes with them.
//! One tree lives at a time.

mod build;
mod circles;
mod expand;
mod identity;
mod judge;
mod keys;
mod loader;
mod merge;
mod node;
mod read;
mod seen;
mod shape;
mod syntax;
mod tree;
mod value;
mod whole;

use std::path::{Path, PathBuf};

pub use self::seen::Seen;
use self::{
    build::FileContext,
    loader::Loader,
    node::{Content, Entry, NOWHERE, Node},
    seen::Notes,
};
use super::Job;
use crate::diagnostic::{Diagnostic, Report};

/// What a job file may ask of the machine that it runs on.
pub struct Environment {
    /// The host's name, for `only_on`.
    pub host: String,
    /// The value of a variable, for `${VAR}`.
    pub variable: Lookup,
    /// What was read of it.
    notes: Notes,
}

/// Looks up a variable by its name.
pub type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Environment {
    /// A host's name and its variables.
    pub fn new(host: &str, variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { host: host.to_owned(), variable: Box::new(variable), notes: Notes::default() }
    }

    /// Those of this process. A variable that is not UTF-8 counts as not set.
    pub fn of_process() -> Self {
        let host =
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::new(&host, |name| std::env::var(name).ok())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What files came to. Jobs are of use only where the report has no errors.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of the files.
    pub jobs: Vec<Job>,
    /// Jobs that are disabled, or not for this host, or need such a one: name and why.
    pub left_out: Vec<(String, String)>,
    /// All that is wrong or worth a warning, sorted by file and place.
    pub report: Report,
    /// Which files were read.
    pub seen: Seen,
}

/// Loads files and folders.
pub fn load(paths: &[PathBuf], environment: &Environment) -> Loaded {
    let mut loader = Loader::new(environment);
    let files = match environment.notes.files(paths) {
        Ok(files) => files,
        Err(diagnostics) => {
            loader.report.diagnostics = diagnostics;
            return Loaded { seen: environment.notes.take(), ..loader.finish(Vec::new()) };
        }
    };
    let mut drafts = Vec::new();
    for path in files {
        match read::job_file(&path, &environment.notes) {
            Ok(text) => drafts.extend(loader.file(&path, text)),
            Err(diagnostic) => loader.report.diagnostics.push(diagnostic),
        }
    }
    Loaded { seen: environment.notes.take(), ..loader.finish(drafts) }
}

/// Loads texts that are no files, such as the embedded demo: pairs of a name and a text. Relative paths start at the
/// current folder.
pub fn load_texts(texts: &[(&str, &str)], environment: &Environment) -> Loaded {
    let mut loader = Loader::new(environment);
    let mut drafts = Vec::new();
    for (name, text) in texts {
        match read::text(Path::new(name), text.as_bytes().to_vec()) {
            Ok(text) => drafts.extend(loader.text(name, text, &[], Path::new("").into())),
            Err(diagnostic) => loader.report.diagnostics.push(diagnostic),
        }
    }
    loader.finish(drafts)
}

/// Makes one job of a command line: the kind's keys and the common keys as JSON objects. Its name is its kind, where none
/// is given. Diagnostics have a path, such as `connect_timeout` or `proxy_protocol.send`, and no place; beside a job they are
/// warnings.
pub fn load_ad_hoc(
    kind: &str,
    parameters: serde_json::Value,
    common: serde_json::Value,
    environment: &Environment,
) -> Result<(Job, Report), Report> {
    let mut loader = Loader::new(environment);
    let mut entries = value::from_json(common).entries().map(<[Entry]>::to_vec).unwrap_or_default();
    if node::find(&entries, "name").is_none() {
        let value = value::from_json(kind.into());
        entries.push(Entry { key: "name".into(), at: NOWHERE, value });
    }
    entries.push(Entry { key: kind.into(), at: NOWHERE, value: value::from_json(parameters) });
    let node = Node { at: NOWHERE, content: Content::Map(entries) };
    let context = FileContext { layers: &[], base: Path::new("").into() };
    let draft = loader.build(&node, &context);
    let mut set = loader.finish(draft.into_iter().collect());
    for (_, why) in set.left_out {
        set.report.diagnostics.push(Diagnostic::error(format!("the job is left out: {why}")));
    }
    match set.jobs.pop() {
        Some(job) if !set.report.has_errors() => Ok((job, set.report)),
        _ => Err(set.report),
    }
}
