//! Located tree → values that serde reads: plain scalars get their sort, `${…}` is expanded.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::{
    expand::Expander,
    node::{Content, Entry, NOWHERE, Node},
};

/// What a plain scalar means. Only what can be something else than text is asked of the YAML library, since most is not.
pub(super) fn plain(text: &str) -> Value {
    let other = may_be_other(text).then(|| serde_yaml::from_str::<Value>(text).ok()).flatten();
    match other {
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Whether a plain scalar has the look of a number, a flag or nothing.
fn may_be_other(text: &str) -> bool {
    let of_number = |byte: u8| byte.is_ascii_hexdigit() || b"+-.xoinXOIN".contains(&byte);
    match text.bytes().next() {
        None | Some(b'~') => true,
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => {
            text.bytes().all(of_number) && text.bytes().filter(|byte| *byte == b'.').count() <= 1
        }
        Some(b'n' | b'N' | b't' | b'T' | b'f' | b'F') => text.len() <= 5,
        Some(_) => false,
    }
}

/// The value of a node with everything expanded; mistakes go to the expander.
pub(super) fn expanded(node: &Node, expander: &mut Expander<'_>) -> Value {
    match &node.content {
        Content::Plain(text) | Content::Text(text) if text.contains('$') => {
            Value::String(expander.expand(text, node.at))
        }
        Content::Plain(text) => plain(text),
        Content::Text(text) => Value::String(text.to_string()),
        Content::List(list) => {
            let entries = list.iter().enumerate().map(|(index, node)| {
                expander.below(&format!("[{index}]"), |expander| expanded(node, expander))
            });
            Value::Sequence(entries.collect())
        }
        Content::Map(entries) => {
            let mut mapping = Mapping::with_capacity(entries.len());
            for entry in entries {
                let value = expander.below(&entry.key, |expander| expanded(&entry.value, expander));
                let key = if entry.key.contains('$') {
                    expander.expand(&entry.key, entry.at)
                } else {
                    entry.key.to_string()
                };
                if mapping.contains_key(key.as_str()) {
                    expander.twice(&key, entry.at);
                }
                mapping.insert(Value::String(key), value);
            }
            Value::Mapping(mapping)
        }
    }
}

/// The tree of a JSON value, which stands nowhere; what is nothing is left out of objects.
pub(super) fn from_json(json: serde_json::Value) -> Rc<Node> {
    use serde_json::Value as Json;
    let content = match json {
        Json::String(text) => Content::Text(text.into()),
        Json::Array(list) => Content::List(list.into_iter().map(from_json).collect()),
        Json::Object(map) => {
            let entries = map.into_iter().filter(|(_, value)| !value.is_null());
            let entry = |(key, value): (String, Json)| Entry {
                key: key.into(),
                at: NOWHERE,
                value: from_json(value),
            };
            Content::Map(entries.map(entry).collect())
        }
        plain => Content::Plain(plain.to_string().into()),
    };
    Rc::new(Node { at: NOWHERE, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cut_says_what_the_library_says() {
        let words = [
            "",
            "~",
            "null",
            "Null",
            "NULL",
            "none",
            "true",
            "True",
            "TRUE",
            "tRue",
            "false",
            "False",
            "no",
            "NO",
            "yes",
            "on",
            "n",
            "t",
            "f",
            "0",
            "-0",
            "+1",
            "12",
            "012",
            "-012",
            "0x1F",
            "0o17",
            "0b11",
            "1_000",
            "1.5",
            "-1.5",
            "1.",
            ".5",
            "1e3",
            "1E-3",
            "+1.5e+3",
            ".inf",
            "-.inf",
            "+.INF",
            ".nan",
            ".NaN",
            "inf",
            "nan",
            "10s",
            "22:22",
            "10.0.0.1",
            "1.2.3",
            "64KiB",
            "5%",
            "2030-01-31",
            "18446744073709551615",
            "-9223372036854775808",
            "a",
            "+",
            "-",
            ".",
            "-.",
            "0x",
            "0xg",
            "1e",
            "--1",
            "+-1",
        ];
        for word in words {
            let said = serde_yaml::from_str::<Value>(word).unwrap_or(Value::Null);
            let wanted =
                if said.is_sequence() || said.is_mapping() { Value::String(word.into()) } else { said };
            assert_eq!(format!("{:?}", plain(word)), format!("{wanted:?}"), "{word}");
        }
    }
}
