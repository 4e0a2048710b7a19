//! Syntax errors in the words of somebody who writes job files: what stands there, and that it wants quotes.

use granit_parser::{ErrorKind, ScanError};

use super::{node::At, tree::Located};
use crate::diagnostic::Diagnostic;

/// What a plain scalar is, where it is not text.
pub(super) fn sort_of_plain(text: &str) -> Option<&'static str> {
    match super::value::plain(text) {
        serde_yaml::Value::Null => Some("nothing"),
        serde_yaml::Value::Bool(_) => Some("a flag"),
        serde_yaml::Value::Number(_) => Some("a number"),
        _ => None,
    }
}

/// The error for what is nested too deep.
pub(super) fn too_deep() -> Diagnostic {
    Diagnostic::error("nested deeper than 64 levels").hint("job files need about six")
}

/// The parser's error as a place, a message and a hint.
pub(super) fn explain(text: &str, source: u32, error: &ScanError) -> Located {
    let byte = error.marker().byte_offset().unwrap_or_default().min(text.len());
    let byte = (0..=byte).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let kind = error.kind();
    if *kind == ErrorKind::RecursionLimitExceeded {
        return (at(source, byte, 1, text), too_deep());
    }
    if let Some(tab) = is_tab(kind).then(|| tab(text, byte)).flatten() {
        let diagnostic = Diagnostic::error("a tab in the indentation").hint("indent with spaces");
        return (at(source, tab, 1, text), diagnostic);
    }
    let (byte, hint) = match suspect(text, byte) {
        Some((byte, hint)) => (byte, hint),
        None => (byte, general(kind).to_owned()),
    };
    let message = match kind {
        ErrorKind::UnknownAnchor => "the alias names an anchor that is not there".to_owned(),
        kind => format!("this is not YAML: {kind}"),
    };
    (at(source, byte, 1, text), Diagnostic::error(message).hint(hint))
}

fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabNotAllowed
            | ErrorKind::TabInPlainScalar
    )
}

/// The first tab that indents a line, from the line of an error on.
fn tab(text: &str, byte: usize) -> Option<usize> {
    let first = text[..byte].rfind('\n').map_or(0, |at| at + 1);
    let mut start = first;
    for line in text[first..].split_inclusive('\n').take(3) {
        let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        if let Some(at) = indentation.find('\t') {
            return Some(start + at);
        }
        start += line.len();
    }
    None
}

/// The value on the line of an error that begins with a sign which means something else in YAML.
fn suspect(text: &str, byte: usize) -> Option<(usize, String)> {
    let before = text[..byte].trim_end();
    for end in [byte, before.len()] {
        let start = text[..end].rfind('\n').map_or(0, |at| at + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let values = line.char_indices().filter(|(at, _)| {
            let before = line[..*at].trim_end_matches(' ');
            before.len() < *at && before.ends_with([':', '-', ',', '[', '{'])
                || line[..*at].ends_with(['[', '{', ','])
        });
        for (at, c) in values {
            let rest = &line[at..];
            let name = match c {
                '$' if rest.starts_with("${") => "${",
                '[' if rest.contains("]:") => "[",
                '@' => "@",
                '*' => "*",
                '%' => "%",
                '>' if !rest.trim_end_matches(|c: char| c.is_ascii_digit() || "+-".contains(c)).eq(">") => {
                    ">"
                }
                '!' => "!",
                '&' => "&",
                '`' => "`",
                _ => continue,
            };
            let sample = sample(rest);
            return Some((start + at, format!("quote a value that begins with `{name}`: `\"{sample}\"`")));
        }
    }
    None
}

/// The value as far as it probably goes.
fn sample(rest: &str) -> String {
    let end = match rest.find('}') {
        Some(brace) if rest.starts_with("${") => brace + 1,
        _ if rest.starts_with('[') => rest.find([',', '}', '#', '"']).unwrap_or(rest.len()),
        _ => rest.find([',', ']', '}', '#', '"']).unwrap_or(rest.len()),
    };
    rest[..end].trim_end().chars().take(40).collect()
}

fn general(kind: &ErrorKind) -> &'static str {
    match kind {
        _ if is_tab(kind) => "write spaces instead of tabs",
        ErrorKind::BomInsideDocument => "take the byte-order mark out",
        ErrorKind::ExpectedFlowMappingSeparator => "write `,` between entries and `}` at the end",
        ErrorKind::ExpectedFlowSequenceSeparator | ErrorKind::InvalidColonPlacement => {
            "write `,` between entries and `]` at the end; quote a value with a colon in it"
        }
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::UnclosedFlowCollection { open: '[' } | ErrorKind::UnexpectedEofFlowSequence => {
            "close it with `]`"
        }
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::UnexpectedEofFlowMapping => "close it with `}`",
        ErrorKind::MappingValueNotAllowed => {
            "quote a value that has `: ` in it; put each key on its own line"
        }
        ErrorKind::UnknownQuotedScalarEscape => "write `\\\\` for a backslash, or use single quotes",
        _ => "look at the indentation and the quotes here and on the line above",
    }
}

fn at(source: u32, byte: usize, length: usize, text: &str) -> At {
    let length = text[byte..].chars().take(length).map(char::len_utf8).sum::<usize>();
    #[expect(clippy::cast_possible_truncation, reason = "a file has at most a mebibyte")]
    At { source, start: byte as u32, end: (byte + length) as u32 }
}
