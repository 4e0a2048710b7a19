//! Names of interfaces with wildcards: `*` for any characters, `?` for one. Not a path glob: nothing here is special but these.

use std::{fmt, str::FromStr};

use crate::value::{Wrong, glob, text_value};

/// The name of an interface, or a glob over names: `eth0`, `eth*`, `veth?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// The longest name that the kernel takes, in bytes (`IFNAMSIZ` without the final NUL).
const LONGEST: usize = 15;

impl Pattern {
    /// Every interface.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        glob::fits(&self.0, name)
    }
}

impl FromStr for Pattern {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let hint = "write a name or a glob, such as `eth0` or `eth*`";
        let shown = text.escape_debug();
        if text.is_empty() {
            return Err(Wrong::new("the name of an interface is empty", hint));
        }
        if let Some(at) = text.find(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(Wrong::new(format!("`{shown}` is not the name of an interface"), hint).at(at));
        }
        if text.bytes().filter(|byte| *byte != b'*').count() > LONGEST {
            return Err(Wrong::new(format!("`{shown}` is longer than an interface's name can be"), hint));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_value!(
    Pattern,
    "the name of an interface or a glob, such as \"eth0\"",
    "The name of an interface, or a glob over names.",
    ["eth0", "eth*", "veth?"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, wanted: bool) {
        assert_eq!(pattern.parse::<Pattern>().unwrap().matches(name), wanted, "{pattern} on {name}");
    }

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        check("eth0", "eth0", true);
        check("eth0", "eth01", false);
        check("eth*", "eth", true);
        check("*", "lo", true);
        check("*a*b", "xaxbxb", true);
        check("*a*b", "xaxbxbc", false);
        check("veth?", "veth1", true);
        check("veth?", "veth", false);
        check("***", "", true);
    }

    #[test]
    fn what_no_interface_can_be_called_is_refused() {
        for text in ["", "a b", "a/b", "0123456789abcdef", "a\0"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }
}
