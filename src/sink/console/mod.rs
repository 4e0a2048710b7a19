//! The console: what `once` and the ad-hoc verbs show to people. Tables, colour and a progress bar on a terminal; plain
//! lines with tabs in a pipe. Writes straight to its streams, for here the reader is whom the work is done for; the
//! daemon's lines go through the log's queue. Knows the shapes of records, and no kind.

mod progress;
mod summary;
mod table;

use std::{collections::HashMap, io::Write, sync::Arc};

use super::{
    Sink,
    escape::sentence,
    line::{Colour, colour_of, connection, counted, host, paint, places, state, why},
    results::failed_expectations,
    units::{self, Units},
};
use crate::{
    event::{Event, Finished, JobRef},
    outcome::{Notice, Verdict},
};
use progress::Progress;

/// For whom it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `once`: a line a job and a count at the end.
    Once,
    /// An ad-hoc verb: answers, tables, a summary.
    Verb,
}

/// How it may look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Colour is wanted.
    pub colour: bool,
    /// `out` is a terminal: tables with frames.
    pub terminal: bool,
    /// stderr is a terminal: a progress bar.
    pub progress: bool,
}

/// Shows events to people.
pub struct Console {
    mode: Mode,
    look: Look,
    units: Units,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    progress: Progress,
    /// What each job of `once` came to last.
    verdicts: HashMap<Arc<str>, Verdict>,
    /// How many jobs there are.
    jobs: usize,
    /// How many runs of the verb have ended.
    runs: usize,
    /// The verb is a service that is ready.
    serves: bool,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("mode", &self.mode).field("look", &self.look).finish_non_exhaustive()
    }
}

impl Console {
    /// A console that writes findings to `out` and what is beside them to `err`.
    pub fn new(
        mode: Mode,
        look: Look,
        units: Units,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        let progress = Progress::new(look.progress);
        Self {
            mode,
            look,
            units,
            out,
            err,
            progress,
            verdicts: HashMap::new(),
            jobs: 0,
            runs: 0,
            serves: false,
        }
    }

    /// A line for people; one that cannot be written is lost, as the exit code says the same.
    fn say(&mut self, line: &str) {
        let out = &mut self.out;
        self.progress.aside(|| writeln!(out, "{line}").and_then(|()| out.flush()));
    }

    fn complain(&mut self, line: &str) {
        let err = &mut self.err;
        self.progress.aside(|| writeln!(err, "{line}").and_then(|()| err.flush()));
    }

    fn once(&mut self, event: &Event) {
        match event {
            Event::Started { jobs } => self.jobs = jobs.len(),
            Event::RunFinished(run) => self.case(run),
            Event::RunSkipped { job, cause, .. } if !self.verdicts.contains_key(&job.name) => {
                let word = paint(self.look.colour, Colour::Yellow, "SKIP");
                self.verdicts.insert(job.name.clone(), Verdict::Skipped);
                self.say(&format!("{word} {} ({}): {cause}", job.name, job.kind));
            }
            Event::LeftOut { name, why } => self.complain(&format!("{name} left out: {}", sentence(why))),
            Event::Notice { job, notice, .. } => self.aside(job, notice),
            _ => {}
        }
    }

    /// A run of `once`.
    fn case(&mut self, run: &Finished) {
        self.progress.end();
        let word = match run.verdict {
            Verdict::Passed => "PASS",
            Verdict::Failed => "FAIL",
            Verdict::Errored => "ERROR",
            Verdict::Skipped => "SKIP",
        };
        let word = paint(self.look.colour, colour_of(run.verdict), word);
        let (name, kind) = (&run.job.name, run.job.kind);
        let before = self.verdicts.insert(name.clone(), run.verdict);
        match run.verdict {
            Verdict::Passed => {
                let took = units::seconds(run.duration.as_secs_f64());
                self.say(&format!("{word} {name} ({kind}) {took}"));
            }
            Verdict::Skipped if before == Some(Verdict::Skipped) => {}
            _ => self.say(&format!("{word} {name} ({kind}){}", why(run))),
        }
        self.particulars(run);
    }

    /// What did not hold, and what the operator can do about it.
    fn particulars(&mut self, run: &Finished) {
        if run.verdict == Verdict::Skipped {
            return;
        }
        for line in failed_expectations(run, &self.units) {
            self.say(&format!("  {line}"));
        }
        if let Some(hint) = run.hint.as_ref().filter(|_| run.verdict != Verdict::Passed) {
            self.say(&format!("  hint: {}", sentence(hint)));
        }
    }

