//! One line for people about what changed: the runner's log on a terminal. Runs that end as the ones before are no change.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{
    Level,
    escape::{peer, sentence},
    record::level,
    units,
};
use crate::{
    diagnostic::{Diagnostic, Report, Severity},
    event::{Event, Finished, JobRef},
    outcome::{Notice, Reason, Verdict},
};

/// A colour of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Well.
    Green,
    /// To look at.
    Yellow,
    /// Wrong.
    Red,
    /// Aside.
    Dim,
}

/// The text in a colour, or as it is.
pub fn paint(on: bool, colour: Colour, text: &str) -> String {
    if !on {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
        Colour::Dim => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// The colour of a verdict.
pub fn colour_of(verdict: Verdict) -> Colour {
    match verdict {
        Verdict::Passed => Colour::Green,
        Verdict::Skipped => Colour::Yellow,
        Verdict::Failed | Verdict::Errored => Colour::Red,
    }
}

/// Turns events into lines, and remembers what each job last came to.
#[derive(Debug, Default)]
pub struct Pretty {
    colour: bool,
    last: HashMap<Arc<str>, (Verdict, Option<Reason>)>,
}

impl Pretty {
    /// Lines with or without colour.
    pub fn new(colour: bool) -> Self {
        Self { colour, last: HashMap::new() }
    }

    /// What to print of an event, with the time before it; at `debug` also each run and connection.
    pub fn line(&mut self, event: &Event, least: Level) -> Option<String> {
        let text = self.text(event, least == Level::Debug)?;
        let level = level(event).unwrap_or(Level::Info);
        (level >= least).then(|| {
            let time = format!("{:.0}", Timestamp::now());
            format!("{} {text}", paint(self.colour, Colour::Dim, &time))
        })
    }

    fn text(&mut self, event: &Event, everything: bool) -> Option<String> {
        Some(match event {
            Event::Started { jobs } => format!("started: {}", counted(jobs.len(), "job")),
            Event::Stopped => "stopped".into(),
            Event::JobReady { job, addresses } => {
                format!("{} ({}) {} on {}", job.name, job.kind, self.ready(), places(addresses))
            }
            Event::RunFinished(run) => {
                let now = (run.verdict, run.reason);
                let before = self.last.insert(run.job.name.clone(), now);
                if before == Some(now) && !everything {
                    return None;
                }
                self.run(run)
            }
            Event::RunStuck { job, .. } => {
                format!(
                    "{} ({}) is stuck in a call that does not return: it starts no run until then",
                    job.name, job.kind
                )
            }
            Event::RunReturned { job, .. } => format!("{} ({}) is not stuck any more", job.name, job.kind),
            Event::RunSkipped { job, cause, count, .. } => {
                format!("{} ({}) skipped {}: {cause}", job.name, job.kind, counted_starts(*count))
            }
            Event::JobRemoved { job } => {
                self.last.remove(&job.name);
                return None;
            }
            Event::Notice { job, notice, .. } => {
                format!("{} ({}) {}", job.name, job.kind, notice_text(job, notice, everything)?)
            }
            Event::LeftOut { name, why } => format!("{name} left out: {}", sentence(why)),
            Event::ConfigReloaded { added, removed, changed, kept } => format!(
                "reloaded: {} added, {} removed, {} changed, {kept} kept",
                added.len(),
                removed.len(),
                changed.len()
            ),
            Event::ConfigRejected { report } => rejected(report),
            Event::ClockStepped { seconds } => {
                let way = if *seconds < 0.0 { "back" } else { "forward" };
                format!("the clock was set {way} by {}", units::seconds(seconds.abs()))
            }
            Event::ConfigReading
            | Event::Stopping
            | Event::JobClosing { .. }
            | Event::JobAdded { .. }
            | Event::NextRun { .. }
            | Event::RunStarted { .. }
            | Event::StateChanged { .. } => return None,
        })
    }

    fn ready(&self) -> String {
        paint(self.colour, Colour::Green, "ready")
    }

    fn run(&self, run: &Finished) -> String {
        let verdict = paint(self.colour, colour_of(run.verdict), run.verdict.as_str());
        let mut line = format!(
            "{} ({}) {verdict} in {}",
            run.job.name,
            run.job.kind,
            units::seconds(run.duration.as_secs_f64())
        );
        line.push_str(&why(run));
        line
    }
}

/// `: reason: message`, as much of it as there is.
pub fn why(run: &Finished) -> String {
    let mut text = String::new();
    if let Some(reason) = run.reason {
        text.push_str(": ");
        text.push_str(reason.as_str());
    }
    if let Some(message) = &run.message {
        text.push_str(": ");
        text.push_str(&sentence(message));
    }
    text
}

/// A notice in words; connections only where everything is wanted, answers and progress never.
fn notice_text(job: &JobRef, notice: &Notice, everything: bool) -> Option<String> {
    Some(match notice {
        Notice::ConnectionClosed { .. } if everything => connection(notice)?,
        Notice::HostChanged { .. } => host(notice)?,
        Notice::StateChanged { .. } => state(job, notice)?,
        Notice::Warning { message } => format!("warning: {}", sentence(message)),
        Notice::Remark { message } => sentence(message).into_owned(),
        Notice::ConnectionClosed { .. } | Notice::Answer { .. } | Notice::Progress { .. } => return None,
    })
}

/// What changed for a run that goes on, in words: for a service an upstream, for a check what it waits for.
pub fn state(job: &JobRef, notice: &Notice) -> Option<String> {
    let Notice::StateChanged { what, to, message, .. } = notice else { return None };
    Some(if job.service {
        format!("{} is {to}: {}", peer(what), sentence(message))
    } else {
        format!("waiting for {}: {to}", peer(what))
    })
}

/// A connection that ended, in words.
pub fn connection(notice: &Notice) -> Option<String> {
    let Notice::ConnectionClosed {
        peer: client, upstream, close, received_bytes, sent_bytes, duration, ..
    } = notice
    else {
        return None;
    };
    let way = if upstream.is_empty() { String::new() } else { format!(" -> {}", peer(upstream)) };
    Some(format!(
        "{}{way} {close}: {} in, {} out, {}",
        peer(client),
        units::bytes(*received_bytes as f64),
        units::bytes(*sent_bytes as f64),
        units::seconds(duration.as_secs_f64())
    ))
}

/// A host that changed, in words.
pub fn host(notice: &Notice) -> Option<String> {
    let Notice::HostChanged { host, from, to, why, rtt } = notice else { return None };
    let from = from.map(|from| format!("{from} -> ")).unwrap_or_default();
    let rtt = rtt.map(|rtt| format!(", {}", units::seconds(rtt.as_secs_f64()))).unwrap_or_default();
    Some(format!("{} {from}{to} ({why}{rtt})", peer(host)))
}

/// Addresses with commas.
pub fn places(addresses: &[String]) -> String {
    addresses.iter().map(|address| peer(address)).collect::<Vec<_>>().join(", ")
}

/// `1 job`, `2 jobs`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn counted_starts(count: u64) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "start")
}

fn rejected(report: &Report) -> String {
    let mut text = String::from("reload rejected, the old jobs go on");
    for diagnostic in &report.diagnostics {
        text.push_str("\n  ");
        text.push_str(&mistake(diagnostic));
    }
    text
}

fn mistake(diagnostic: &Diagnostic) -> String {
    let mut text = String::new();
    if let Some(place) = &diagnostic.place {
        let (line, column) = place.line_column();
        text = format!("{}:{line}:{column}: ", peer(&place.source.name));
    }
    if diagnostic.severity == Severity::Warning {
        text.push_str("warning: ");
    }
    text.push_str(&sentence(&diagnostic.message));
    if let Some(hint) = &diagnostic.hint {
        text.push_str("; ");
        text.push_str(&sentence(hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing;

    fn lines(colour: bool, least: Level) -> Vec<String> {
        let mut pretty = Pretty::new(colour);
        let all = testing::all();
        let lines = all.iter().filter_map(|event| pretty.line(event, least));
        lines
            .map(|line| line.split_once('Z').unwrap().1.trim_start_matches("\u{1b}[0m").trim().to_owned())
            .collect()
    }

    #[test]
    fn a_person_reads_what_changed() {
        assert_eq!(
            lines(false, Level::Info),
            [
                "started: 2 jobs",
                "web (forward) ready on tcp://127.0.0.1:8800",
                "gateway (ping) passed in 12.5 ms",
                "gateway (ping) failed in 12.5 ms: expectation: loss is 25%, wanted <= 5%",
                "gateway (ping) errored in 12.5 ms: expectation: loss is 25%, wanted <= 5%",
                "gateway (ping) skipped in 12.5 ms: expectation: loss is 25%, wanted <= 5%",
                "gateway (ping) skipped 2 starts: overlap",
                "gateway (ping) is stuck in a call that does not return: it starts no run until then",
                "gateway (ping) is not stuck any more",
                "other left out: only_on names other hosts",
                "reloaded: 1 added, 1 removed, 0 changed, 7 kept",
                "reload rejected, the old jobs go on\n  jobs/lan.yaml:2:5: unknown field `nam`; did you mean `name`?\n  warning: no place",
                "the clock was set back by 1h 00m",
                "n (sweep) 10.0.2.3 alive -> silent (timeout)",
                "n (wait) waiting for tcp://db:5432: refused",
                "n (forward) warning: out of descriptors: accepting again in 100 ms",
                "n (sweep) goes on where it was interrupted 3 s ago",
                "stopped",
            ]
        );
    }

    #[test]
    fn a_run_that_ends_as_the_one_before_is_no_change() {
        let mut pretty = Pretty::new(false);
        let run = testing::run("a", "ping", Verdict::Failed);
        assert!(pretty.line(&run, Level::Info).is_some());
        assert_eq!(pretty.line(&run, Level::Info), None);
        assert!(pretty.line(&run, Level::Debug).is_some());
        assert!(pretty.line(&testing::run("a", "ping", Verdict::Passed), Level::Info).is_some());
        assert!(pretty.line(&run, Level::Error).is_none(), "the level counts");
    }

    #[test]
    fn connections_are_told_at_debug_and_colour_only_where_it_is_wanted() {
        let debug = lines(false, Level::Debug).join("\n");
        assert!(
            debug.contains("127.0.0.1:40123 -> tcp://127.0.0.1:80 finished: 100 B in, 4.00 KiB out, 12.0 ms")
        );
        assert!(!debug.contains('\u{1b}'));
        assert!(lines(true, Level::Info).join("\n").contains("\u{1b}[32mpassed\u{1b}[0m"));
    }
}
