//! Names of jobs: short, plain, safe in labels, logs and addresses of web pages.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Wrong, text_value};

/// The name of a job: `[a-z0-9][a-z0-9._-]*`, at most 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobName(Arc<str>);

impl JobName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text, for labels.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

/// The longest name, in characters.
pub const LONGEST: usize = 100;

impl FromStr for JobName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "use small letters, digits, `.`, `_` and `-`, such as `web-forward`";
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.is_empty() {
            return Err(Wrong::new("the name is empty", HINT));
        }
        if text.len() > LONGEST {
            return Err(Wrong::new(format!("the name is longer than {LONGEST} characters"), HINT));
        }
        let bad = text.char_indices().find(|(at, c)| !(allowed(*c) || *at > 0 && "._-".contains(*c)));
        match bad {
            Some((at, c)) => {
                Err(Wrong::new(format!("the name `{}` has {c:?} in it", text.escape_debug()), HINT).at(at))
            }
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for JobName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

text_value!(
    JobName,
    "a job's name, such as \"web-forward\"",
    "The name of a job.",
    ["web-forward", "db.primary"]
);
