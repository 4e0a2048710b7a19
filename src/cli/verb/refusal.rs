//! What is wrong with an ad-hoc job, told by flags instead of places in a file.

use std::fmt::Write as _;

use super::shape;
use crate::diagnostic::{Report, Severity};

/// Each diagnostic as `error: --flag: message` and its hint.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for diagnostic in &report.diagnostics {
        let word = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let _ = writeln!(text, "{word}: {}{}", flag(&diagnostic.path), diagnostic.message);
        if let Some(hint) = &diagnostic.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
    }
    text
}

/// `connect_timeout` → `--connect-timeout: `, `to[1]` → `--to: `, `expect.loss[0]` → `--expect loss: `.
fn flag(path: &str) -> String {
    let keys: Vec<&str> = path
        .split('.')
        .map(|key| key.split('[').next().unwrap_or_default())
        .filter(|key| !key.is_empty())
        .collect();
    match keys.as_slice() {
        [] => String::new(),
        ["expect", name, ..] => format!("--expect {name}: "),
        keys => format!("--{}: ", shape::flag(&keys.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_flags() {
        assert_eq!(flag("connect_timeout"), "--connect-timeout: ");
        assert_eq!(flag("proxy_protocol.send"), "--proxy-protocol.send: ");
        assert_eq!(flag("to[1]"), "--to: ");
        assert_eq!(flag("expect.rtt_p95[0]"), "--expect rtt_p95: ");
        assert_eq!(flag(""), "");
    }

    #[test]
    fn hints_stand_below() {
        let mut report = Report::default();
        report.error("to", "no such thing", Some("write another"));
        report.warning("", "odd", None);
        assert_eq!(render(&report), "error: --to: no such thing\nhint: write another\nwarning: odd\n");
    }
}
