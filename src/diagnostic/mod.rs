//! What the author of a job file is told: where, what, and what to write instead. Not for findings about the network.

mod render;

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

/// A text that was read, with the name under which its author knows it.
#[derive(Debug)]
pub struct Source {
    /// The path as it was given, or `command line`.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Where each line starts, found at the first question.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// A text under a name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// The line of a byte, from 1, and the bytes of that line without its end.
    pub fn line(&self, byte: usize) -> (usize, Range<usize>) {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        });
        let line = lines.partition_point(|start| *start <= byte).max(1);
        let start = lines[line - 1];
        let end = lines.get(line).map_or(self.text.len(), |next| next - 1);
        (line, start..start + self.text[start..end].trim_end_matches('\r').len())
    }
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
        let (line, bytes) = self.source.line(start);
        let before = &self.source.text.as_bytes()[bytes.start..start.max(bytes.start)];
        (line, before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1)
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
    /// The path below the job's kind, such as `to[1]`, or a common key; empty where no key is meant.
    pub path: String,
    /// Where it stands, once known. A source without text stands for a file that could not be read.
    pub place: Option<Place>,
    /// What is wrong, a sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: String::new(),
            place: None,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// Source, start, end: what two diagnostics about the same thing have in common.
    fn position(&self) -> (&str, usize, usize) {
        match &self.place {
            Some(place) => (&place.source.name, place.span.start, place.span.end),
            None => ("", 0, 0),
        }
    }
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

    /// Whether anything here keeps the files from being run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Sorts by file and place, and drops what was said twice of the same place (a default that many jobs take).
    pub fn sort(&mut self) {
        self.diagnostics
            .sort_by(|a, b| a.position().cmp(&b.position()).then_with(|| a.message.cmp(&b.message)));
        self.diagnostics
            .dedup_by(|a, b| a.place.is_some() && a.position() == b.position() && a.message == b.message);
    }

    fn push(&mut self, severity: Severity, path: String, message: String, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.diagnostics.push(Diagnostic { severity, path, place: None, message, hint });
    }
}

/// The word of a list that was probably meant.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&word, other);
    let close = |(far, other): &(usize, &str)| *far <= 1 + other.len() / 5 && *far < other.len().max(2);
    let words = known.into_iter().filter(|other| other.len().abs_diff(word.len()) < 8);
    words
        .map(|other| (distance(other), other))
        .filter(close)
        .min_by_key(|(far, _)| *far)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, byte: usize, expected: (usize, usize)) {
        let source = Source::new("a.yaml", text);
        assert_eq!(Place { source, span: byte..byte }.line_column(), expected);
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        check("", 0, (1, 1));
        check("ab\ncd", 1, (1, 2));
        check("ab\ncd", 3, (2, 1));
        check("äö: x\r\ny", 4, (1, 3));
        check("äö: x\r\ny", 9, (2, 1));
        check("ab\n", 3, (2, 1));
        check("ab", 99, (1, 3));
    }

    #[test]
    fn the_near_word_is_found_and_a_far_one_is_not_guessed() {
        let words = ["forward", "ping", "port", "every"];
        assert_eq!(near("prot", words), Some("port"));
        assert_eq!(near("pign", words), Some("ping"));
        assert_eq!(near("Every", words), Some("every"));
        assert_eq!(near("quux", words), None);
        assert_eq!(near("", ["up"]), None);
    }
}
