//! Makes text harmless: no cursor control, no hidden direction, no new line, no endless length. Not HTML or XML, whose
//! sinks do their own on top.

use std::{borrow::Cow, fmt::Write as _};

use serde::{Serialize, Serializer};
use serde_json::Value;

/// So many characters of a text that a peer may have made are kept.
pub const PEER: usize = 256;
/// So many characters of a sentence of ours, which may quote a peer, are kept.
pub const SENTENCE: usize = 1024;

/// Whether a character could move a cursor, turn the direction of text or break a line.
pub fn is_risky(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with risky characters as `\u{1b}`, cut at so many characters.
pub fn clean(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && is_plain(text) {
        return Cow::Borrowed(text);
    }
    let end = text.char_indices().nth(limit).map(|(at, _)| at);
    let kept = &text[..end.unwrap_or(text.len())];
    if end.is_none() && !kept.contains(is_risky) {
        return Cow::Borrowed(kept);
    }
    let mut out = String::with_capacity(kept.len() + 8);
    for c in kept.chars() {
        if is_risky(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if end.is_some() {
        out.push('…');
    }
    Cow::Owned(out)
}

/// A peer's text, escaped and cut.
pub fn peer(text: &str) -> Cow<'_, str> {
    clean(text, PEER)
}

/// A sentence of ours, escaped and cut.
pub fn sentence(text: &str) -> Cow<'_, str> {
    clean(text, SENTENCE)
}

/// A value with every text in it escaped and cut, as it is serialized.
#[derive(Clone, Copy, Debug)]
pub struct Clean<'a>(pub &'a Value);

impl Serialize for Clean<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => serializer.serialize_str(&peer(text)),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Clean)),
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(key, value)| (peer(key), Clean(value))))
            }
            other => other.serialize(serializer),
        }
    }
}

/// One line of JSON in which every risky character stands as `\u009b`: nothing is lost, and no terminal obeys it.
pub fn json_line(value: &Value) -> String {
    safe(value.to_string())
}

/// The same of what is JSON already.
pub fn safe(line: String) -> String {
    if is_plain(&line) || !line.contains(is_risky) {
        return line;
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_risky(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether a text is of printable ASCII alone: quickly told, and nothing in it is risky.
fn is_plain(text: &str) -> bool {
    // To the end in any case: so many bytes are looked at in one step.
    text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_bytes_are_escaped_and_cut_at_256_characters() {
        assert_eq!(peer("plain äöü"), "plain äöü");
        assert_eq!(peer("a\u{1b}[2J\r\n\u{9b}\u{202e}"), "a\\u{1b}[2J\\u{d}\\u{a}\\u{9b}\\u{202e}");
        let long = peer(&"é".repeat(65_536)).into_owned();
        assert_eq!(long, format!("{}…", "é".repeat(PEER)));
        assert_eq!(peer(&"é".repeat(PEER)).chars().count(), PEER, "what fits is not cut");
    }

    #[test]
    fn a_json_line_keeps_every_character_and_shows_no_risky_one() {
        let text = "q\" b\\ \n \u{1b}[31m \u{7f} \u{9b} \u{2028} \u{202e} \u{fffd} é";
        let line = json_line(&Value::from(text));
        assert!(!line.contains(is_risky), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    #[test]
    fn a_record_is_cleaned_to_its_leaves() {
        let value = serde_json::json!({ "a": ["\u{1b}", { "b\n": "c" }, 1, null] });
        let cleaned = serde_json::to_value(Clean(&value)).unwrap();
        assert_eq!(cleaned, serde_json::json!({ "a": ["\\u{1b}", { "b\\u{a}": "c" }, 1, null] }));
    }
}