    fn verb(&mut self, event: &Event) {
        match event {
            Event::JobReady { job, addresses } => {
                let word = paint(self.look.colour, Colour::Green, "ready");
                self.say(&format!("{} {word} on {}", job.kind, places(addresses)));
                self.serves = true;
            }
            // Connections may go on for a while, and silence would look like a program that hangs.
            Event::Stopping if self.serves => {
                self.complain("ending; open connections may finish, a second signal ends them at once");
            }
            Event::RunFinished(run) => self.result(run),
            Event::RunSkipped { count, cause, .. } => {
                let starts = counted(usize::try_from(*count).unwrap_or(usize::MAX), "start");
                self.complain(&format!("skipped {starts}: {cause}"));
            }
            Event::Notice { job, notice, .. } => self.notice(job, notice),
            Event::ClockStepped { seconds } => {
                self.complain(&format!("the clock was set by {seconds:+} s"));
            }
            _ => {}
        }
    }

    fn notice(&mut self, job: &JobRef, notice: &Notice) {
        match notice {
            Notice::Answer { .. } => {
                if let Some(line) = summary::answer(notice) {
                    self.say(&line);
                }
            }
            Notice::ConnectionClosed { .. } => {
                if let Some(line) = connection(notice) {
                    self.say(&line);
                }
            }
            // The first look at a host is in the table that comes with the run's end.
            Notice::HostChanged { from: Some(_), .. } => {
                if let Some(line) = host(notice) {
                    self.say(&line);
                }
            }
            Notice::StateChanged { .. } => {
                if let Some(line) = state(job, notice) {
                    self.say(&line);
                }
            }
            _ => self.aside(job, notice),
        }
    }

    /// What goes beside the findings: progress and warnings.
    fn aside(&mut self, job: &JobRef, notice: &Notice) {
        match notice {
            Notice::Progress { done, total, what, alive } => self.progress.show(*done, *total, what, *alive),
            Notice::Remark { message } | Notice::Warning { message } => {
                self.complain(&format!("{} ({}): {}", job.name, job.kind, sentence(message)));
            }
            _ => {}
        }
    }

    /// A run of a verb: tables at its first end, then a summary each time.
    fn result(&mut self, run: &Finished) {
        self.progress.end();
        self.runs += 1;
        self.serves = false;
        let show_hosts = self.runs == 1;
        for table in summary::tables(run, show_hosts, &self.units) {
            self.say(table.render(self.look.terminal).trim_end_matches('\n'));
        }
        for line in summary::lines(run, &self.units) {
            self.say(&line);
        }
        match run.verdict {
            Verdict::Passed => {}
            Verdict::Skipped | Verdict::Failed => {
                let word = paint(self.look.colour, colour_of(run.verdict), run.verdict.as_str());
                self.say(&format!("{word}{}", why(run)));
                self.particulars(run);
            }
            Verdict::Errored => {
                let word = paint(self.look.colour, Colour::Red, "error");
                self.complain(&format!("{word}{}", why(run)));
                if let Some(hint) = &run.hint {
                    self.complain(&format!("hint: {}", sentence(hint)));
                }
            }
        }
    }

    /// `9 jobs: 8 passed, 1 failed`.
    fn count(&self) -> String {
        let count = |verdict| self.verdicts.values().filter(|known| **known == verdict).count();
        let mut parts: Vec<String> = Verdict::ALL
            .iter()
            .map(|verdict| (*verdict, count(*verdict)))
            .filter(|(verdict, count)| *count > 0 || *verdict == Verdict::Passed)
            .map(|(verdict, count)| format!("{count} {verdict}"))
            .collect();
        let jobs = self.jobs.max(self.verdicts.len());
        if jobs > self.verdicts.len() {
            parts.push(format!("{} not run", jobs - self.verdicts.len()));
        }
        format!("{}: {}", counted(jobs, "job"), parts.join(", "))
    }
}

impl Sink for Console {
    fn event(&mut self, event: &Event) {
        match self.mode {
            Mode::Once => self.once(event),
            Mode::Verb => self.verb(event),
        }
    }

    fn close(&mut self) {
        self.progress.end();
        if self.mode == Mode::Once {
            let count = self.count();
            self.say(&count);
        }
    }
}

#[cfg(test)]
mod tests;
