//! Expectations: a measurement's name and what must hold of it. Only the words and the arithmetic; the engine judges runs.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::{Many, Size, Timespan, Wrong};

/// What a comparison compares with, in base units.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A bare number: a count, or a ratio.
    Number(f64),
    /// A duration.
    Seconds(f64),
    /// A size.
    Bytes(f64),
    /// A percentage, as a part of one.
    Ratio(f64),
    /// True or false.
    Flag(bool),
    /// A word, such as a reason.
    Word(String),
}

/// How a measured value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`, `==`, or nothing.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    Greater,
    /// `>=`.
    AtLeast,
}

/// One comparison, such as `<= 5%`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// `expect` of a job: for each name what must hold; a list means all must. Empty: nothing is expected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect(pub Vec<(String, Vec<Comparison>)>);

/// Longer spellings first, so that `<=` is not read as `<`.
const OPERATORS: &[(&str, Operator)] = &[
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

const HINT: &str = "write a value or a comparison, such as `0`, `<= 5%`, `< 20ms`, `true`, `refused`";

impl Comparison {
    /// Whether it holds of a measured value; values of different sorts never compare.
    pub fn holds(&self, measured: &Operand) -> bool {
        let (equal, order) = match (measured, &self.operand) {
            (Operand::Flag(measured), Operand::Flag(wanted)) => (measured == wanted, None),
            (Operand::Word(measured), Operand::Word(wanted)) => (measured == wanted, None),
            (measured, wanted) => match (measured.number(), wanted.number()) {
                (Some(measured), Some(wanted)) => match measured.partial_cmp(&wanted) {
                    Some(order) => (order.is_eq(), Some(order)),
                    None => return false,
                },
                _ => return false,
            },
        };
        match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Operator::AtMost => order.is_some_and(std::cmp::Ordering::is_le),
            Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Operator::AtLeast => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

impl Operand {
    /// Its number in base units, if it is one.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Seconds(number) | Self::Bytes(number) | Self::Ratio(number) => {
                Some(*number)
            }
            Self::Flag(_) | Self::Word(_) => None,
        }
    }
}

impl FromStr for Comparison {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let trimmed = text.trim();
        let found = OPERATORS.iter().find(|(sign, _)| trimmed.starts_with(sign));
        let (sign, operator) = found.copied().unwrap_or(("", Operator::Equal));
        let operand: Operand = trimmed[sign.len()..].trim().parse()?;
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if ordered && operand.number().is_none() {
            return Err(Wrong::new(format!("`{sign}` compares numbers"), "write `=` or `!=` before a word"));
        }
        Ok(Self { operator, operand })
    }
}

impl FromStr for Operand {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let is_word =
            |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if let Ok(flag) = text.parse() {
            return Ok(Self::Flag(flag));
        }
        if let Some(percent) = text.strip_suffix('%').and_then(|percent| number(percent.trim_end())) {
            return Ok(Self::Ratio(percent / 100.0));
        }
        if let Some(number) = number(text) {
            return Ok(Self::Number(number));
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let seconds = text.parse().map(|Timespan(span)| Self::Seconds(span.as_secs_f64()));
            let bytes = || text.parse().map(|Size(bytes)| Self::Bytes(bytes as f64));
            return seconds.or_else(|_: Wrong| bytes()).map_err(|_: Wrong| refused(text));
        }
        if text.starts_with(|c: char| c.is_ascii_lowercase()) && is_word(text) {
            return Ok(Self::Word(text.to_owned()));
        }
        Err(refused(text))
    }
}

fn refused(text: &str) -> Wrong {
    Wrong::new(format!("`{}` is not something to compare with", text.escape_debug()), HINT)
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Seconds(seconds) => match Duration::try_from_secs_f64(*seconds) {
                Ok(span) => write!(f, "{}", Timespan(span)),
                Err(_) => write!(f, "{seconds}s"),
            },
            // What a file can hold is a whole number of bytes; a measured mean may not be.
            Self::Bytes(bytes) if bytes.fract() == 0.0 && (0.0..9.0e15).contains(bytes) => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
                let size = Size(*bytes as u64);
                write!(f, "{size}")
            }
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            // Twelve digits hide what the division by a hundred has lost.
            Self::Ratio(ratio) => write!(f, "{}%", (ratio * 1e14).round() / 1e12),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

impl fmt::Display for Comparison {
    /// As a file writes it: `<= 5%`, and a bare value where it must be equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.operator != Operator::Equal {
            write!(f, "{} ", self.operator)?;
        }
        self.operand.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Comparison {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Comparison;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a comparison, such as \"<= 5%\"")
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Comparison, E> {
                Ok(Comparison { operator: Operator::Equal, operand: Operand::Flag(flag) })
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Comparison, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Comparison, E> {
                self.visit_f64(number as f64)
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Comparison, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Comparison, E> {
                text.parse().map_err(Wrong::into_serde)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Expect;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("measurements and what must hold of them, such as { loss: \"<= 5%\" }")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Expect, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, Many(comparisons))) = map.next_entry()? {
                    entries.push((name, comparisons));
                }
                Ok(Expect(entries))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl JsonSchema for Comparison {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Comparison".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value, or a comparison with one: <, <=, >, >=, =, != and a number, a percentage, a duration, a size, a flag or a word.",
            "type": ["string", "number", "boolean"],
            "examples": [0, true, "<= 5%", "< 20ms", "refused"],
        })
    }
}

impl JsonSchema for Expect {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expect".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let comparisons = generator.subschema_for::<Many<Comparison>>();
        json_schema!({ "type": "object", "additionalProperties": comparisons })
    }
}

#[cfg(test)]
mod tests;
