//! `${VAR}`, `${VAR:-default}`, `${file:PATH}` and `$$` inside a scalar or a key. Not a shell: nothing else is expanded, nothing twice.

use std::path::Path;

use super::{Environment, node::At, read, tree::Located};
use crate::{diagnostic::Diagnostic, job::schema, kind::KINDS};

const HINT: &str = "write `${VAR}`, `${VAR:-default}` or `${file:PATH}`, and `$$` for a dollar";

/// Expands the scalars of one job and collects what is wrong with them.
pub(super) struct Expander<'a> {
    environment: &'a Environment,
    base: &'a Path,
    /// Keys from the kind or common key down to the scalar.
    path: Vec<String>,
    pub(super) wrong: Vec<Located>,
}

impl<'a> Expander<'a> {
    /// Relative paths start at `base`.
    pub(super) fn new(environment: &'a Environment, base: &'a Path) -> Self {
        Self { environment, base, path: Vec::new(), wrong: Vec::new() }
    }

    /// Works one key further down.
    pub(super) fn below<T>(&mut self, key: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let value = work(self);
        self.path.pop();
        value
    }

    /// The text with everything expanded; where something is wrong, it is collected and left out.
    pub(super) fn expand(&mut self, text: &str, at: At) -> String {
        let (mut expanded, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            let tail = &rest[dollar + 1..];
            if let Some(tail) = tail.strip_prefix('$') {
                expanded.push('$');
                rest = tail;
            } else if let Some(tail) = tail.strip_prefix('{') {
                let Some((inside, tail)) = tail.split_once('}') else {
                    self.refuse(at, format!("`${{{}` has no end", tail.escape_debug()), HINT);
                    return expanded;
                };
                match self.look_up(inside) {
                    Ok(value) => expanded.push_str(&value),
                    Err((message, hint)) => self.refuse(at, message, hint),
                }
                rest = tail;
            } else {
                expanded.push('$');
                rest = tail;
            }
        }
        expanded.push_str(rest);
        expanded
    }

    /// Refuses a key that is another's once it is expanded.
    pub(super) fn twice(&mut self, key: &str, at: At) {
        let message = format!("the key `{}` stands here twice, once expanded", key.escape_debug());
        self.refuse(at, message, "give each key a value of its own");
    }

    fn look_up(&self, inside: &str) -> Result<String, (String, &'static str)> {
        if let Some(path) = inside.strip_prefix("file:") {
            return self.read(path);
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !is_name {
            return Err((format!("`{}` is not the name of a variable", name.escape_debug()), HINT));
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(("a default inside a default".to_owned(), "write one of the two"));
        }
        let value = (self.environment.variable)(name);
        match (value, default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => {
                Err((format!("the variable `{name}` is not set"), "set it, or write `${VAR:-default}`"))
            }
        }
    }

    fn read(&self, path: &str) -> Result<String, (String, &'static str)> {
        let keys: Vec<&str> =
            self.path.iter().map(String::as_str).filter(|key| !key.starts_with('[')).collect();
        let key = keys.join(".");
        if !schema::secrets().contains(&key) {
            let message = format!("`${{file:…}}` stands only in secrets, and `{key}` is none");
            return Err((
                message,
                "secrets are what an `exchange` sends and wants, and the body that a `wait` wants",
            ));
        }
        read::secret(&self.base.join(path), &self.environment.notes)
            .map_err(|(message, hint)| (format!("`{path}`: {message}"), hint))
    }

    fn refuse(&mut self, at: At, message: String, hint: &str) {
        let mut diagnostic = Diagnostic::error(message).hint(hint);
        let below_kind = self.path.first().is_some_and(|key| KINDS.iter().any(|facts| facts.name == key));
        let keys = self.path[usize::from(below_kind)..].join(".");
        diagnostic.path = keys.replace(".[", "[");
        self.wrong.push((at, diagnostic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::load::node::NOWHERE;

    fn expand(text: &str) -> Result<String, String> {
        let environment = Environment::new("here", |name| match name {
            "A" => Some("a$$b".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        });
        let mut expander = Expander::new(&environment, Path::new("."));
        let found = expander.expand(text, NOWHERE);
        expander.wrong.pop().map_or(Ok(found), |(_, diagnostic)| Err(diagnostic.message))
    }

    #[test]
    fn variables_expand_once_and_dollars_stay() {
        assert_eq!(expand("x${A}y").as_deref(), Ok("xa$$by"));
        assert_eq!(expand("$$ $${A} $5 $").as_deref(), Ok("$ ${A} $5 $"));
        assert_eq!(expand("${EMPTY}|${EMPTY:-d}|${NONE:-d e}|${NONE:-}").as_deref(), Ok("|d|d e|"));
    }

    #[test]
    fn what_cannot_be_expanded_is_refused() {
        for (text, wrong) in [
            ("${NONE}", "the variable `NONE` is not set"),
            ("${A", "has no end"),
            ("${}", "is not the name of a variable"),
            ("${1A}", "is not the name of a variable"),
            ("${A:-${B}}", "a default inside a default"),
            ("${file:/etc/passwd}", "stands only in secrets"),
        ] {
            let message = expand(text).unwrap_err();
            assert!(message.contains(wrong), "{message}");
        }
    }
}
