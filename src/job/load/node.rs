//! The located tree of a file: each node with the bytes where it stands. Knows no YAML library, and no job.

use std::rc::Rc;

/// Where a node stands: bytes of one of the loader's sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// Index of the source; `NOWHERE` for what was not read from a text.
    pub(super) source: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The place of what was not read from a text, such as a flag of the command line.
pub(super) const NOWHERE: At = At { source: u32::MAX, start: 0, end: 0 };

/// A value with its place. Nodes are shared where a file uses aliases.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A scalar without quotes: its text decides what it is.
    Plain(Box<str>),
    /// A scalar that is text whatever it says.
    Text(Box<str>),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) at: At,
    pub(super) value: Rc<Node>,
}

/// A step of a path into a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    /// Its entries, if it is a map.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Its text, if it is a scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Plain(text) | Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is nothing: `~`, `null`, or an empty place after a colon.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Plain(text) if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for errors.
    pub(super) fn sort(&self) -> &'static str {
        match &self.content {
            _ if self.is_null() => "nothing",
            Content::Plain(_) | Content::Text(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

/// The value under a key.
pub(super) fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| &*entry.key == key)
}

/// The entry and node at the end of a path, or as far as it goes: what is not written stands at what holds it.
pub(super) fn follow<'a>(entry: &'a Entry, path: &[Step]) -> (&'a Entry, &'a Node) {
    let (mut entry, mut node) = (entry, &*entry.value);
    for step in path {
        match (step, &node.content) {
            (Step::Key(key), Content::Map(entries)) => match find(entries, key) {
                Some(found) => (entry, node) = (found, &found.value),
                None => break,
            },
            (Step::Index(index), Content::List(list)) => match list.get(*index) {
                Some(found) => node = found,
                None => break,
            },
            // A lone value where a list may stand is its own first entry.
            _ => {}
        }
    }
    (entry, node)
}

/// Reads a path such as `to[1]` or `health.10.0.0.1:80`: keys are matched with what the tree has, the longest first.
pub(super) fn steps(root: &Node, path: &str) -> Vec<Step> {
    let (mut node, mut rest, mut steps) = (Some(root), path, Vec::new());
    while !rest.is_empty() {
        if let Some((index, tail)) = rest.strip_prefix('[').and_then(|tail| tail.split_once(']')) {
            let index = index.parse().unwrap_or_default();
            node = node.and_then(|node| match &node.content {
                Content::List(list) => list.get(index).map(|node: &Rc<Node>| &**node),
                _ => Some(node),
            });
            steps.push(Step::Index(index));
            rest = tail.trim_start_matches('.');
            continue;
        }
        let ends = |key: &str| rest[key.len()..].is_empty() || rest[key.len()..].starts_with(['.', '[']);
        let entries = node.and_then(Node::entries).unwrap_or_default();
        let known = entries.iter().filter(|entry| rest.starts_with(&*entry.key) && ends(&entry.key));
        let found = known.max_by_key(|entry| entry.key.len());
        let length =
            found.map_or_else(|| rest.find(['.', '[']).unwrap_or(rest.len()), |entry| entry.key.len());
        steps.push(Step::Key(rest[..length].to_owned()));
        node = found.map(|entry| &*entry.value);
        let tail = rest[length..].strip_prefix('.').unwrap_or(&rest[length..]);
        if tail.len() == rest.len() {
            break;
        }
        rest = tail;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Rc<Node> {
        Rc::new(Node { at: NOWHERE, content: Content::Text(text.into()) })
    }

    fn map(entries: &[(&str, Rc<Node>)]) -> Rc<Node> {
        let entry =
            |(key, value): &(&str, Rc<Node>)| Entry { key: (*key).into(), at: NOWHERE, value: value.clone() };
        Rc::new(Node { at: NOWHERE, content: Content::Map(entries.iter().map(entry).collect()) })
    }

    #[track_caller]
    fn check(path: &str, found: &str) {
        let list = Rc::new(Node { at: NOWHERE, content: Content::List(vec![text("first"), text("second")]) });
        let health = map(&[("10.0.0.1:80", text("check")), ("10", text("ten"))]);
        let root = map(&[("to", list), ("health", health), ("lone", text("lone"))]);
        let entry = Entry { key: "forward".into(), at: NOWHERE, value: root.clone() };
        assert_eq!(follow(&entry, &steps(&root, path)).1.scalar(), Some(found));
    }

    #[test]
    fn paths_lead_to_their_nodes() {
        check("to[1]", "second");
        check("health.10.0.0.1:80", "check");
        check("health.10", "ten");
        check("lone[0]", "lone");
        check("lone", "lone");
    }

    #[test]
    fn a_path_that_leads_nowhere_ends_at_what_holds_it() {
        let root = map(&[("a", text("x"))]);
        for path in ["b.c[3]", "..", "[", "a.b", "[9].a", "b[x]"] {
            let entry = Entry { key: "k".into(), at: NOWHERE, value: root.clone() };
            let (_, node) = follow(&entry, &steps(&root, path));
            assert!(node.entries().is_some() || node.scalar() == Some("x"), "{path}");
        }
    }
}
