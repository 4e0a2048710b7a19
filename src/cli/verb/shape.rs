//! The keys of a kind, read from its JSON schema: what an ad-hoc verb's flags are made from. Knows no kind by name.

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::kind::Facts;

/// One key of a kind, or of an object below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its way from the kind's key, such as `["proxy_protocol", "send"]`.
    pub path: Vec<String>,
    /// Its doc comment.
    pub help: String,
    /// What it takes.
    pub form: Form,
    /// The words that it takes, where they are a closed set.
    pub words: Vec<String>,
    /// Whether it must be given.
    pub required: bool,
}

/// How a key's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One text or number.
    One,
    /// One, or a list of them.
    Many,
    /// Always a list.
    List,
    /// `true` or `false`.
    Flag,
    /// Names and values.
    Map,
}

impl Key {
    /// The flag without its dashes: `connect-timeout`, `proxy-protocol.send`.
    pub fn flag(&self) -> String {
        flag(&self.path.join("."))
    }

    /// The last name of its path.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// A path of keys as a flag, without its dashes.
pub fn flag(path: &str) -> String {
    path.replace('_', "-")
}

/// A kind's sentence and its keys, those of nested objects included.
pub fn of_kind(facts: &Facts) -> (String, Vec<Key>) {
    let mut generator = SchemaGenerator::default();
    let schema = (facts.schema)(&mut generator);
    let reader = Reader { definitions: generator.take_definitions(true) };
    let schema = reader.resolve(schema.as_value());
    let mut keys = vec![];
    reader.keys(&schema, &[], true, &mut keys);
    (reflow(&text(&schema, "description")), keys)
}

/// Resolves references into the definitions that the generator made.
struct Reader {
    definitions: Map<String, Value>,
}

impl Reader {
    /// The schema itself where it is a reference, with the words of the place that refers.
    fn resolve(&self, schema: &Value) -> Value {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema.clone() };
        let name = reference.rsplit('/').next().unwrap_or_default();
        let mut target = self.definitions.get(name).map(|target| self.resolve(target)).unwrap_or_default();
        if let (Some(target), Some(own)) = (target.as_object_mut(), schema.as_object()) {
            target.extend(own.iter().filter(|(key, _)| *key != "$ref").map(|(k, v)| (k.clone(), v.clone())));
        }
        target
    }

    /// The forms that a value may have; `null` is none.
    fn alternatives(&self, schema: &Value) -> Vec<Value> {
        let schema = self.resolve(schema);
        let list = ["anyOf", "oneOf", "allOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
        match list {
            Some(list) => list.iter().flat_map(|one| self.alternatives(one)).collect(),
            None if schema.get("type") == Some(&Value::from("null")) => vec![],
            None => vec![schema],
        }
    }

    fn keys(&self, schema: &Value, path: &[String], required: bool, found: &mut Vec<Key>) {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        let needed = schema.get("required").and_then(Value::as_array);
        for (name, property) in properties {
            let path = [path, std::slice::from_ref(name)].concat();
            let required = required && needed.is_some_and(|list| list.contains(&Value::from(name.as_str())));
            self.key(property, path, required, found);
        }
    }

    fn key(&self, property: &Value, path: Vec<String>, required: bool, found: &mut Vec<Key>) {
        let alternatives = self.alternatives(property);
        for object in alternatives.iter().filter(|one| one.get("properties").is_some()) {
            self.keys(object, &path, false, found);
        }
        let plain: Vec<&Value> = alternatives.iter().filter(|one| one.get("properties").is_none()).collect();
        if plain.is_empty() {
            return;
        }
        let help = reflow(&text(&self.resolve(property), "description"));
        let items: Vec<Value> =
            plain.iter().filter_map(|one| one.get("items")).flat_map(|one| self.alternatives(one)).collect();
        let words = plain.iter().copied().chain(&items).flat_map(words).collect();
        found.push(Key { path, help, form: form(&plain), words, required });
    }
}

fn form(plain: &[&Value]) -> Form {
    let lists = plain.iter().filter(|one| has_type(one, "array")).count();
    if plain.iter().any(|one| has_type(one, "object")) {
        Form::Map
    } else if lists == plain.len() {
        Form::List
    } else if lists > 0 {
        Form::Many
    } else if plain.iter().any(|one| has_type(one, "boolean")) {
        Form::Flag
    } else {
        Form::One
    }
}

fn has_type(schema: &Value, wanted: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == wanted),
        Some(one) => one == wanted,
        None => false,
    }
}

