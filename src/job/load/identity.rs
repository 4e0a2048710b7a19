//! A job's identity: a hash of name, kind and value tree that is the same on every machine and in every run.

use std::hash::Hasher;

use serde_yaml::{Mapping, Value};
use siphasher::sip::SipHasher13;

/// The hash of a kind and of a job's values, its name among them, after defaults, merges and expansions; the order of keys does not matter.
pub(super) fn of(kind: &str, common: &Value, parameters: &Value) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x006e_6574_6a6f_6273, 1);
    text(&mut hasher, kind);
    value(&mut hasher, common);
    value(&mut hasher, parameters);
    hasher.finish()
}

fn text(hasher: &mut SipHasher13, text: &str) {
    hasher.write(&(text.len() as u64).to_le_bytes());
    hasher.write(text.as_bytes());
}

fn value(hasher: &mut SipHasher13, tree: &Value) {
    match tree {
        Value::Null => hasher.write(b"n"),
        Value::Bool(flag) => hasher.write(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => {
            hasher.write(b"#");
            text(hasher, &number.to_string());
        }
        Value::String(string) => {
            hasher.write(b"s");
            text(hasher, string);
        }
        Value::Sequence(list) => {
            hasher.write(b"[");
            hasher.write(&(list.len() as u64).to_le_bytes());
            for entry in list {
                value(hasher, entry);
            }
        }
        Value::Mapping(map) => mapping(hasher, map),
        Value::Tagged(tagged) => value(hasher, &tagged.value),
    }
}

fn mapping(hasher: &mut SipHasher13, map: &Mapping) {
    hasher.write(b"{");
    hasher.write(&(map.len() as u64).to_le_bytes());
    let mut entries: Vec<(&str, &Value)> =
        map.iter().map(|(key, value)| (key.as_str().unwrap_or_default(), value)).collect();
    entries.sort_by_key(|(key, _)| *key);
    for (key, entry) in entries {
        text(hasher, key);
        value(hasher, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(common: &str, parameters: &str) -> u64 {
        let read = |text: &str| serde_yaml::from_str::<Value>(text).unwrap();
        of("ping", &read(common), &read(parameters))
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_every_value_does() {
        let job = identity("{ every: 10s, labels: { a: b } }", "{ host: x, count: 4 }");
        assert_eq!(job, identity("{ labels: { a: b }, every: 10s }", "{ count: 4, host: x }"));
        assert_ne!(job, identity("{ every: 10s, labels: { a: b } }", "{ host: x, count: 5 }"));
        assert_ne!(job, identity("{ every: 10s, labels: { a: b } }", "{ host: x, count: \"4\" }"));
        assert_ne!(identity("{}", "[a, b]"), identity("{}", "[ab]"));
        assert_ne!(identity("{}", "[b, a]"), identity("{}", "[a, b]"));
    }

    #[test]
    fn an_identity_is_the_same_in_every_version_of_the_program() {
        assert_eq!(identity("{ every: 10s }", "{ host: x }"), 7_790_191_915_999_982_769);
    }
}
