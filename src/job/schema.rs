//! The dialect as a JSON schema and as reference texts, both out of the specs' own doc comments. Knows no YAML.

mod explain;

use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::common::{Common, OF_DEFAULTS, OF_SERVICES};
use crate::{
    kind::KINDS,
    value::{Payload, Want},
};

pub use explain::{explain, measurements, paths, sample};

/// Schemas of the common keys and of each kind, and the definitions that they refer to.
struct Schemas {
    common: Map<String, Value>,
    kinds: Vec<(&'static str, Value)>,
    definitions: Map<String, Value>,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let common = value(generator.subschema_for::<Common>());
    let kinds = KINDS.iter().map(|facts| (facts.name, value((facts.schema)(&mut generator)))).collect();
    let mut definitions = generator.take_definitions(true);
    let name = definition(&common).unwrap_or_default().to_owned();
    let common = definitions.remove(&name).unwrap_or(common);
    let common = common.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let common = common.into_iter().map(|(key, schema)| (key, without_null(schema))).collect();
    let definitions = definitions.into_iter().map(|(name, schema)| (name, without_null(schema))).collect();
    Schemas { common, kinds, definitions }
});

fn value(schema: Schema) -> Value {
    schema.to_value()
}

/// The name in a reference to a definition.
fn definition(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// The schema that a reference stands for.
fn resolved(schema: &Value) -> &Value {
    definition(schema).and_then(|name| SCHEMAS.definitions.get(name)).unwrap_or(schema)
}

/// A key may be left out, and what is nothing is refused: `null` goes from every schema, at any depth.
fn without_null(mut schema: Value) -> Value {
    match &mut schema {
        Value::Array(list) => list.iter_mut().for_each(|entry| *entry = without_null(entry.take())),
        Value::Object(map) => {
            for (_, entry) in map.iter_mut() {
                *entry = without_null(entry.take());
            }
            strip_null(map);
        }
        _ => {}
    }
    schema
}

fn strip_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|word| word != "null");
        if let [word] = types.as_slice() {
            let word = word.clone();
            map.insert("type".into(), word);
        }
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    let Some(Value::Array(any)) = map.get_mut("anyOf") else { return };
    any.retain(|schema| schema != &json!({ "type": "null" }));
    if any.len() == 1
        && let Some(Value::Object(only)) = any.pop()
    {
        map.remove("anyOf");
        for (key, entry) in only {
            map.entry(key).or_insert(entry);
        }
    }
}

/// Whether a key is one of the common ones.
pub fn is_common(key: &str) -> bool {
    SCHEMAS.common.contains_key(key)
}

/// The common keys, in the order of the manual.
pub fn common_keys() -> impl Iterator<Item = &'static str> + Clone {
    SCHEMAS.common.keys().map(String::as_str)
}

/// Whether a kind has a key.
pub fn has_key(kind: &str, key: &str) -> bool {
    schema_at(&format!("{kind}.{key}")).is_some()
}

/// The schema at `KIND`, `KIND.KEY`, `KIND.KEY.KEY` or a common key.
fn schema_at(path: &str) -> Option<&'static Value> {
    let mut keys = path.split('.');
    let first = keys.next()?;
    let kind = SCHEMAS.kinds.iter().find(|(name, _)| *name == first).map(|(_, schema)| schema);
    let mut schema = kind.or_else(|| SCHEMAS.common.get(first))?;
    for key in keys {
        schema = properties(schema)?.get(key)?;
    }
    Some(schema)
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    resolved(schema).get("properties")?.as_object()
}

/// The keys whose values are secrets, such as `exchange.send`.
pub fn secrets() -> &'static [String] {
    static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut found = Vec::new();
        for (name, schema) in &SCHEMAS.kinds {
            walk(name, schema, &mut |path, schema| {
                if is_secret(schema) {
                    found.push(path.to_owned());
                }
            });
        }
        found
    });
    &SECRETS
}

fn is_secret(schema: &Value) -> bool {
    let words = [Payload::schema_name(), Want::schema_name()];
    definition(schema).is_some_and(|name| words.iter().any(|word| word == name))
}

/// Visits a schema and those of its keys, at any depth.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (key, below) in properties(schema).into_iter().flatten() {
        walk(&format!("{path}.{key}"), below, visit);
    }
}

/// The schema of a whole job file.
pub fn job_file() -> Value {
    let subset = |keys: &[&str]| -> Map<String, Value> {
        let known = SCHEMAS.common.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        known.map(|(key, schema)| (key.clone(), schema.clone())).collect()
    };
    let mut keys = SCHEMAS.common.clone();
    keys.extend(SCHEMAS.kinds.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    let one_kind: Vec<Value> = SCHEMAS.kinds.iter().map(|(name, _)| json!({ "required": [name] })).collect();
    let mut refused = Map::new();
    for facts in KINDS {
        let refused_key =
            |key: &&str| if facts.service { !OF_SERVICES.contains(key) } else { *key == "open" };
        let others = common_keys().filter(refused_key);
        let others: Map<String, Value> = others.map(|key| (key.to_owned(), Value::Bool(false))).collect();
        refused.insert(facts.name.to_owned(), json!({ "properties": others }));
    }
    let mut definitions = SCHEMAS.definitions.clone();
    definitions.insert(
        "Job".to_owned(),
        json!({
            "description": "A job: a name, exactly one kind, and the common keys.",
            "type": "object",
            "properties": keys,
            "required": ["name"],
            "oneOf": one_kind,
            "dependentSchemas": refused,
            "not": { "required": ["every", "cron"] },
            "additionalProperties": false,
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "netjobs job file",
        "description": "Network jobs, and defaults for those of this file.",
        "type": "object",
        "properties": {
            "defaults": {
                "description": "Common keys of all jobs of this file; in `netjobs.yaml`, of all files of its folder.",
                "type": "object",
                "properties": subset(OF_DEFAULTS),
                "additionalProperties": false,
            },
            "jobs": { "description": "The jobs.", "type": "array", "items": { "$ref": "#/$defs/Job" } },
        },
        "additionalProperties": false,
        "$defs": definitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_named_in_the_lists_exists_and_says_what_it_means() {
        for key in OF_DEFAULTS.iter().chain(OF_SERVICES).chain(super::super::common::OF_STARTS) {
            assert!(is_common(key), "{key}");
        }
        for path in paths().into_iter().chain(measurements()) {
            assert!(explain(&path).is_some_and(|text| text.len() > path.len() + 20), "{path}");
        }
    }

    #[test]
    fn nothing_may_be_nothing() {
        let schema = job_file().to_string();
        assert!(!schema.contains("null"), "{schema}");
        assert_eq!(schema_at("retry.attempts").and_then(|schema| definition(schema)), Some("AtLeastOne"));
    }

    #[test]
    fn a_key_and_a_measurement_of_one_name_are_both_explained() {
        let text = explain("ping.ttl").unwrap();
        assert!(text.contains("How many hops") && text.contains("as `expect` may name it"), "{text}");
        assert!(explain("ping.rtt_p95").unwrap().contains("(time)"));
    }

    #[test]
    fn an_unknown_path_is_not_explained() {
        assert_eq!(explain("nothing"), None);
        assert_eq!(explain("ping.nothing"), None);
        assert_eq!(explain(""), None);
    }
}
