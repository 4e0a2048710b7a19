//! A JUnit file, as CI servers read it: one suite, one `testcase` a job. Written whole at the end; XML 1.0.

use std::fmt::Write as _;

use super::{
    Sink,
    file::{Output, Written},
    results::{Case, Cases, failed_expectations},
    units::Units,
};
use crate::{event::Event, outcome::Verdict};

/// Collects the jobs' results for a JUnit file.
#[derive(Debug)]
pub struct Junit {
    suite: String,
    units: Units,
    cases: Cases,
    output: Option<Output>,
    written: Written,
}

impl Junit {
    /// A file with one suite, and the handle that tells how the writing went.
    pub fn new(output: Output, suite: &str, units: Units) -> (Self, Written) {
        let written = output.written();
        let junit = Self {
            suite: suite.to_owned(),
            units,
            cases: Cases::default(),
            output: Some(output),
            written: written.clone(),
        };
        (junit, written)
    }

    fn text(&self) -> String {
        let count = |verdict| self.cases.all().filter(|case| case.verdict() == verdict).count();
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.6}\"",
            self.cases.all().count(),
            count(Verdict::Failed),
            count(Verdict::Errored),
            count(Verdict::Skipped),
            self.cases.all().map(|case| case.seconds()).sum::<f64>()
        );
        let suite = escape(&self.suite);
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{suite}\" {counts}>\n  <testsuite name=\"{suite}\" {counts}>\n"
        );
        for case in self.cases.all() {
            self.case(&mut out, case);
        }
        out.push_str("  </testsuite>\n</testsuites>\n");
        out
    }

    fn case(&self, out: &mut String, case: Case<'_>) {
        let _ = writeln!(
            out,
            "    <testcase name=\"{}\" classname=\"{}\" time=\"{:.6}\">",
            escape(&case.job.name),
            case.job.kind,
            case.seconds()
        );
        let element = match case.verdict() {
            Verdict::Passed => None,
            Verdict::Failed => Some("failure"),
            Verdict::Errored => Some("error"),
            Verdict::Skipped => Some("skipped"),
        };
        let message = escape(&case.message());
        match element {
            Some("skipped") => {
                let _ = writeln!(out, "      <skipped message=\"{message}\"/>");
            }
            Some(element) => {
                let mut body = case.run.map(|run| failed_expectations(run, &self.units)).unwrap_or_default();
                body.extend(case.run.and_then(|run| run.hint.clone()).map(|hint| format!("hint: {hint}")));
                let body = escape_text(&body.join("\n"));
                let word = case.word();
                let _ = writeln!(
                    out,
                    "      <{element} message=\"{message}\" type=\"{word}\">{body}</{element}>"
                );
            }
            None => {}
        }
        self.measured(out, case);
        out.push_str("    </testcase>\n");
    }

    fn measured(&self, out: &mut String, case: Case<'_>) {
        let sets = case.run.map(|run| run.samples.as_slice()).unwrap_or_default();
        if sets.iter().all(|set| set.values.is_empty()) {
            return;
        }
        out.push_str("      <system-out>");
        for set in sets {
            for (name, sample) in &set.values {
                let family = set.family.map(|family| format!("{family} ")).unwrap_or_default();
                let value = self.units.show(case.job.kind, name, sample);
                let _ = writeln!(out, "{family}{name}: {}", escape_text(&value));
            }
        }
        out.push_str("</system-out>\n");
    }
}

impl Sink for Junit {
    fn event(&mut self, event: &Event) {
        self.cases.event(event);
    }

    fn close(&mut self) {
        if let Some(output) = self.output.take() {
            output.write(&self.text(), &self.written);
        }
    }
}

/// Text for an attribute: on one line.
fn escape(text: &str) -> String {
    escape_text(text).replace('\n', "&#10;").replace('\t', "&#9;").replace('\r', "&#13;")
}

/// Text for an element. XML 1.0 has no way to write most control characters, so that they stand as `\u{1b}`.
fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c if super::escape::is_risky(c) => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::{self, Paper, job};

    fn junit(events: impl IntoIterator<Item = Event>) -> String {
        let paper = Paper::default();
        let (mut junit, written) = Junit::new(Output::Stream(paper.writer()), "netjobs", Units::default());
        events.into_iter().for_each(|event| junit.event(&event));
        junit.close();
        written.result().unwrap();
        paper.text()
    }

    #[test]
    fn each_job_is_a_case_in_file_order_also_one_that_did_not_run() {
        let names = ["web", "gateway", "late", "broken"].map(|name| job(name, "ping"));
        let text = junit([
            Event::Started { jobs: names.to_vec() },
            testing::run("broken", "ping", Verdict::Errored),
            testing::run("gateway", "ping", Verdict::Failed),
            testing::run("web", "ping", Verdict::Passed),
            Event::Stopped,
        ]);
        let counts = "tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"0.037500\"";
        let wanted = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="netjobs" {counts}>
  <testsuite name="netjobs" {counts}>
    <testcase name="web" classname="ping" time="0.012500">
      <system-out>sent: 4
loss: 0
</system-out>
    </testcase>
    <testcase name="gateway" classname="ping" time="0.012500">
      <failure message="loss is 25%, wanted &lt;= 5%" type="expectation">loss: wanted &lt;= 5%, measured 0.25</failure>
      <system-out>sent: 4
loss: 0.25
</system-out>
    </testcase>
    <testcase name="late" classname="ping" time="0.000000">
      <skipped message="not_run"/>
    </testcase>
    <testcase name="broken" classname="ping" time="0.012500">
      <error message="loss is 25%, wanted &lt;= 5%" type="expectation">loss: wanted &lt;= 5%, measured 0.25</error>
      <system-out>sent: 4
loss: 0.25
</system-out>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn case_68_no_text_breaks_out_of_the_xml() {
        let mut run = testing::finished("a", "exchange", Verdict::Failed);
        run.message = Some("\"><x a='\u{0}\u{1b}\u{ffff}\n]]>&".into());
        let text = junit([Event::RunFinished(Box::new(run))]);
        let message = "message=\"&quot;&gt;&lt;x a='\\u{0}\\u{1b}\\u{ffff}\\u{a}]]&gt;&amp;\"";
        assert!(text.contains(message), "{text}");
    }
}
