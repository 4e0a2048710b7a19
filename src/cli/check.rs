//! `netjobs check`: are the files right, and what will they lack here?

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use clap::{ValueEnum, ValueHint};
use serde_json::{Value, json};

use super::{
    files::Files,
    out::{self, Color},
    predict::{self, Prediction},
};
use crate::{
    diagnostic::Severity,
    exit::Code,
    job::load::Loaded,
    sys::rights::{self, Right},
};

/// Validate job files, and predict what this machine will refuse them
///
/// Prints every mistake of every file with its place and a hint. Also says which rights will be missing, which
/// forwards the whole network reaches or ask for too many open files, and which ports are taken; those do not change the
/// exit code.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs check                   ./jobs, or the built-in demo
  netjobs check jobs/lan.yaml
  netjobs check jobs --format json")]
pub struct Check {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// How to print what was found
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// The forms of the findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people, with the source.
    #[default]
    Human,
    /// One JSON document.
    Json,
}

impl Check {
    /// Loads, judges and prints.
    pub fn run(&self, color: Color) -> Code {
        let loaded = Files::of(&self.paths).load();
        rights::keep_only(Right::ALL);
        let predictions = predict::all(&loaded.jobs);
        let code = if loaded.report.has_errors() { Code::Usage } else { Code::Passed };
        let text = match self.format {
            Format::Human => human(&loaded, &predictions, color.on(&std::io::stdout())),
            Format::Json => format!("{:#}\n", document(&loaded, &predictions)),
        };
        out::print(&text, code)
    }
}

fn human(loaded: &Loaded, predictions: &[Prediction], color: bool) -> String {
    let mut text = loaded.report.render(color);
    for prediction in predictions {
        let _ = writeln!(text, "{prediction}");
    }
    for (name, why) in left_out(loaded) {
        let _ = writeln!(text, "`{name}` is left out: {why}");
    }
    let _ = writeln!(text, "{}", summary(loaded, predictions.len()));
    text
}

/// `9 jobs in 9 files: ok`, or what there is to mend.
fn summary(loaded: &Loaded, notes: usize) -> String {
    let count = |severity| {
        loaded.report.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    };
    let mut parts = vec![];
    for (count, what) in
        [(count(Severity::Error), "error"), (count(Severity::Warning), "warning"), (notes, "note")]
    {
        if count > 0 {
            parts.push(out::plural(count, what));
        }
    }
    if count(Severity::Error) > 0 {
        return parts.join(", ");
    }
    parts.insert(0, "ok".into());
    let jobs = out::plural(loaded.jobs.len() + left_out(loaded).count(), "job");
    format!("{jobs} in {}: {}", out::plural(files(loaded), "file"), parts.join(", "))
}

/// How many files the jobs stand in.
fn files(loaded: &Loaded) -> usize {
    let file = |place: &str| place.rsplit_once(':').map_or(place, |(file, _)| file).to_owned();
    loaded.jobs.iter().map(|job| file(&job.place)).collect::<BTreeSet<_>>().len()
}

fn left_out(loaded: &Loaded) -> impl Iterator<Item = (&str, &str)> {
    loaded.left_out.iter().map(|(name, why)| (&**name, why.as_str()))
}

fn document(loaded: &Loaded, predictions: &[Prediction]) -> Value {
    let predictions: Vec<Value> = predictions
        .iter()
        .map(|one| json!({ "job_name": one.job, "place": one.place, "message": one.message, "hint": one.hint }))
        .collect();
    let left_out: Vec<Value> =
        left_out(loaded).map(|(name, why)| json!({ "job_name": name, "why": why })).collect();
    json!({
        "ok": !loaded.report.has_errors(),
        "jobs": loaded.jobs.len(),
        "files": files(loaded),
        "diagnostics": loaded.report.to_json(),
        "predictions": predictions,
        "left_out": left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diagnostic::Report, job::load::Environment};

    fn loaded(text: &str) -> Loaded {
        crate::job::load::load_texts(&[("a.yaml", text)], &Environment::of_process())
    }

    #[test]
    fn the_summary_counts_what_there_is() {
        let good = loaded("jobs:\n  - { name: a, ipc: {} }\n  - { name: b, ipc: {} }\n");
        assert_eq!(summary(&good, 0), "2 jobs in 1 file: ok");
        assert_eq!(summary(&good, 1), "2 jobs in 1 file: ok, 1 note");
        let bad = loaded("jobs:\n  - { name: a, ipcc: {} }\n");
        assert_eq!(summary(&bad, 0), "1 error");
    }

    #[test]
    fn the_document_holds_each_finding() {
        let mut good = loaded("jobs:\n  - { name: a, ipc: {} }\n");
        let mut report = Report::default();
        report.warning("x", "odd", None);
        good.report = report;
        let document = document(&good, &[]);
        assert_eq!(document["ok"], true);
        assert_eq!(document["jobs"], 1);
        assert_eq!(document["diagnostics"][0]["message"], "odd");
    }
}
