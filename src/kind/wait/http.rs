//! What a `wait` asks of an HTTP answer: its status and its body. Not the client, which is `net::http`.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::value::{Flag, Many, Want, Wrong};

/// What an HTTP answer must be. Redirects are answers and are not followed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The wanted status: a code, a class such as `2xx`, or a list of them. Default `[2xx, 3xx]`.
    #[serde(default = "statuses")]
    pub status: Many<Status>,
    /// What the first MiB of the body must hold: a text, or a pattern such as `/"state": *"ready"/`. Never printed.
    /// Default: any body.
    pub body: Option<Want>,
    /// A file of PEM certificates to trust instead of the system's, such as `lab-ca.pem`; a relative path starts
    /// at the job file.
    pub ca: Option<PathBuf>,
    /// Whether the certificate must be trusted and belong to the host. Default true.
    #[serde(default = "verify")]
    pub verify: Flag,
}

/// A wanted HTTP status: one code, or a class of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The lowest code.
    pub first: u16,
    /// The highest code.
    pub last: u16,
}

impl Status {
    const fn class(hundreds: u16) -> Self {
        Self { first: hundreds * 100, last: hundreds * 100 + 99 }
    }

    /// Whether a code is a wanted one.
    pub fn admits(self, code: u16) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { status: statuses(), body: None, ca: None, verify: verify() }
    }
}

fn statuses() -> Many<Status> {
    Many(vec![Status::class(2), Status::class(3)])
}

fn verify() -> Flag {
    Flag(true)
}

impl FromStr for Status {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            Wrong::new(
                format!("`{}` is not an HTTP status", text.escape_debug()),
                "write a code from 100 to 599, or a class such as `2xx`",
            )
        };
        let number =
            |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        match text.strip_suffix("xx") {
            Some(class) => number(class).filter(|class| (1..=5).contains(class)).map(Self::class),
            None => number(text)
                .filter(|code| (100..=599).contains(code))
                .map(|code| Self { first: code, last: code }),
        }
        .ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Status;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an HTTP status, such as 200 or `2xx`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Status, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
                text.parse().map_err(Wrong::into_serde)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Status {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Status".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An HTTP status: a code, or a class such as 2xx.",
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": r"^[1-5]([0-9][0-9]|xx)$|\$" }
            ],
            "examples": [200, "2xx"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_code_or_a_class() {
        assert_eq!("204".parse::<Status>().unwrap(), Status { first: 204, last: 204 });
        let class: Status = "5xx".parse().unwrap();
        assert!(class.admits(500) && class.admits(599) && !class.admits(404));
        for text in ["", "99", "600", "0xx", "6xx", "xx", "+20", "2x", "2xxx"] {
            assert!(text.parse::<Status>().is_err(), "{text}");
        }
    }
}
