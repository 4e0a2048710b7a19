//! Upstreams: an entry of `to`.

use std::str::FromStr;

use crate::value::{Endpoint, Wrong};

/// An entry of `to`, with its spelling: the label of its series and log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As the file writes it.
    pub text: String,
    /// What it means.
    pub endpoint: Endpoint,
}

impl FromStr for Upstream {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Ok(Self { text: text.to_owned(), endpoint: text.parse()? })
    }
}

impl<'de> serde::Deserialize<'de> for Upstream {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::value::from_text(deserializer, "an endpoint, such as \"db:5432\"")
    }
}

impl schemars::JsonSchema for Upstream {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Endpoint::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Endpoint::json_schema(generator)
    }
}
