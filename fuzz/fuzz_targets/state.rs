//! Files of state: what is read is what was written, down to the last byte; damage, cuts and strangers' files are told.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use netjobs::state::file::{Content, seal, unseal};
use serde_json::{Value, json};

fuzz_target!(|input: (u64, &str, &str)| {
    let (saved, kind, text) = input;
    // Whatever it holds, a text that was not sealed says nothing.
    if let Ok(content) = unseal(text) {
        assert_eq!(seal(&content), text, "a text that is read is one that was written");
    }
    // A float may be another in its last bit once it was printed and read.
    let value = serde_json::from_str(text).ok().filter(|value| !has_float(value));
    let value = value.unwrap_or_else(|| json!({ "text": text }));
    let saved = SystemTime::UNIX_EPOCH + Duration::from_millis(saved >> 16);
    let sealed = seal(&Content { kind: kind.to_owned(), saved, value: value.clone() });
    let content = unseal(&sealed).expect("what was sealed is read");
    assert_eq!((content.kind.as_str(), content.saved, &content.value), (kind, saved, &value));
    // One damage: a byte of the text, where it stays a text.
    let at = text.len() % sealed.len();
    let mut damaged = sealed.clone().into_bytes();
    damaged[at] ^= 1;
    assert!(
        String::from_utf8(damaged).is_ok_and(|damaged| unseal(&damaged).is_err())
            || !sealed.is_char_boundary(at)
    );
    assert!(sealed.get(..at).is_none_or(|cut| unseal(cut).is_err()));
});

fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(list) => list.iter().any(has_float),
        Value::Object(entries) => entries.values().any(has_float),
        _ => false,
    }
}
