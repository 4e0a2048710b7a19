//! The log: one JSON object a line, or one line for people (`--log.format pretty`), written by a thread of its own.
//! Also the same records as results: in a file at the end (`once --json FILE`), or as they come (`--json` of a verb). Not
//! the `console`, which shows tables.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;

use super::{
    Level, Sink, escape,
    file::{Output, Written},
    line::Pretty,
    queue::Queue,
    record::{self, diagnostic, is_step, level},
};
use crate::event::Event;

/// How a record is written.
#[derive(Debug)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Pretty(Pretty),
}

/// The log of the runner.
#[derive(Debug)]
pub struct Log {
    queue: Queue,
    format: Format,
    least: Level,
}

impl Log {
    /// A log of what matters at least so much.
    ///
    /// A closed connection is `info`: for a forward the log is the list of who came, and `--log.level warn` leaves it out.
    pub fn new(queue: Queue, format: Format, least: Level) -> Self {
        Self { queue, format, least }
    }

    /// Where the program's own diagnostics go, so that they stand in the log like everything else.
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics {
            queue: self.queue.clone(),
            json: matches!(self.format, Format::Json),
            least: self.least,
        }
    }
}

impl Sink for Log {
    fn event(&mut self, event: &Event) {
        // Whoever reloads may have put the old file away.
        if matches!(event, Event::ConfigReloaded { .. } | Event::ConfigRejected { .. }) {
            self.queue.reopen();
        }
        let matters = level(event).is_some_and(|level| level >= self.least);
        let line = match &mut self.format {
            Format::Json if matters && !is_step(event) => record::line(event),
            Format::Json => None,
            Format::Pretty(pretty) => pretty.line(event, self.least),
        };
        for line in line.iter().flat_map(|lines| lines.lines()) {
            self.queue.add(line);
        }
    }

    fn told(&mut self) {
        self.queue.send();
    }

    fn is_behind(&self) -> bool {
        self.queue.is_behind()
    }

    fn close(&mut self) {
        self.queue.close();
    }
}

/// The way of the program's own diagnostics into the log.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    queue: Queue,
    json: bool,
    least: Level,
}

impl Diagnostics {
    /// Logs a sentence.
    pub fn say(&self, level: Level, message: &str) {
        if level < self.least {
            return;
        }
        let now = Timestamp::now();
        if self.json {
            self.queue.push(&diagnostic(level, message, now));
        } else {
            self.queue.push(&format!("{now:.0} {level}: {}", escape::sentence(message)));
        }
    }
}

/// All records of a run of the program in one file, written when it ends.
#[derive(Debug)]
pub struct Results {
    lines: String,
    output: Option<Output>,
    written: Written,
}

impl Results {
    /// Records that go to `output`, and the handle that tells how it went.
    pub fn new(output: Output) -> (Self, Written) {
        let written = output.written();
        (Self { lines: String::new(), output: Some(output), written: written.clone() }, written)
    }
}

impl Sink for Results {
    fn event(&mut self, event: &Event) {
        if !is_step(event)
            && let Some(record) = record::line(event)
        {
            self.lines.push_str(&record);
            self.lines.push('\n');
        }
    }

    fn close(&mut self) {
        if let Some(output) = self.output.take() {
            output.write(&self.lines, &self.written);
        }
    }
}

/// All records as they come, answers and progress too, to who waits for them. Loses none, and so waits for the reader: it
/// belongs on a thread of its own.
pub struct Lines {
    out: BufWriter<Box<dyn Write + Send>>,
    result: io::Result<()>,
    written: Written,
}

impl Lines {
    /// Records that go to a stream, and the handle that tells how it went.
    pub fn new(out: Box<dyn Write + Send>) -> (Self, Written) {
        let written = Output::Stream(Box::new(io::sink())).written();
        (Self { out: BufWriter::new(out), result: Ok(()), written: written.clone() }, written)
    }

    /// Does something to the stream unless it failed before.
    fn attempt(&mut self, act: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.result.is_ok() {
            self.result = act(&mut self.out);
        }
    }
}

impl Sink for Lines {
    fn event(&mut self, event: &Event) {
        if let Some(record) = record::line(event) {
            self.attempt(|out| writeln!(out, "{record}"));
        }
    }

    fn told(&mut self) {
        self.attempt(|out| out.flush());
    }

    fn close(&mut self) {
        self.told();
        self.written.set(std::mem::replace(&mut self.result, Ok(())));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        meter::Counter,
        outcome::Verdict,
        sink::testing::{self, Paper},
    };

    fn log(least: Level, events: &[Event]) -> String {
        let paper = Paper::default();
        let queue = Queue::start(paper.writer(), Counter::default()).unwrap();
        let mut log = Log::new(queue, Format::Json, least);
        for event in events {
            log.event(event);
        }
        log.diagnostics().say(Level::Debug, "not told");
        log.diagnostics().say(Level::Error, "told \u{1b}");
        log.close();
        paper.text()
    }

    fn events(text: &str) -> Vec<String> {
        let event = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["event"].as_str().unwrap().to_owned()
        };
        text.lines().map(event).collect()
    }

    #[test]
    fn the_log_has_one_object_a_line_and_no_steps() {
        let text = log(Level::Info, &testing::all());
        let events = events(&text);
        assert_eq!(events.len(), 21);
        assert!(!events.iter().any(|event| event == "answer" || event == "progress"));
        assert_eq!(events[0], "started");
        assert_eq!(events.last().map(String::as_str), Some("diagnostic"));
        assert!(text.contains("told \\\\u{1b}"), "{text}");
    }

    #[test]
    fn an_ad_hoc_verb_tells_the_steps_too() {
        let paper = Paper::default();
        let (mut lines, written) = Lines::new(paper.writer());
        for event in &testing::notices() {
            lines.event(event);
        }
        lines.close();
        written.result().unwrap();
        let events = events(&paper.text());
        assert!(
            events.iter().any(|event| event == "answer") && events.iter().any(|event| event == "progress")
        );
    }

    #[test]
    fn the_level_leaves_out_what_matters_less() {
        let text = log(Level::Error, &testing::all());
        assert_eq!(events(&text), ["run_finished", "config_rejected", "diagnostic"]);
    }

    #[test]
    fn results_are_one_file_of_records_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let (mut results, written) = Results::new(Output::File(path.clone()));
        results.event(&testing::run("a", "ping", Verdict::Passed));
        results.event(&testing::run("b", "wait", Verdict::Failed));
        assert!(!path.exists());
        results.close();
        written.result().unwrap();
        assert_eq!(events(&std::fs::read_to_string(path).unwrap()), ["run_finished", "run_finished"]);
    }
}
