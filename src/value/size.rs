//! Sizes and rates as job files write them: `64KiB`, `10MiB/s`, `100/s`. Never a bare number.

use std::{fmt, str::FromStr};

use super::{Wrong, text_value};

/// A number of bytes, written with a unit: `64B`, `64KiB`, `1MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// Bytes a second, written as a size and `/s`: `10MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(pub u64);

/// Events a second, written as `100/s`, `60/m` or `1/h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRate(pub f64);

/// The smallest rate, a second: one event in a hundred years.
const SLOWEST: f64 = 1.0 / (36_525.0 * 86_400.0);

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for Size {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = |message: String| {
            Wrong::new(message, "write a number and a unit, such as `64B`, `64KiB`, `10MiB`")
        };
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        if number.is_empty() {
            return Err(wrong(format!("`{text}` is not a size")));
        }
        if unit.is_empty() {
            return Err(wrong(format!("the size `{text}` has no unit")));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(wrong(format!("`{unit}` is not a unit of size")).at(digits));
        };
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(*scale),
            Err(_) => fractional(number, *scale),
        };
        bytes.map(Self).ok_or_else(|| wrong(format!("`{text}` is not a size")))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against the range above it"
)]
fn fractional(number: &str, scale: u64) -> Option<u64> {
    let bytes = number.parse::<f64>().ok()? * scale as f64;
    (bytes < 9.0e15).then_some(bytes as u64)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (unit, scale) in binary {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteRate {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong =
            || Wrong::new(format!("`{text}` is not a byte rate"), "write a size a second, such as `10MiB/s`");
        let size: Size = text.strip_suffix("/s").ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        if size.0 == 0 { Err(wrong()) } else { Ok(Self(size.0)) }
    }
}

impl FromStr for EventRate {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong =
            || Wrong::new(format!("`{text}` is not a rate"), "write a number a second, such as `100/s`");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let rate = number / seconds;
        // A rate of less than one in a hundred years is a slip, and too small a number to divide by.
        if rate.is_finite() && rate >= SLOWEST { Ok(Self(rate)) } else { Err(wrong()) }
    }
}

text_value!(
    Size,
    "a size with a unit, such as \"64KiB\"",
    "A number of bytes with a unit.",
    ["64B", "64KiB", "10MiB"]
);
text_value!(ByteRate, "a size a second, such as \"10MiB/s\"", "Bytes a second.", ["64KiB/s", "10MiB/s"]);
text_value!(
    EventRate,
    "a number a second, such as \"100/s\"",
    "Events a second, minute or hour.",
    ["100/s", "60/m"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [("64B", 64), ("64KiB", 65_536), ("1.5KiB", 1_536), ("10MB", 10_000_000)] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes);
            assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
        assert_eq!("10MiB/s".parse::<ByteRate>().unwrap(), ByteRate(10 << 20));
        assert_eq!("60/m".parse::<EventRate>().unwrap(), EventRate(1.0));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "64", "KiB", "1 parsec", "-1B", "99999999999999999999B", "1e5B"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["10", "0/s", "x/s", "1/d", "inf/s", "nan/s", "-1/s", "1e-300/h", "1e-11/s"] {
            assert!(text.parse::<EventRate>().is_err(), "{text}");
        }
    }
}
