//! What the common keys of a job may say together, once each has been read: paths in the report are theirs.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use super::super::{Job, common::Common};
use crate::{
    diagnostic::{Report, near},
    kind::KINDS,
    outcome::{Measure, Reason, Unit, Verdict},
    value::{
        Timespan,
        expect::{Comparison, Expect, Operand},
    },
};

/// Ends a path that means a key itself rather than its value.
pub(super) const AT_KEY: char = ':';
/// The most labels of a job.
const MOST_LABELS: usize = 8;
/// The shortest period of a check.
const SHORTEST: Duration = Duration::from_millis(1);
/// What a run can come to; one that is skipped is never judged.
const JUDGED: [Verdict; 3] = [Verdict::Passed, Verdict::Failed, Verdict::Errored];
/// What a run may take beyond what its kind needs.
const SLACK: Duration = Duration::from_secs(10);
/// The least default of `run_timeout`.
const LEAST: Duration = Duration::from_secs(30);

/// Judges all of them, and gives the job its `run_timeout`.
pub(super) fn common(common: &Common, job: &mut Job, is_default: &dyn Fn(&str) -> bool, report: &mut Report) {
    starts(common, report);
    labels(common, report);
    if let Some(retry) = &common.retry
        && retry.delay > retry.max_delay
    {
        let message = format!("a `delay` of {} is longer than `max_delay`, {}", retry.delay, retry.max_delay);
        report.error("retry.delay", message, Some("raise `max_delay` too"));
    }
    if common.needs.iter().flatten().any(|need| *need == job.name) {
        report.error("needs", "a job that needs itself", Some("leave it out"));
    }
    if let Some(window) = &common.open
        && window.r#for.is_zero()
    {
        report.error(
            "open.for",
            "a window of no length",
            Some("write how long it stays open, such as `10h`"),
        );
    }
    run_timeout(common, job, is_default, report);
    if let Some(wanted) = &common.expect {
        expect(wanted, job.room.facts().measures, report);
    }
}

fn starts(common: &Common, report: &mut Report) {
    if common.every.is_some_and(|every| every.0 < SHORTEST) {
        report.error("every", "a period shorter than 1ms", Some("write `1ms` or more"));
    }
    if common.timezone.is_some() && common.cron.is_none() {
        report.error(
            "timezone",
            "`timezone` without `cron`",
            Some("only `cron` follows the clock of a zone"),
        );
    }
}

/// Label names that are ours, or Prometheus' own. A test holds that every metric's are among them.
static OURS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let metrics = KINDS.iter().flat_map(|facts| facts.metrics);
    let labels = metrics.flat_map(|metric| metric.labels.iter().copied());
    let others = ["job_name", "job", "instance", "kind", "reason", "cause", "le", "quantile"];
    let of_build_info = ["version", "os", "arch"];
    others.into_iter().chain(of_build_info).chain(labels).collect()
});

fn labels(common: &Common, report: &mut Report) {
    let Some(labels) = &common.labels else { return };
    if labels.len() > MOST_LABELS {
        let message = format!("{} labels, and a job has at most {MOST_LABELS}", labels.len());
        report.error("labels", message, Some("those of `defaults` count too"));
    }
    for name in labels.keys() {
        let path = format!("labels.{name}{AT_KEY}");
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let plain = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !plain || name.starts_with("__") {
            let message = format!("`{}` is not the name of a label", name.escape_debug());
            report.error(path, message, Some("use small letters, digits and `_`, such as `site`"));
        } else if OURS.contains(name.as_str()) {
            let message = format!("the label `{name}` is one of the program's own");
            report.error(path, message, Some("choose another name, such as `site`"));
        }
    }
}

fn run_timeout(common: &Common, job: &mut Job, is_default: &dyn Fn(&str) -> bool, report: &mut Report) {
    let kind = job.room.facts().name;
    if job.room.is_unbounded() {
        if common.run_timeout.is_some() && !is_default("run_timeout") {
            let message = format!("`run_timeout` on a `{kind}`, which has its own `timeout`");
            report.error("run_timeout", message, Some("leave it out"));
        }
        job.run_timeout = None;
        return;
    }
    let attempts = job.retry.attempts.0;
    let longest = job.room.longest();
    let pauses = job.retry.pauses();
    let sum = longest.unwrap_or_default().saturating_mul(attempts).saturating_add(pauses);
    match (common.run_timeout, longest) {
        (Some(given), Some(longest)) if given.0 < sum => {
            let sum = whole(sum);
            let mut message = format!("`run_timeout` is {given}, and this job needs {sum}");
            if attempts > 1 {
                let (one, pauses) = (whole(longest), whole(pauses));
                message = format!("{message}: {attempts} × {one} and pauses of {pauses}");
            }
            let hint = format!("write at least `{sum}`, or leave it out");
            report.error("run_timeout", message, Some(&hint));
        }
        (Some(given), _) if given.is_zero() => {
            report.error("run_timeout", "a run that may take no time", Some("write a length, such as `30s`"));
        }
        (Some(_), _) => {}
        (None, _) => {
            let longer = job.room.longer().saturating_mul(attempts);
            job.run_timeout = Some(Timespan(sum.saturating_add(longer).saturating_add(SLACK).max(LEAST)));
        }
    }
}

