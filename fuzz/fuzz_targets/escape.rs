//! Texts of peers in records and sentences: short, on one line, and without anything that steers a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netjobs::sink::escape::{Clean, clean, is_risky, json_line};

fuzz_target!(|input: (u8, &[u8])| {
    let (limit, bytes) = (usize::from(input.0), input.1);
    let text = String::from_utf8_lossy(bytes);
    let cleaned = clean(&text, limit);
    assert!(!cleaned.contains(is_risky) && !cleaned.contains(char::is_control), "{cleaned:?}");
    // A risky character becomes ten at most, such as `\u{10fffe}`.
    assert!(cleaned.chars().count() <= 10 * limit + 1);
    if text.chars().count() <= limit && !text.contains(is_risky) {
        assert_eq!(cleaned, text);
    }
    let value = serde_json::json!({ text.clone(): [text] });
    let cleaned = serde_json::to_value(Clean(&value)).expect("what is cleaned is JSON");
    let line = json_line(&cleaned);
    assert!(!line.contains(is_risky), "{line:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).ok(), Some(cleaned));
});
