//! Keys of files and jobs, judged on the located tree before any value is read: unknown, misplaced, missing, a second kind.

use std::rc::Rc;

use super::{
    node::{At, Content, Entry, Node, find},
    tree::Located,
};
use crate::{
    diagnostic::{Diagnostic, near},
    job::{
        common::{OF_DEFAULTS, OF_SERVICES, OF_STARTS},
        schema,
    },
    kind::{Facts, KINDS},
};

/// A file's two keys.
pub(super) struct File {
    pub(super) defaults: Vec<Entry>,
    pub(super) jobs: Vec<Rc<Node>>,
    /// Where `jobs` stands, or the file begins.
    pub(super) at: At,
}

/// A job whose keys are all known.
pub(super) struct Keys<'a> {
    pub(super) facts: &'static Facts,
    pub(super) kind: &'a Entry,
    pub(super) name: &'a Entry,
    pub(super) entries: &'a [Entry],
}

fn wrong<T>(at: At, message: impl Into<String>, hint: impl Into<String>) -> Result<T, Located> {
    Err((at, Diagnostic::error(message).hint(hint)))
}

/// The same about a key, which its path names.
fn wrong_key<T>(entry: &Entry, message: impl Into<String>, hint: impl Into<String>) -> Result<T, Located> {
    let mut diagnostic = Diagnostic::error(message).hint(hint);
    diagnostic.path = entry.key.to_string();
    Err((entry.at, diagnostic))
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Judges the keys of a file; whether it may do without jobs depends on its name.
pub(super) fn file(root: &Node, needs_jobs: bool) -> Result<File, Located> {
    let entries = match &root.content {
        Content::Map(entries) => entries,
        Content::List(_) => {
            return wrong(start(root.at), "a list where a map is wanted", "write `jobs:` above the list");
        }
        _ => {
            let hint = "write `jobs:` and a list of jobs below it";
            return wrong(root.at, format!("{} where a map is wanted", root.sort()), hint);
        }
    };
    if let Some(entry) = entries.iter().find(|entry| !matches!(&*entry.key, "defaults" | "jobs")) {
        let hint = match near(&entry.key, ["defaults", "jobs"]) {
            Some(word) => format!("did you mean `{word}`?"),
            None if KINDS.iter().any(|facts| *entry.key == *facts.name) || &*entry.key == "name" => {
                "jobs stand in a list under `jobs:`".to_owned()
            }
            None => "a file has the keys `defaults` and `jobs`".to_owned(),
        };
        return wrong(entry.at, format!("unknown key `{}`", entry.key), hint);
    }
    let defaults = match find(entries, "defaults") {
        Some(entry) => defaults(entry)?,
        None => Vec::new(),
    };
    let jobs = match find(entries, "jobs") {
        None if needs_jobs => {
            return wrong(start(root.at), "no `jobs` in this file", "write `jobs:` and a list");
        }
        None => Vec::new(),
        Some(entry) => {
            let Content::List(jobs) = &entry.value.content else {
                let message = format!("`jobs` is a list, and here is {}", entry.value.sort());
                return wrong(entry.at, message, "begin each job with `- name: …`");
            };
            jobs.clone()
        }
    };
    Ok(File { defaults, jobs, at: find(entries, "jobs").map_or(start(root.at), |entry| entry.at) })
}

fn defaults(entry: &Entry) -> Result<Vec<Entry>, Located> {
    let Some(entries) = entry.value.entries() else {
        let message = format!("`defaults` is a map, and here is {}", entry.value.sort());
        return wrong(entry.at, message, "write keys and values, such as `every: 10s`");
    };
    if let Some(entry) = entries.iter().find(|entry| !OF_DEFAULTS.contains(&&*entry.key)) {
        let known = OF_DEFAULTS.iter().copied();
        if schema::is_common(&entry.key) || KINDS.iter().any(|facts| *facts.name == *entry.key) {
            let hint = format!("`defaults` takes {}", quoted(known));
            return wrong(
                entry.at,
                format!("`{}` is each job's own and cannot be a default", entry.key),
                hint,
            );
        }
        let hint = near(&entry.key, known.clone()).map(|word| format!("did you mean `{word}`?"));
        let hint = hint.unwrap_or_else(|| format!("`defaults` takes {}", quoted(known)));
        return wrong(entry.at, format!("unknown key `{}` in `defaults`", entry.key), hint);
    }
    both(entries)?;
    entries.iter().try_for_each(|entry| nothing(entry, &entry.value))?;
    Ok(entries.to_vec())
}

/// Judges the keys of a job, the first mistake first.
pub(super) fn job(node: &Node) -> Result<Keys<'_>, Located> {
    let Some(entries) = node.entries() else {
        let message = format!("a job is a map, and here is {}", node.sort());
        return wrong(start(node.at), message, "write `- name: …` and a kind, such as `ping: { host: … }`");
    };
    let facts_of = |entry: &Entry| KINDS.iter().find(|facts| *facts.name == *entry.key);
    let mut kinds = entries.iter().filter_map(|entry| Some((entry, facts_of(entry)?)));
    let first = kinds.next();
    for entry in entries {
        if facts_of(entry).is_none() && !schema::is_common(&entry.key) {
            return unknown(entry, first.map(|(_, facts)| facts));
        }
        nothing(entry, &entry.value)?;
    }
    let Some((kind, facts)) = first else {
        let hint = format!("add one of {}", quoted(KINDS.iter().map(|facts| facts.name)));
        return wrong(
            find(entries, "name").map_or(start(node.at), |entry| entry.at),
            "a job without a kind",
            hint,
        );
    };
    if let Some((second, _)) = kinds.next() {
        let message = format!("`{}` beside `{}`: a job has one kind", second.key, kind.key);
        return wrong(second.at, message, "make two jobs of it");
    }
    for entry in entries {
        own_kind(entry, kind, facts)?;
    }
    both(entries)?;
    let Some(name) = find(entries, "name") else {
        return wrong(
            kind.at,
            "a job without a name",
            "add `name: …`: small letters, digits, `.`, `_` and `-`",
        );
    };
    Ok(Keys { facts, kind, name, entries })
}

