//! The words that a job file is made of, each parsed once into a value that cannot be wrong. Pure: no I/O, no clock.

pub mod duration;
pub mod endpoint;
pub mod expect;
pub mod family;
pub mod glob;
pub mod many;
pub mod name;
pub mod network;
pub mod number;
pub mod retry;
pub mod schedule;
pub mod secret;
pub mod size;
pub mod targets;

pub use duration::Timespan;
pub use endpoint::{Bind, Endpoint, Host, Ports, SocketPath};
pub use expect::{Comparison, Expect};
pub use family::Family;
pub use many::Many;
pub use name::JobName;
pub use network::Network;
pub use number::{AtLeastOne, Flag, Number};
pub use retry::Retry;
pub use schedule::{Missed, Overlap, Schedule};
pub use secret::{Payload, Want};
pub use size::{ByteRate, EventRate, Size};
pub use targets::{AddressSet, Target, Targets};

/// What is wrong with a word, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong, a sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Bytes from the start of the word to the mistake.
    pub offset: Option<usize>,
}

/// Stands between the parts of a `Wrong` while it travels through serde, whose errors are plain text.
const SEPARATOR: char = '\u{1f}';

impl Wrong {
    /// A mistake with a sample of right input.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), offset: None }
    }

    /// The same mistake at a byte of the word.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Packs all parts into a serde error.
    pub fn into_serde<E: serde::de::Error>(self) -> E {
        let offset = self.offset.map(|offset| offset.to_string()).unwrap_or_default();
        // A word that is quoted may hold anything.
        let plain = |text: String| text.replace(SEPARATOR, "\\u{1f}");
        let (message, hint) = (plain(self.message), plain(self.hint.unwrap_or_default()));
        E::custom(format!("{message}{SEPARATOR}{hint}{SEPARATOR}{offset}"))
    }

    /// Takes the parts out of a serde error's text; a text that was never packed is all message.
    pub fn from_serde(text: &str) -> Self {
        let mut parts = text.split(SEPARATOR);
        let message = parts.next().unwrap_or_default().to_owned();
        let hint = parts.next().filter(|hint| !hint.is_empty()).map(str::to_owned);
        let offset = parts.next().and_then(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        Self { message, hint, offset }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Wrong {}

/// Gives a type that parses from text its `Deserialize` (text only) and its schema (a string with samples).
macro_rules! text_value {
    ($name:ident, $expecting:literal, $description:literal, [$($sample:literal),*]) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::value::from_text(deserializer, $expecting)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "examples": [$($sample),*],
                })
            }
        }
    };
}
pub(crate) use text_value;

/// Reads a value from a text scalar; a number or a flag is refused with the sample in `expecting`.
pub(crate) fn from_text<'de, D, T>(deserializer: D, expecting: &'static str) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err = Wrong>,
{
    struct Visitor<T>(&'static str, std::marker::PhantomData<T>);
    impl<T: std::str::FromStr<Err = Wrong>> serde::de::Visitor<'_> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(Wrong::into_serde)
        }
    }
    deserializer.deserialize_any(Visitor(expecting, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_keeps_its_parts_on_the_way_through_serde_whatever_it_quotes() {
        let wrong = Wrong::new("`a` is odd", "write `b`").at(7);
        let carried = wrong.clone().into_serde::<serde_json::Error>().to_string();
        assert_eq!(Wrong::from_serde(&carried), wrong);
        let wrong = Wrong::new("`\u{1f}9` is odd", "write `\u{1f}`");
        let carried = wrong.into_serde::<serde_json::Error>().to_string();
        assert_eq!(Wrong::from_serde(&carried), Wrong::new("`\\u{1f}9` is odd", "write `\\u{1f}`"));
    }
}
