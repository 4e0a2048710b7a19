//! TAP version 14: one test point a job, with a YAML block where it did not pass. Written whole at the end.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Sink, escape,
    file::{Output, Written},
    results::{Case, Cases, failed_expectations},
    units::Units,
};
use crate::{event::Event, outcome::Verdict};

/// Collects the jobs' results as test points.
#[derive(Debug)]
pub struct Tap {
    units: Units,
    cases: Cases,
    output: Option<Output>,
    written: Written,
}

impl Tap {
    /// A TAP document, and the handle that tells how the writing went.
    pub fn new(output: Output, units: Units) -> (Self, Written) {
        let written = output.written();
        (Self { units, cases: Cases::default(), output: Some(output), written: written.clone() }, written)
    }

    fn text(&self) -> String {
        let mut out = format!("TAP version 14\n1..{}\n", self.cases.all().count());
        for (number, case) in (1..).zip(self.cases.all()) {
            self.point(&mut out, number, case);
        }
        out
    }

    fn point(&self, out: &mut String, number: usize, case: Case<'_>) {
        let verdict = case.verdict();
        let ok = if matches!(verdict, Verdict::Failed | Verdict::Errored) { "not ok" } else { "ok" };
        let _ = write!(out, "{ok} {number} - {} ({})", describe(&case.job.name), case.job.kind);
        if verdict == Verdict::Skipped {
            let _ = write!(out, " # SKIP {}", describe(&case.message()));
        }
        out.push('\n');
        if ok == "ok" {
            return;
        }
        let mut fields = vec![
            ("verdict", Value::from(verdict.as_str())),
            ("reason", case.word().into()),
            ("message", case.message().into()),
            ("duration_seconds", case.seconds().into()),
        ];
        if let Some(run) = case.run {
            fields.push(("expectations", failed_expectations(run, &self.units).into()));
        }
        out.push_str("  ---\n");
        for (name, value) in fields {
            // JSON is YAML.
            let _ = writeln!(out, "  {name}: {}", escape::json_line(&value));
        }
        out.push_str("  ...\n");
    }
}

impl Sink for Tap {
    fn event(&mut self, event: &Event) {
        self.cases.event(event);
    }

    fn close(&mut self) {
        if let Some(output) = self.output.take() {
            output.write(&self.text(), &self.written);
        }
    }
}

/// A description: `#` begins a directive, so that it and the backslash are escaped.
fn describe(text: &str) -> String {
    escape::sentence(text).replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::Cause,
        sink::testing::{self, Paper, job, noon},
    };

    #[test]
    fn each_job_is_a_test_point() {
        let paper = Paper::default();
        let (mut tap, written) = Tap::new(Output::Stream(paper.writer()), Units::default());
        let jobs = ["web", "gateway", "late"].map(|name| job(name, "ping"));
        let late = jobs[2].clone();
        for event in [
            Event::Started { jobs: jobs.to_vec() },
            testing::run("gateway", "ping", Verdict::Failed),
            testing::run("web", "ping", Verdict::Passed),
            Event::RunSkipped { job: late, scheduled: noon(), cause: Cause::Needs, count: 1 },
        ] {
            tap.event(&event);
        }
        tap.close();
        written.result().unwrap();
        assert_eq!(
            paper.text(),
            r#"TAP version 14
1..3
ok 1 - web (ping)
not ok 2 - gateway (ping)
  ---
  verdict: "failed"
  reason: "expectation"
  message: "loss is 25%, wanted <= 5%"
  duration_seconds: 0.0125
  expectations: ["loss: wanted <= 5%, measured 0.25"]
  ...
ok 3 - late (ping) # SKIP needs
"#
        );
    }

    #[test]
    fn a_description_starts_no_directive_and_no_line() {
        assert_eq!(describe("a # SKIP \n \\"), "a \\# SKIP \\\\u{a} \\\\");
    }
}
