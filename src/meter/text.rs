//! The Prometheus text format, version 0.0.4: labels, help lines and numbers. Knows no registry.

use std::fmt::Write as _;

use super::{Counter, Gauge, Histogram};
use crate::outcome::{Metric, MetricType};

/// Appends `name="value"`, with a comma before it where something stands already. All but three characters stand as
/// they are, control characters too.
pub(super) fn write_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Appends the two lines before the series of a family.
pub(super) fn write_head(out: &mut String, metric: &Metric) {
    let r#type = match metric.r#type {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
    };
    let name = metric.name;
    let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {type}\n");
}

pub(super) fn write_counter(out: &mut String, name: &str, labels: &str, counter: &Counter) {
    write_start(out, name, "", labels);
    let _ = writeln!(out, "}} {}", counter.value());
}

pub(super) fn write_gauge(out: &mut String, name: &str, labels: &str, gauge: &Gauge) {
    write_start(out, name, "", labels);
    out.push_str("} ");
    write_number(out, gauge.value());
    out.push('\n');
}

pub(super) fn write_histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let mut total = 0;
    for (bound, count) in histogram.cumulative() {
        write_start(out, name, "_bucket", labels);
        out.push_str(",le=\"");
        write_number(out, bound);
        let _ = writeln!(out, "\"}} {count}");
        total = count;
    }
    write_start(out, name, "_sum", labels);
    out.push_str("} ");
    write_number(out, histogram.sum());
    out.push('\n');
    write_start(out, name, "_count", labels);
    let _ = writeln!(out, "}} {total}");
}

fn write_start(out: &mut String, name: &str, suffix: &str, labels: &str) {
    out.push_str(name);
    out.push_str(suffix);
    out.push('{');
    out.push_str(labels);
}

fn write_number(out: &mut String, value: f64) {
    if value == f64::INFINITY {
        out.push_str("+Inf");
    } else if value == f64::NEG_INFINITY {
        out.push_str("-Inf");
    } else {
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_all_bounds_have_the_words_of_the_format() {
        let mut out = String::new();
        for value in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.000_05, -0.5, 1e15, 3.0] {
            write_number(&mut out, value);
            out.push(' ');
        }
        assert_eq!(out, "+Inf -Inf NaN 0.00005 -0.5 1000000000000000 3 ");
    }

    #[test]
    fn a_help_line_stays_one_line() {
        let mut out = String::new();
        write_head(&mut out, &Metric::counter("a_total", &[], "One\\two\nthree."));
        assert_eq!(out, "# HELP a_total One\\\\two\\nthree.\n# TYPE a_total counter\n");
    }

    #[test]
    fn labels_escape_what_the_format_needs_and_nothing_else() {
        let mut out = String::new();
        write_label(&mut out, "a", "q\" b\\ n\n r\r esc\u{1b} rtl\u{202e} nul\0");
        write_label(&mut out, "b", "");
        assert_eq!(out, "a=\"q\\\" b\\\\ n\\n r\r esc\u{1b} rtl\u{202e} nul\0\",b=\"\"");
    }
}
