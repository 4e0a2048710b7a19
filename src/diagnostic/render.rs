//! How a report is shown: a line for people with the source line and a caret below it, or JSON for programs.
//!
//! Whatever a file holds, what is printed has no control characters but line ends: a job file cannot steer a terminal.

use std::{fmt::Write, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Place, Report, Severity};

/// Characters shown of a longer line.
const WIDTH: usize = 120;

impl Report {
    /// All diagnostics as text, in their order, an empty line between them.
    pub fn render(&self, color: bool) -> String {
        let texts: Vec<String> = self.diagnostics.iter().map(|one| one.render(color)).collect();
        texts.join("\n")
    }

    /// All diagnostics as a list of objects.
    pub fn to_json(&self) -> serde_json::Value {
        self.diagnostics.iter().map(Diagnostic::to_json).collect()
    }
}

impl Diagnostic {
    /// `file:line:column: message`, the source line with a caret, and the hint; each line ended.
    pub fn render(&self, color: bool) -> String {
        let (bold, plain) = if color { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
        let mut text = format!("{bold}{}", self.position_text());
        if self.severity == Severity::Warning {
            text.push_str("warning: ");
        }
        let _ = writeln!(text, "{}{plain}", clean(&self.message));
        if let Some(place) = self.place.as_ref().filter(|place| !place.source.text.is_empty()) {
            let _ = writeln!(text, "{}", snippet(place, color));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {}", clean(hint));
        }
        text
    }

    /// One object: severity, file, line, column, path, message, hint; what is not known is null.
    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place.as_ref();
        let known = place.filter(|place| !place.source.text.is_empty()).map(Place::line_column);
        serde_json::json!({
            "severity": if self.severity == Severity::Error { "error" } else { "warning" },
            "file": place.map(|place| place.source.name.as_str()),
            "line": known.map(|(line, _)| line),
            "column": known.map(|(_, column)| column),
            "path": (!self.path.is_empty()).then_some(&self.path),
            "message": self.message,
            "hint": self.hint,
        })
    }

    fn position_text(&self) -> String {
        match &self.place {
            Some(place) if place.source.text.is_empty() => format!("{}: ", clean(&place.source.name)),
            Some(place) => {
                let (line, column) = place.line_column();
                format!("{}:{line}:{column}: ", clean(&place.source.name))
            }
            None if self.path.is_empty() => String::new(),
            None => format!("{}: ", clean(&self.path)),
        }
    }
}

/// The source line and a caret below the part that is meant.
fn snippet(place: &Place, color: bool) -> String {
    let text = &place.source.text;
    let (number, line) = place.source.line(place.span.start.min(text.len()));
    let start = place.span.start.clamp(line.start, line.end) - line.start;
    let end = place.span.end.clamp(line.start + start, line.end) - line.start;
    let (shown, span) = window(&text[line], start..end);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let annotation = AnnotationKind::Primary.span(span);
    let snippet = Snippet::source(shown).line_start(number).annotation(annotation);
    let drawn = renderer.term_width(WIDTH + 40).render(&[Group::with_level(Level::ERROR).element(snippet)]);
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[1.min(lines.len())..].join("\n")
}

/// The part of a line around a span, at most `WIDTH` characters, made harmless, and where the span is in it.
fn window(line: &str, span: Range<usize>) -> (String, Range<usize>) {
    let is_short = line.chars().nth(WIDTH).is_none();
    let most = if is_short { WIDTH } else { WIDTH / 2 };
    let before: Vec<char> = line[..span.start].chars().rev().take(most).collect();
    let cut_before = before.iter().map(|c| c.len_utf8()).sum::<usize>() < span.start;
    let mut text = String::from(if cut_before { "…" } else { "" });
    text.extend(before.into_iter().rev().map(harmless));
    let start = text.len();
    text.extend(line[span.clone()].chars().take(most).map(harmless));
    let end = text.len();
    let room = WIDTH.saturating_sub(text.chars().count());
    let shown = line[span.clone()].chars().count().min(most);
    let mut rest = line[span.start..].chars().skip(shown);
    text.extend(rest.by_ref().take(room).map(harmless));
    if rest.next().is_some() {
        text.push('…');
    }
    (text, start..end)
}

/// A text without characters that a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(harmless).collect()
}

fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;

    fn report(text: &str, span: Range<usize>) -> Report {
        let place = Place { source: Source::new("jobs/lan.yaml", text), span };
        let diagnostic = Diagnostic::error("unknown field `prot` in `ping`").at(Some(place));
        Report { diagnostics: vec![diagnostic.hint("did you mean `port`?")] }
    }

    #[test]
    fn a_diagnostic_shows_place_line_caret_and_hint() {
        let text = report("jobs:\n  - ping: { prot: 1 }\n", 18..22).render(false);
        let wanted = "jobs/lan.yaml:2:13: unknown field `prot` in `ping`\n\
                      2 |   - ping: { prot: 1 }\n  |             ^^^^\nhint: did you mean `port`?\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn wide_characters_and_tabs_keep_the_caret_in_place() {
        let text = report("\t名: prot", 6..10).render(false);
        assert!(text.contains("1 |  名: prot\n  |      ^^^^\n"), "{text}");
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_caret() {
        let line = format!("{}prot{}", "a".repeat(500_000), "b".repeat(500_000));
        let text = report(&line, 500_000..500_004).render(false);
        assert!(text.len() < 500, "{}", text.len());
        assert!(text.contains("aaprotbb") && text.contains("jobs/lan.yaml:1:500001:"), "{text}");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let mut report = report("a: \u{1b}[31m\u{9b}2J\u{202e}x\r\0", 3..5);
        report.diagnostics[0].message = "\u{1b}]0;x\u{7}".into();
        report.diagnostics[0].hint = Some("\u{85}\n".into());
        let text = report.render(false);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 4, "{text:?}");
    }

    #[test]
    fn a_place_at_the_end_of_a_text_has_a_caret_too() {
        let text = report("jobs:\n", 6..6).render(false);
        assert!(text.starts_with("jobs/lan.yaml:2:1: "), "{text}");
        assert!(text.contains('^'), "{text}");
    }

    #[test]
    fn json_has_every_part() {
        let json = report("ping: x", 6..7).to_json();
        assert_eq!(json[0]["line"], 1);
        assert_eq!(json[0]["column"], 7);
        assert_eq!(json[0]["severity"], "error");
        assert_eq!(json[0]["hint"], "did you mean `port`?");
    }
}
