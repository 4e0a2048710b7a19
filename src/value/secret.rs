//! What an exchange sends and wants: texts, bytes, random bytes, patterns. Never printed, logged or exported.

use std::fmt;

use super::{Wrong, text_value};

/// What to send: a text, `hex:…` bytes, `random: 64KiB`, or `text:…` as it stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many random bytes, made anew for each run.
    Random(u64),
}

/// What the answer should be.
#[derive(Clone)]
pub enum Want {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A pattern found in the answer's bytes.
    Pattern(regex::bytes::Regex),
}

impl std::str::FromStr for Payload {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Ok(Self::Bytes(text.as_bytes().to_vec()))
    }
}

impl std::str::FromStr for Want {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Ok(Self::Bytes(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(…)")
    }
}

impl fmt::Debug for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Want(…)")
    }
}

text_value!(
    Payload,
    "a text",
    "Bytes to send.",
    ["Hello from ipv6 client", "hex: 00ff", "random: 64KiB", "text:hex:"]
);
text_value!(Want, "a text", "What the answer should be.", ["PONG", "/^HTTP\\/1/", "hex: 00ff"]);
