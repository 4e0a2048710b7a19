//! Address families as job files write them: `any`, `4`, `6`, `both`.

use std::{fmt, net::IpAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::Wrong;

/// Which address family to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Family {
    /// RFC 6724 order, happy eyeballs on TCP.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Each in turn: one run, one outcome, each sample twice.
    Both,
}

impl Family {
    /// Whether an address may be used.
    pub fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Any | Self::Both => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    /// The passes that a run makes: itself, or IPv4 and IPv6 for `both`.
    pub fn passes(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::V4 => &[Self::V4],
            Self::V6 => &[Self::V6],
            Self::Both => &[Self::V4, Self::V6],
        }
    }
}

/// The label value of an address: `ipv4` or `ipv6`.
pub fn label(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Family;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`any`, `4`, `6` or `both`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Family, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Family, E> {
                match text {
                    "any" => Ok(Family::Any),
                    "4" => Ok(Family::V4),
                    "6" => Ok(Family::V6),
                    "both" => Ok(Family::Both),
                    _ => Err(Wrong::new(
                        format!("`{text}` is not an address family"),
                        "write `any`, `4`, `6` or `both`",
                    )
                    .into_serde()),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Family {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Family".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which address family: any (RFC 6724 order), 4, 6, or both one after the other.",
            "enum": ["any", "4", "6", "both", 4, 6],
        })
    }
}
