//! Values → specs through serde, and serde's errors in the words of somebody who writes job files.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use serde_yaml::Value;

use super::node::{Content, Entry, Node, Step, follow};
use crate::{
    diagnostic::{Diagnostic, near},
    job::schema,
    kind::Spec,
    value::Wrong,
};

/// A mistake below an entry, not placed yet.
#[derive(Debug)]
pub(super) struct Misshapen {
    pub(super) steps: Vec<Step>,
    text: String,
}

/// Reads a map of common keys.
pub(super) fn common<T: DeserializeOwned>(value: Value) -> Result<T, Misshapen> {
    serde_path_to_error::deserialize(value).map_err(misshapen)
}

/// Reads the parameters of a kind.
pub(super) fn spec(kind: &str, value: Value) -> Result<Spec, Misshapen> {
    let mut track = serde_path_to_error::Track::new();
    let read = Spec::read(kind, serde_path_to_error::Deserializer::new(value, &mut track));
    match read {
        Some(Ok(spec)) => Ok(spec),
        Some(Err(error)) => Err(Misshapen { steps: steps(&track.path()), text: error.to_string() }),
        None => Err(Misshapen { steps: Vec::new(), text: format!("`{kind}` is no kind") }),
    }
}

fn misshapen(error: serde_path_to_error::Error<serde_yaml::Error>) -> Misshapen {
    Misshapen { steps: steps(error.path()), text: error.into_inner().to_string() }
}

fn steps(path: &Path) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

/// The steps as a diagnostic's path: `expect.loss[0]`.
pub(super) fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
            Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
        }
    }
    path
}

impl Misshapen {
    /// The diagnostic for a mistake below `entry`, and the node or key where it stands.
    pub(super) fn explain(&self, entry: &Entry, owner: &str) -> (super::node::At, Diagnostic, Option<usize>) {
        let (holder, node) = follow(entry, &self.steps);
        if let Some(found) =
            self.unknown_field(entry, owner).or_else(|| self.missing_field(holder, node, owner))
        {
            return (found.0, found.1, None);
        }
        let secret = node.scalar().is_some_and(|text| text.contains("${file:"));
        let wrong = Wrong::from_serde(&self.text);
        let keys = self.steps.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let keys: Vec<&str> = Some(owner).filter(|owner| !owner.is_empty()).into_iter().chain(keys).collect();
        let (message, hint) = match invalid_type(&wrong.message, node, &keys.join(".")) {
            _ if secret => ("what the file holds is not right here".to_owned(), wrong.hint),
            Some((message, hint)) => (message, hint),
            None => match unknown_variant(&wrong.message) {
                Some((message, hint)) => (message, Some(hint)),
                None => (wrong.message, wrong.hint),
            },
        };
        let mut diagnostic = Diagnostic::error(message);
        diagnostic.hint = hint;
        (node.at, diagnostic, wrong.offset)
    }

    /// ``unknown field `x`, expected `a` or `b` ``: stands at the key.
    fn unknown_field(&self, entry: &Entry, owner: &str) -> Option<(super::node::At, Diagnostic)> {
        let rest = self.text.strip_prefix("unknown field `")?;
        let (key, rest) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are "))?;
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let parents = &self.steps[..self.steps.len().saturating_sub(1)];
        let (_, map) = follow(entry, parents);
        let at = map
            .entries()
            .and_then(|entries| super::node::find(entries, key))
            .map_or(map.at, |entry| entry.at);
        let mut below = vec![Step::Key(owner.to_owned())];
        below.extend(parents.iter().filter(|step| matches!(step, Step::Key(_))).cloned());
        let owner = path(if owner.is_empty() { &below[1..] } else { &below });
        let hint = match near(key, known.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None if schema::is_common(key) && parents.is_empty() => {
                format!("`{key}` stands beside `{owner}`")
            }
            None if known.is_empty() => format!("`{owner}` takes no keys"),
            None => format!("the keys of `{owner}` are {}", list(&known)),
        };
        Some((
            at,
            Diagnostic::error(format!("unknown field `{}` in `{owner}`", key.escape_debug())).hint(hint),
        ))
    }