/// Whole milliseconds, rounded up: what is told may be written.
fn whole(length: Duration) -> Timespan {
    let millis = length.as_nanos().div_ceil(1_000_000);
    Timespan(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

fn expect(expect: &Expect, measures: &[Measure], report: &mut Report) {
    for (name, comparisons) in &expect.0 {
        let path = |index: usize| {
            if comparisons.len() == 1 { format!("expect.{name}") } else { format!("expect.{name}[{index}]") }
        };
        let measure = measures.iter().find(|measure| measure.name == name);
        for (index, comparison) in comparisons.iter().enumerate() {
            let judged = match (name.as_str(), measure) {
                ("verdict", _) => word(comparison, JUDGED.iter().map(|verdict| verdict.as_str())),
                ("reason", _) => word(comparison, Reason::ALL.iter().map(|reason| reason.as_str())),
                (_, Some(measure)) => fits(comparison, measure),
                (_, None) => {
                    let (message, hint) = unmeasured(name, measures);
                    report.error(format!("expect.{name}{AT_KEY}"), message, Some(&hint));
                    break;
                }
            };
            if let Err((message, hint)) = judged {
                report.error(path(index), message, Some(&hint));
            }
        }
    }
}

fn unmeasured(name: &str, measures: &[Measure]) -> (String, String) {
    let known = || measures.iter().map(|measure| measure.name).chain(["verdict", "reason"]);
    let hint = match near(name, known()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => {
            format!("it measures {}", known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
    };
    (format!("nothing measures `{}`", name.escape_debug()), hint)
}

/// Whether a comparison's value is of the measure's unit.
fn fits(comparison: &Comparison, measure: &Measure) -> Result<(), (String, String)> {
    let operand = &comparison.operand;
    let zero = matches!(operand, Operand::Number(number) if *number == 0.0);
    let (unit, sample) = match measure.unit {
        Unit::Count if matches!(operand, Operand::Number(_)) => return Ok(()),
        Unit::Seconds if zero || matches!(operand, Operand::Seconds(_)) => return Ok(()),
        Unit::Bytes if zero || matches!(operand, Operand::Bytes(_)) => return Ok(()),
        // `1` may be meant as one per cent.
        Unit::Ratio if matches!(operand, Operand::Ratio(_)) => return Ok(()),
        Unit::Ratio if matches!(operand, Operand::Number(number) if (0.0..1.0).contains(number)) => {
            return Ok(());
        }
        Unit::Flag if matches!(operand, Operand::Flag(_)) => return Ok(()),
        Unit::Word if matches!(operand, Operand::Word(_)) => {
            let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
            return if measure.name.ends_with("reason") { word(comparison, reasons) } else { Ok(()) };
        }
        Unit::Count => ("a number", "0".to_owned()),
        Unit::Seconds => ("a time", bare(operand).map_or("20ms".into(), |number| format!("{number}ms"))),
        Unit::Bytes => ("a size", bare(operand).map_or("64KiB".into(), |number| format!("{number}B"))),
        Unit::Ratio => ("a ratio", bare(operand).map_or("5%".into(), |number| format!("{number}%"))),
        Unit::Flag => ("a flag", "true".to_owned()),
        Unit::Word => ("a word", "refused".to_owned()),
    };
    let message = format!("`{}` is {unit}, and `{comparison}` is none", measure.name);
    let sample = Comparison { operator: comparison.operator, operand: Operand::Word(sample) };
    Err((message, format!("write `{sample}`")))
}

fn bare(operand: &Operand) -> Option<f64> {
    match operand {
        Operand::Number(number) if *number > 0.0 => Some(*number),
        _ => None,
    }
}

/// Whether a comparison is with one of these words.
fn word(
    comparison: &Comparison,
    known: impl Iterator<Item = &'static str> + Clone,
) -> Result<(), (String, String)> {
    match &comparison.operand {
        Operand::Word(word) if known.clone().any(|known| known == word) => Ok(()),
        operand => {
            let text = operand.to_string();
            let hint = match near(&text, known.clone()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("write one of {}", known.collect::<Vec<_>>().join(", ")),
            };
            Err((format!("`{text}` is no word that it can be"), hint))
        }
    }
}
