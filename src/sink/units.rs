//! Measured values as people read them: `12.3 ms`, `4.00 KiB`, `5%`. The log has base units instead.

use crate::outcome::{Measure, Sample, Unit};

/// Which unit each measurement of each kind has.
#[derive(Clone, Debug, Default)]
pub struct Units(Vec<(&'static str, &'static [Measure])>);

impl Units {
    /// The units of these kinds' measurements.
    pub fn new(kinds: impl IntoIterator<Item = (&'static str, &'static [Measure])>) -> Self {
        Self(kinds.into_iter().collect())
    }

    /// The unit of a measurement; `None` where the kind has no such one.
    pub fn of(&self, kind: &str, name: &str) -> Option<Unit> {
        let (_, measures) = self.0.iter().find(|(known, _)| *known == kind)?;
        measures.iter().find(|measure| measure.name == name).map(|measure| measure.unit)
    }

    /// A value with its unit.
    pub fn show(&self, kind: &str, name: &str, sample: &Sample) -> String {
        match sample {
            Sample::Count(count) if self.of(kind, name) == Some(Unit::Bytes) => bytes(*count as f64),
            Sample::Count(count) => count.to_string(),
            Sample::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Sample::Word(word) => (*word).to_owned(),
            Sample::Number(value) => match self.of(kind, name) {
                Some(Unit::Seconds) => seconds(*value),
                Some(Unit::Bytes) => bytes(*value),
                Some(Unit::Ratio) => ratio(*value),
                _ => plain(*value),
            },
        }
    }
}

/// A time: `213 µs`, `12.3 ms`, `1.50 s`, `2m 05s`, `3h 20m`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return format!("{value} s");
    }
    if value == 0.0 {
        return "0 s".into();
    }
    if value >= 59.95 {
        let whole = std::time::Duration::from_secs_f64(value.min(1e15)).as_secs_f64().round();
        let (minutes, rest) = ((whole / 60.0).floor(), whole % 60.0);
        if minutes < 60.0 {
            return format!("{minutes}m {rest:02}s");
        }
        return format!("{}h {:02}m", (minutes / 60.0).floor(), minutes % 60.0);
    }
    if value < 0.000_999_5 {
        return format!("{} µs", three_digits(value * 1e6));
    }
    if value < 0.999_5 {
        return format!("{} ms", three_digits(value * 1e3));
    }
    format!("{} s", three_digits(value))
}

/// A size: `512 B`, `4.00 KiB`, `1.50 GiB`.
pub fn bytes(value: f64) -> String {
    const WORDS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1024.0 {
        return format!("{} B", plain(value));
    }
    let mut scaled = value / 1024.0;
    let mut word = WORDS[0];
    for larger in &WORDS[1..] {
        if scaled < 1023.5 {
            break;
        }
        scaled /= 1024.0;
        word = larger;
    }
    format!("{} {word}", three_digits(scaled))
}

/// A part of one: `5%`, `33.3%`.
pub fn ratio(value: f64) -> String {
    format!("{}%", plain((value * 1000.0).round() / 10.0))
}

fn three_digits(value: f64) -> String {
    if value >= 99.95 {
        format!("{value:.0}")
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// At most three decimals, none that say nothing.
pub fn plain(value: f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_nearest_unit() {
        let shown = [0.0, 0.000_000_4, 0.000_213, 0.000_999_9, 0.0123, 0.999_9, 1.5, 59.99, 125.0, 12_000.0];
        let wanted = [
            "0 s", "0.40 µs", "213 µs", "1.00 ms", "12.3 ms", "1.00 s", "1.50 s", "1m 00s", "2m 05s",
            "3h 20m",
        ];
        assert_eq!(shown.map(seconds), wanted);
        assert_eq!(seconds(f64::NAN), "NaN s");
    }

    #[test]
    fn sizes_and_ratios_read_like_the_job_file() {
        assert_eq!(
            [0.0, 1023.0, 4096.0, 1_048_575.0, 1.5e9].map(bytes),
            ["0 B", "1023 B", "4.00 KiB", "1.00 MiB", "1.40 GiB"]
        );
        assert_eq!([0.0, 0.05, 1.0 / 3.0, 1.0].map(ratio), ["0%", "5%", "33.3%", "100%"]);
    }

    #[test]
    fn a_value_takes_the_unit_that_its_kind_declares() {
        const MEASURES: &[Measure] = &[
            Measure { name: "rtt_avg", unit: Unit::Seconds, own: None, help: "" },
            Measure { name: "sent_bytes", unit: Unit::Bytes, own: None, help: "" },
        ];
        let units = Units::new([("ping", MEASURES)]);
        assert_eq!(units.show("ping", "rtt_avg", &Sample::Number(0.0123)), "12.3 ms");
        assert_eq!(units.show("wait", "rtt_avg", &Sample::Number(0.0123)), "0.012");
        assert_eq!(units.show("ping", "sent_bytes", &Sample::Count(2048)), "2.00 KiB");
        assert_eq!(units.show("ping", "sent", &Sample::Count(4)), "4");
        assert_eq!(units.show("ipv6", "supported", &Sample::Flag(true)), "yes");
        assert_eq!(units.show("wait", "last_reason", &Sample::Word("refused")), "refused");
    }
}