/// The words of a closed set.
fn words(schema: &Value) -> Vec<String> {
    let list = schema.get("enum").and_then(Value::as_array).cloned();
    let one = schema.get("const").map(|word| vec![word.clone()]);
    let words = list.or(one).unwrap_or_default();
    words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// Joins the lines of each paragraph, which were broken for the source; items of a list stay lines.
fn reflow(text: &str) -> String {
    let mut flowed = String::new();
    for line in text.lines() {
        let starts = line.is_empty() || line.starts_with(['-', '*', ' ', '|']) || flowed.ends_with('\n');
        if !flowed.is_empty() {
            flowed.push(if starts { '\n' } else { ' ' });
        }
        flowed.push_str(line);
    }
    flowed
}

fn text(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A kind's sentence, for lists of commands.
pub fn about(facts: &Facts) -> String {
    let help = of_kind(facts).0;
    help.split("\n\n").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;
    use crate::value::{AtLeastOne, Bind, Flag, Many, Timespan};

    /// A kind of the test.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Sample {
        /// Where it listens.
        listen: Many<Bind>,
        /// How long.
        #[serde(default)]
        connect_timeout: Option<Timespan>,
        /// How often.
        #[serde(default)]
        count: Option<AtLeastOne>,
        /// Whether.
        #[serde(default)]
        df: Flag,
        /// Which.
        #[serde(default)]
        order: Option<Order>,
        /// Several.
        #[serde(default)]
        allow: Vec<Timespan>,
        /// The header.
        #[serde(default)]
        proxy_protocol: Option<Proxy>,
        /// Checks.
        #[serde(default)]
        health: std::collections::BTreeMap<String, Timespan>,
    }

    /// Below.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Proxy {
        /// Sends one.
        send: Order,
    }

    /// One of two.
    #[derive(JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Order {
        /// From the first.
        FirstOne,
        /// From the last.
        LastOne,
    }

    fn sample() -> Vec<Key> {
        let facts = Facts {
            name: "sample",
            service: false,
            main: "listen",
            measures: &[],
            metrics: &[],
            usual: &[],
            schema: |generator| generator.subschema_for::<Sample>(),
        };
        let (about, keys) = of_kind(&facts);
        assert_eq!(about, "A kind of the test.");
        keys
    }

    #[track_caller]
    fn check(flag: &str, help: &str, form: Form, words: &[&str], required: bool) {
        let keys = sample();
        let key = keys.iter().find(|key| key.flag() == flag).unwrap_or_else(|| panic!("{flag}: {keys:#?}"));
        assert_eq!((key.help.as_str(), key.form, key.required), (help, form, required));
        assert_eq!(key.words, words);
    }

    #[test]
    fn lines_of_a_paragraph_flow_and_paragraphs_and_items_stay() {
        assert_eq!(reflow("a\nb\n\nc\nd\n- e\n- f"), "a b\n\nc d\n- e\n- f");
    }

    #[test]
    fn each_key_becomes_a_flag_of_its_form() {
        check("listen", "Where it listens.", Form::Many, &[], true);
        check("connect-timeout", "How long.", Form::One, &[], false);
        check("count", "How often.", Form::One, &[], false);
        check("df", "Whether.", Form::Flag, &[], false);
        check("order", "Which.", Form::One, &["first_one", "last_one"], false);
        check("allow", "Several.", Form::List, &[], false);
        check("proxy-protocol.send", "Sends one.", Form::One, &["first_one", "last_one"], false);
        check("health", "Checks.", Form::Map, &[], false);
        assert_eq!(sample().len(), 8);
    }
}
