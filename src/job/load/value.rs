//! Located tree → values that serde reads: plain scalars get their sort, `${…}` is expanded.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::{
    expand::Expander,
    node::{Content, Entry, NOWHERE, Node},
};

/// What a plain scalar means. Only what can be something else than text is asked of the YAML library.
pub(super) fn plain(text: &str) -> Value {
    let may_be_other = match text.bytes().next() {
        None | Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'~') => true,
        Some(b'n' | b'N' | b't' | b'T' | b'f' | b'F') => text.len() <= 5,
        Some(_) => false,
    };
    let other = may_be_other.then(|| serde_yaml::from_str::<Value>(text).ok()).flatten();
    match other {
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::String(text.to_owned()),
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
                mapping.insert(Value::String(entry.key.to_string()), value);
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
