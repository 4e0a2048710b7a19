//! What the author of a job file is told: where, what, and what to write instead. Not for findings about the network.

use std::{ops::Range, sync::Arc};

/// A text that was read, with the name under which its author knows it.
#[derive(Debug)]
pub struct Source {
    /// The path as it was given, or `command line`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A part of a source, in bytes.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it stands.
    pub source: Arc<Source>,
    /// Bytes from the start of the text; may be empty at its end.
    pub span: Range<usize>,
}

impl Place {
    /// Line and column of the start, both from 1; columns count characters.
    pub fn line_column(&self) -> (usize, usize) {
        let start = self.span.start.min(self.source.text.len());
        let before = &self.source.text.as_bytes()[..start];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        (line, column)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The files cannot be run.
    Error,
    /// They can, and their author should know.
    Warning,
}

/// One mistake or warning.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The path below the job's kind, such as `to[1]`, until the loader has found its place.
    pub path: String,
    /// Where it stands, once known.
    pub place: Option<Place>,
    /// What is wrong, a sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// All that was found wrong, collected in one go.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order found; the loader sorts them by place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Adds an error at a path below the job's kind.
    pub fn error(&mut self, path: impl Into<String>, message: impl Into<String>, hint: Option<&str>) {
        self.push(Severity::Error, path.into(), message.into(), hint);
    }

    /// Adds a warning at a path below the job's kind.
    pub fn warning(&mut self, path: impl Into<String>, message: impl Into<String>, hint: Option<&str>) {
        self.push(Severity::Warning, path.into(), message.into(), hint);
    }

    /// Says that a key is part of the dialect and does nothing yet, so that it is refused and never ignored.
    pub fn not_yet(&mut self, path: impl Into<String>) {
        let path = path.into();
        let message = format!("`{path}` does nothing yet");
        self.error(path, message, Some("leave it out; a later version will take it"));
    }

    /// Whether anything here keeps the files from being run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    fn push(&mut self, severity: Severity, path: String, message: String, hint: Option<&str>) {
        self.diagnostics.push(Diagnostic {
            severity,
            path,
            place: None,
            message,
            hint: hint.map(str::to_owned),
        });
    }
}
