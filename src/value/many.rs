//! One value or a list of them, where a job file takes either.

use std::{fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, value::SeqAccessDeserializer},
};

use super::Wrong;

/// At least one value; a lone value reads as a list of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many<T>(pub Vec<T>);

/// The path of an entry below a kind: of the key itself where the entry stands alone.
pub fn path(key: &str, index: usize, count: usize) -> String {
    if count == 1 { key.to_owned() } else { format!("{key}[{index}]") }
}

impl<T> Deref for Many<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<T> for Many<T> {
    fn from(one: T) -> Self {
        Self(vec![one])
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Many<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Many<T>, A::Error> {
                let values = Vec::<T>::deserialize(SeqAccessDeserializer::new(list))?;
                if values.is_empty() {
                    return Err(Wrong::new("the list is empty", "write at least one entry").into_serde());
                }
                Ok(Many(values))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Many<T>, E> {
                T::deserialize(text.into_deserializer()).map(Many::from)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Many<T>, E> {
                T::deserialize(number.into_deserializer()).map(Many::from)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Many<T>, E> {
                T::deserialize(number.into_deserializer()).map(Many::from)
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Many<T>, E> {
                T::deserialize(number.into_deserializer()).map(Many::from)
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Many<T>, E> {
                T::deserialize(flag.into_deserializer()).map(Many::from)
            }
        }
        deserializer.deserialize_any(Visitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMore{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
