//! Reference texts: what a kind, a key of a kind or a common key means, out of its doc comment.

use std::fmt::Write;

use serde_json::Value;

use super::{SCHEMAS, properties, resolved, schema_at, walk};
use crate::{kind::KINDS, outcome::Unit};

/// Every path that `explain` knows: the kinds and their keys, then the common keys.
pub fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    let kinds = SCHEMAS.kinds.iter().map(|(name, schema)| (*name, schema));
    let common = SCHEMAS.common.iter().map(|(name, schema)| (name.as_str(), schema));
    for (name, schema) in kinds.chain(common) {
        walk(name, schema, &mut |path, _| paths.push(path.to_owned()));
    }
    paths
}

/// Every measurement as `KIND.MEASUREMENT`.
pub fn measurements() -> impl Iterator<Item = String> {
    KINDS.iter().flat_map(|facts| facts.measures.iter().map(|one| format!("{}.{}", facts.name, one.name)))
}

/// The reference text of `KIND`, `KIND.KEY`, a common key or `KIND.MEASUREMENT`, in lines that are ended; `None` where
/// there is no such path.
pub fn explain(path: &str) -> Option<String> {
    let measured = measured(path);
    match schema_at(path) {
        Some(schema) => {
            Some(keys(path, schema) + &measured.map(|text| format!("\n{text}")).unwrap_or_default())
        }
        None => Some(format!("{path}\n\n{}", measured?)),
    }
}

/// What a measurement means.
fn measured(path: &str) -> Option<String> {
    let (kind, name) = path.split_once('.')?;
    let facts = KINDS.iter().find(|facts| facts.name == kind)?;
    let measure = facts.measures.iter().find(|measure| measure.name == name)?;
    let own = measure.own.map(|own| format!(" Expected: `{own}`.")).unwrap_or_default();
    let unit = unit(measure.unit);
    Some(format!("Measures, as `expect` may name it ({unit}): {}{own}\n", measure.help))
}

/// What a kind or a key means.
fn keys(path: &str, schema: &Value) -> String {
    let mut text = format!("{path}\n\n");
    paragraph(&mut text, description(schema).unwrap_or_default());
    let examples = examples(schema);
    if !examples.is_empty() {
        let _ = writeln!(text, "\nWritten as: {}", examples.join(", "));
    }
    if let Some(properties) = properties(schema).filter(|keys| !keys.is_empty()) {
        text.push_str("\nKeys:\n");
        for (key, schema) in properties {
            let _ = writeln!(text, "  {key:<20} {}", first_sentence(description(schema).unwrap_or_default()));
        }
    }
    if let Some(facts) = KINDS.iter().find(|facts| facts.name == path) {
        if !facts.measures.is_empty() {
            text.push_str("\nMeasures, which `expect` may name:\n");
        }
        for measure in facts.measures {
            let own = measure.own.map(|own| format!(" Expected: `{own}`.")).unwrap_or_default();
            let name = format!("{} ({})", measure.name, unit(measure.unit));
            let _ = writeln!(text, "  {name:<24} {}{own}", measure.help);
        }
    }
    text
}

/// A sample of what stands at a path, such as `db.example.com` at `ping.host`; of a kind, its main key with one.
pub fn sample(path: &str) -> Option<String> {
    if let Some(facts) = KINDS.iter().find(|facts| facts.name == path) {
        let main = sample(&format!("{path}.{}", facts.main)).unwrap_or_else(|| "…".to_owned());
        return Some(if super::has_key(path, facts.main) {
            format!("{{ {}: {main} }}", facts.main)
        } else {
            "{}".to_owned()
        });
    }
    let schema = schema_at(path)?;
    let first = examples(schema).into_iter().next();
    first.or_else(|| {
        let required = resolved(schema).get("required").and_then(Value::as_array).into_iter().flatten();
        let mut keys: Vec<&str> = required.filter_map(Value::as_str).collect();
        if keys.is_empty() {
            keys.extend(properties(schema)?.keys().next().map(String::as_str));
        }
        let written = |key: &&str| Some(format!("{key}: {}", sample(&format!("{path}.{key}"))?));
        Some(format!("{{ {} }}", keys.iter().map(written).collect::<Option<Vec<_>>>()?.join(", ")))
    })
}

/// The key's own description, or that of its type.
fn description(schema: &Value) -> Option<&str> {
    let own = schema.get("description").or_else(|| resolved(schema).get("description"));
    own.and_then(Value::as_str)
}

/// Samples of a value as a file would write them.
fn examples(schema: &Value) -> Vec<String> {
    let schema = resolved(schema);
    let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut found: Vec<String> = list("examples").chain(list("enum")).map(written).collect();
    if found.is_empty() {
        found.extend(list("oneOf").filter_map(|one| one.get("const")).map(written));
    }
    if found.is_empty() {
        found.extend(list("anyOf").flat_map(examples));
    }
    found
}

fn written(value: &Value) -> String {
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !text.contains(": ")
            && !text.contains(['#', '{', '['])
    };
    match value {
        Value::String(text) if plain(text) => text.clone(),
        value => value.to_string(),
    }
}

fn first_sentence(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat.find(". ").map_or(flat.clone(), |end| flat[..=end].to_owned())
}

/// Joins the lines of a doc comment and breaks them anew at 100 characters; paragraphs stay.
fn paragraph(text: &mut String, doc: &str) {
    for (index, paragraph) in doc.split("\n\n").enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let mut width = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > 100 {
                text.push('\n');
                width = 0;
            } else if width > 0 {
                text.push(' ');
                width += 1;
            }
            text.push_str(word);
            width += length;
        }
        text.push('\n');
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "number",
        Unit::Seconds => "time",
        Unit::Bytes => "size",
        Unit::Ratio => "ratio",
        Unit::Flag => "flag",
        Unit::Word => "word",
    }
}