    /// ``missing field `x` ``: stands at the key that holds the map.
    fn missing_field(
        &self,
        holder: &Entry,
        node: &Node,
        owner: &str,
    ) -> Option<(super::node::At, Diagnostic)> {
        let key = self.text.strip_prefix("missing field `")?.split('`').next()?;
        let mut steps = self.steps.clone();
        steps.insert(0, Step::Key(owner.to_owned()));
        let owner = path(if owner.is_empty() { &steps[1..] } else { &steps });
        let at = if std::ptr::eq(Rc::as_ptr(&holder.value), node) { holder.at } else { node.at };
        let sample = schema::sample(&format!("{owner}.{key}")).unwrap_or_else(|| "…".into());
        let hint = format!("add `{key}: {sample}`");
        Some((at, Diagnostic::error(format!("`{owner}` needs `{key}`")).hint(hint)))
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// ``unknown variant `x`, expected one of `a`, `b` ``.
fn unknown_variant(text: &str) -> Option<(String, String)> {
    let (word, rest) = text.strip_prefix("unknown variant `")?.rsplit_once("`, expected ")?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let hint = match near(word, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of {}", list(&known)),
    };
    Some((format!("`{}` is not one of {}", word.escape_debug(), list(&known)), hint))
}

/// ``invalid type: integer `10`, expected a host name``.
fn invalid_type(text: &str, node: &Node, path: &str) -> Option<(String, Option<String>)> {
    let (found, expected) = text.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let (wanted, sample) = match expected.split_once(", such as ") {
        Some((wanted, sample)) => (wanted, Some(sample.trim_matches('"'))),
        None => (expected, None),
    };
    let wanted = match wanted {
        _ if wanted.starts_with("struct ") => "a map of keys",
        "a sequence" => "a list",
        "a string" | "string" => "a text",
        _ if wanted.contains("agged") || wanted.contains("tag ") => "a word",
        wanted => wanted,
    };
    let written = node.scalar().unwrap_or_default();
    let short: String = written.chars().take(40).collect();
    let what = match (&node.content, found.split(' ').next()) {
        (Content::List(_), _) => "a list".to_owned(),
        (Content::Map(_), _) => "a map".to_owned(),
        (_, Some("integer" | "floating")) => format!("`{short}` is a number"),
        (_, Some("boolean")) => format!("`{short}` is a flag"),
        _ => format!("`{}`", short.escape_debug()),
    };
    let is_plain = matches!(node.content, Content::Plain(_));
    let key = path.rsplit('.').next().unwrap_or_default();
    let known = || schema::sample(path).map(|sample| format!("write `{key}: {sample}`"));
    let hint = match wanted {
        "a list" if node.scalar().is_some() => Some(format!("write `[{short}]`")),
        "a word" | "a map of keys" => known(),
        "one value or a list of them" => Some("write one value, or a list such as `[one, two]`".to_owned()),
        wanted if is_plain && (wanted.contains("unit") || wanted.contains("second")) => {
            sample.map(|sample| format!("write a number and a unit, such as `{sample}`"))
        }
        wanted if is_plain && wanted.contains("endpoint") => {
            sample.map(|sample| format!("write a host too, such as `{sample}`"))
        }
        wanted if is_plain && !wanted.contains("map") => Some(format!("write `\"{short}\"`")),
        _ => sample.map(|sample| format!("write it as `{sample}`")).or_else(known).or_else(|| {
            let sample = match wanted {
                "a text" => "one text",
                _ if wanted.contains("map") => "keys and values, such as `{ site: lab }`",
                _ => return None,
            };
            Some(format!("write {sample}"))
        }),
    };
    Some((format!("{what} where {wanted} is wanted"), hint))
}
