//! What an exchange sends and wants: texts, bytes, random bytes, patterns. Never printed, logged or exported.

use std::{fmt, str::FromStr};

use super::{Size, Wrong, text_value};

/// What to send: a text, `hex:…` bytes, `random: 64KiB`, or `text:…` as it stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many random bytes, made anew for each run.
    Random(u64),
}

/// What the answer should be: `same`, a text, `hex:…` bytes, `/pattern/`, or `text:…` as it stands.
#[derive(Clone, Default)]
pub enum Want {
    /// What was sent.
    #[default]
    Same,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A pattern found in the answer's bytes.
    Pattern(regex::bytes::Regex),
}

/// The most random bytes that can be asked for.
pub const MOST_RANDOM: u64 = 1 << 30;

impl Payload {
    /// How many bytes it is.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Random(size) => *size,
        }
    }
}

impl FromStr for Payload {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if let Some(bytes) = literal(text)? {
            return Ok(Self::Bytes(bytes));
        }
        let Some(size) = text.strip_prefix("random:") else {
            return Ok(Self::Bytes(text.as_bytes().to_vec()));
        };
        let wrong = || {
            Wrong::new(
                "`random:` is followed by a size",
                "write it as `random: 64KiB`; `text:` sends a text as it stands",
            )
        };
        let size: Size = size.trim().parse().map_err(|_| wrong())?;
        if size.0 > MOST_RANDOM {
            return Err(Wrong::new("more than 1GiB of random bytes", "write a smaller size"));
        }
        Ok(Self::Random(size.0))
    }
}

impl FromStr for Want {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text == "same" {
            return Ok(Self::Same);
        }
        if let Some(bytes) = literal(text)? {
            return Ok(Self::Bytes(bytes));
        }
        let pattern = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else {
            return Ok(Self::Bytes(text.as_bytes().to_vec()));
        };
        // The error would quote the pattern, which is a secret.
        let wrong = |_| {
            Wrong::new(
                "the pattern between `/` and `/` is not a regular expression",
                "write one such as `/^HTTP\\/1/`; `text:` wants a text as it stands",
            )
        };
        regex::bytes::Regex::new(&pattern.replace("\\/", "/")).map(Self::Pattern).map_err(wrong)
    }
}

/// The bytes of `hex:…` or `text:…`; `None` where the text is neither.
fn literal(text: &str) -> Result<Option<Vec<u8>>, Wrong> {
    if let Some(text) = text.strip_prefix("text:") {
        return Ok(Some(text.as_bytes().to_vec()));
    }
    let Some(digits) = text.strip_prefix("hex:") else { return Ok(None) };
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let byte = |pair: &[char]| match pair {
        [high, low] => Some(u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok()?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.map(Some).ok_or_else(|| {
        Wrong::new(
            "`hex:` is followed by pairs of hexadecimal digits",
            "write it as `hex: 00 ff`; `text:` sends a text as it stands",
        )
    })
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
    "Bytes to send: a text, `hex:` and pairs of digits, `random:` and a size, or `text:` and a text as it stands.",
    ["Hello from ipv6 client", "hex: 00ff", "random: 64KiB", "text:hex:"]
);
text_value!(
    Want,
    "a text",
    "What the answer should be: `same` as sent, a text, `/a pattern/` found in it, `hex:` and pairs of digits, or `text:` and a text as it stands.",
    ["same", "PONG", "/^HTTP\\/1/", "hex: 00ff"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_texts_bytes_or_sizes() {
        let bytes = |text: &str| match text.parse::<Payload>().unwrap() {
            Payload::Bytes(bytes) => bytes,
            Payload::Random(_) => panic!("random"),
        };
        assert_eq!(bytes("Hello from ipv6 client"), b"Hello from ipv6 client");
        assert_eq!(bytes("hex: 00 fF"), [0, 255]);
        assert_eq!(bytes("text:hex: 00"), b"hex: 00");
        assert_eq!(bytes(""), b"");
        assert!("random: 64KiB".parse::<Payload>().unwrap() == Payload::Random(65_536));
    }

    #[test]
    fn wants_are_texts_bytes_or_patterns() {
        assert!(matches!("same".parse(), Ok(Want::Same)));
        assert!(matches!("text:same".parse(), Ok(Want::Bytes(bytes)) if bytes == b"same"));
        assert!(matches!("/x".parse(), Ok(Want::Bytes(bytes)) if bytes == b"/x"));
        assert!(
            matches!("/^HTTP\\/1/".parse(), Ok(Want::Pattern(pattern)) if pattern.is_match(b"HTTP/1.1 200"))
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for text in ["hex: secret", "hex: 0", "random: secret"] {
            let wrong = text.parse::<Payload>().unwrap_err();
            assert!(!wrong.to_string().contains("secret"), "{wrong}");
        }
        let wrong = "/(secret/".parse::<Want>().unwrap_err();
        assert!(!wrong.to_string().contains("secret"), "{wrong}");
        assert_eq!(format!("{:?}", "secret".parse::<Payload>().unwrap()), "Payload(…)");
    }
}