/// Refuses common keys that this sort of kind does not take.
fn own_kind(entry: &Entry, kind: &Entry, facts: &Facts) -> Result<(), Located> {
    let key = &*entry.key;
    if key == kind.key.as_ref() {
        return Ok(());
    }
    if facts.service && !OF_SERVICES.contains(&key) {
        let message = format!("`{key}` on a service: `{}` runs from start to stop", facts.name);
        return wrong_key(entry, message, format!("a service takes {}", quoted(OF_SERVICES.iter().copied())));
    }
    if !facts.service && key == "open" {
        let message = format!("`open` is for services, and `{}` is a check", facts.name);
        return wrong_key(entry, message, "say when it starts with `every` or `cron`");
    }
    Ok(())
}

fn unknown<T>(entry: &Entry, facts: Option<&Facts>) -> Result<T, Located> {
    let key = &*entry.key;
    let known = schema::common_keys().chain(KINDS.iter().map(|facts| facts.name));
    let hint = match (facts, near(key, known)) {
        (None, _) if matches!(key, "kind" | "type") => {
            "the kind is itself the key, such as `ping: { host: … }`".to_owned()
        }
        (Some(facts), _) if schema::has_key(facts.name, key) => {
            format!("`{key}` stands under `{}`", facts.name)
        }
        (_, Some(word)) => format!("did you mean `{word}`?"),
        (None, None) => format!("the kinds are {}", quoted(KINDS.iter().map(|facts| facts.name))),
        (Some(_), None) => format!("the keys of a job are {}", quoted(schema::common_keys())),
    };
    wrong_key(entry, format!("unknown key `{key}`"), hint)
}

/// Refuses `cron` beside `every`, and an instant beside either.
fn both(entries: &[Entry]) -> Result<(), Located> {
    if let (Some(every), Some(cron)) = (find(entries, "every"), find(entries, "cron")) {
        let later = if every.at.start > cron.at.start { every } else { cron };
        return wrong_key(later, "`cron` beside `every`", "keep one of them, or make two jobs");
    }
    let others = entries.iter().any(|entry| OF_STARTS[..2].contains(&&*entry.key));
    match find(entries, "at") {
        Some(at) if others && at.value.scalar() != Some("start") => {
            wrong(at.value.at, "an instant beside `every` or `cron`", "only `at: start` stands beside them")
        }
        _ => Ok(()),
    }
}

/// Refuses values that are nothing, at any depth.
fn nothing(entry: &Entry, node: &Node) -> Result<(), Located> {
    match &node.content {
        Content::Map(entries) => entries.iter().try_for_each(|entry| nothing(entry, &entry.value)),
        Content::List(list) => match list.iter().find(|node| node.is_null()) {
            Some(node) => wrong(
                node.at,
                format!("an entry of `{}` has no value", entry.key),
                "write one, or leave it out",
            ),
            None => list.iter().try_for_each(|node| nothing(entry, node)),
        },
        _ if node.is_null() => {
            let kind = KINDS.iter().find(|facts| *facts.name == *entry.key);
            let hint = kind.map_or("write a value, or leave it out".to_owned(), |facts| {
                format!("write its keys, such as `{0}: {{ {1}: … }}`, or `{0}: {{}}`", facts.name, facts.main)
            });
            wrong_key(entry, format!("`{}` has no value", entry.key), hint)
        }
        _ => Ok(()),
    }
}

/// The first byte of a block, which a caret can stand under.
fn start(at: At) -> At {
    At { end: at.start + 1, ..at }
}
