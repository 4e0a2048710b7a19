//! Numbers and flags that also read their own string form, so that `count: "${N}"` works.

use std::{fmt, marker::PhantomData, ops::Deref, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::Wrong;

/// A whole number in the range of `T`, written plain or quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Number<T>(pub T);

/// A whole number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AtLeastOne(pub u32);

/// `true` or `false`, plain or quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flag(pub bool);

impl<T> Deref for Number<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Deref for AtLeastOne {
    type Target = u32;
    fn deref(&self) -> &u32 {
        &self.0
    }
}

impl Deref for Flag {
    type Target = bool;
    fn deref(&self) -> &bool {
        &self.0
    }
}

/// A scalar before it is known what it should be.
struct Scalar<T>(PhantomData<T>, &'static str, &'static str);

impl<T: FromStr> de::Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<T, E> {
        self.read(&flag.to_string())
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.read(&number.to_string())
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.read(&number.to_string())
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.read(&number.to_string())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.read(text)
    }
}

impl<T: FromStr> Scalar<T> {
    fn read<E: de::Error>(self, text: &str) -> Result<T, E> {
        let trimmed = text.trim();
        // `012` is ten to some readers and twelve to others.
        let padded = trimmed.len() > 1 && trimmed.starts_with('0') && !trimmed.contains('.');
        trimmed.parse().ok().filter(|_| !padded).ok_or_else(|| {
            let hint = if padded { "leave the leading zero out".into() } else { format!("write {}", self.2) };
            Wrong::new(format!("`{}` is not {}", text.escape_debug(), self.1), hint).into_serde()
        })
    }
}

/// The whole numbers that a `Number` may hold, each with its sentence.
pub trait Whole: FromStr {
    /// What is expected, for errors.
    const EXPECTING: &'static str;
    /// The largest value, for the schema.
    const MAX: u64;
}

macro_rules! whole {
    ($($type:ty: $expecting:literal),*) => {
        $(impl Whole for $type {
            const EXPECTING: &'static str = $expecting;
            const MAX: u64 = <$type>::MAX as u64;
        })*
    };
}
whole!(
    u8: "a whole number from 0 to 255",
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number"
);

impl<'de, T: Whole> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar::<T>(PhantomData, T::EXPECTING, "one, such as `4`")).map(Self)
    }
}

impl<'de> Deserialize<'de> for AtLeastOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTING: &str = "a whole number of at least 1";
        let number =
            deserializer.deserialize_any(Scalar::<u32>(PhantomData, EXPECTING, "one, such as `4`"))?;
        if number == 0 {
            return Err(Wrong::new(format!("`0` is not {EXPECTING}"), "write 1 or more").into_serde());
        }
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Scalar::<bool>(PhantomData, "`true` or `false`", "`true` or `false`"))
            .map(Self)
    }
}

impl<T: Whole> JsonSchema for Number<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("UpTo{}", T::MAX).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": T::EXPECTING,
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": T::MAX }, { "type": "string", "pattern": r"^[0-9]+$|\$" }],
        })
    }
}

impl JsonSchema for AtLeastOne {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AtLeastOne".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a whole number of at least 1",
            "examples": [3],
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": u32::MAX }, { "type": "string", "pattern": r"^[0-9]+$|\$" }],
        })
    }
}

impl JsonSchema for Flag {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Flag".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": r"^(true|false)$|\$" }] })
    }
}

#[cfg(test)]
mod tests {
    use serde::de::{IntoDeserializer, value::Error};

    use super::*;

    #[track_caller]
    fn check<T: Whole + Copy + PartialEq + fmt::Debug>(text: &str, expected: Option<T>) {
        let text: de::value::StrDeserializer<'_, Error> = text.into_deserializer();
        assert_eq!(Number::<T>::deserialize(text).ok().map(|number| number.0), expected);
    }

    #[test]
    fn numbers_read_their_string_form_in_their_range_only() {
        check("4", Some(4u16));
        check(" 65535 ", Some(65_535u16));
        check("0", Some(0u16));
        for wrong in ["65536", "-1", "012", "1_000", "4.5", "", "x", "0x10", "NaN"] {
            check::<u16>(wrong, None);
        }
    }

    #[test]
    fn floats_count_where_they_are_whole() {
        let read = |number: f64| -> Option<u32> {
            let number: de::value::F64Deserializer<Error> = number.into_deserializer();
            Number::<u32>::deserialize(number).ok().map(|number| number.0)
        };
        assert_eq!(read(4.0), Some(4));
        assert_eq!(read(4.5), None);
        assert_eq!(read(f64::INFINITY), None);
    }
}
