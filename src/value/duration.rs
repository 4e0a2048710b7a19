//! Lengths of time as job files write them: `500ms`, `1m30s`. Never a bare number.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use super::{Wrong, text_value};

/// A length of time, written with units: `10s`, `500ms`, `1m30s`, `1h`, `2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timespan(pub Duration);

impl Timespan {
    /// Whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl Deref for Timespan {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

/// Units from long to short, in nanoseconds.
const UNITS: &[(&str, u128)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The longest span: a hundred years.
const LONGEST: u128 = 36_525 * 86_400_000_000_000;

impl FromStr for Timespan {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = |message: String| {
            Wrong::new(message, "write a number and a unit, such as `500ms`, `10s`, `1m30s`")
        };
        if text.is_empty() {
            return Err(wrong("an empty duration".into()));
        }
        let (mut rest, mut total) = (text, 0u128);
        while !rest.is_empty() {
            let offset = text.len() - rest.len();
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            if number.is_empty() {
                return Err(wrong(format!("`{text}` is not a duration")).at(offset));
            }
            if unit.is_empty() {
                return Err(wrong(format!("the duration `{text}` has no unit")).at(offset));
            }
            let unit = if unit == "µs" { "us" } else { unit };
            let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(wrong(format!("`{unit}` is not a unit of time")).at(offset + digits));
            };
            let part = scaled(number, *scale)
                .ok_or_else(|| wrong(format!("`{text}` is not a duration")).at(offset))?;
            total = total.saturating_add(part);
            rest = tail;
        }
        if total > LONGEST {
            return Err(wrong(format!("the duration `{text}` is longer than a hundred years")));
        }
        let (seconds, nanos) = (total / 1_000_000_000, total % 1_000_000_000);
        #[expect(clippy::cast_possible_truncation, reason = "bounded by LONGEST and by the remainder")]
        Ok(Self(Duration::new(seconds as u64, nanos as u32)))
    }
}

/// A decimal number of units in nanoseconds; `None` where it is not a number.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty()
        || fraction.is_empty()
        || fraction.contains('.')
        || fraction.len() > 18
        || whole.len() > 24
    {
        return None;
    }
    let mut total = whole.parse::<u128>().ok()?.checked_mul(scale)?;
    if !fraction.is_empty() {
        total += fraction.parse::<u128>().ok()? * scale / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    }
    Some(total)
}

impl fmt::Display for Timespan {
    /// The shortest form that reads back as the same span.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in UNITS {
            let count = rest / scale;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
            rest %= scale;
        }
        Ok(())
    }
}

text_value!(
    Timespan,
    "a duration with a unit, such as \"10s\"",
    "A length of time with units: d, h, m, s, ms, us, ns.",
    ["10s", "500ms", "1m30s"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, nanos: u128) {
        let span: Timespan = text.parse().unwrap();
        assert_eq!(span.0.as_nanos(), nanos);
        assert_eq!(span.to_string().parse::<Timespan>().unwrap(), span);
    }

    #[test]
    fn units_add_up() {
        check("500ms", 500_000_000);
        check("1m30s", 90_000_000_000);
        check("1.5s", 1_500_000_000);
        check("2d1h", 176_400_000_000_000);
        check("50us", 50_000);
        check("0s", 0);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", "1x", "-1s", "1..5s", "1.s", "1s 2", "999999999999d"] {
            assert!(text.parse::<Timespan>().is_err(), "{text}");
        }
    }
}
