//! `netjobs next`: when each job will start.

use std::{fmt::Write as _, path::PathBuf};

use clap::ValueHint;
use jiff::{Timestamp, Zoned};

use super::{
    files::Files,
    out::{self, Color},
};
use crate::{
    exit::Code,
    job::Job,
    plan::{self, Shift},
    value::{Missed, Schedule, Wrong, schedule::At},
};

/// Show the coming starts of each job
///
/// Starts are shown in the job's own time zone; the delay of `jitter` comes on top. A start that stands where the
/// clocks of its zone change says so. A service with `open` is shown with the times at which it opens.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs next -n 3
  netjobs next jobs --from 2027-03-28T00:00:00Z --until 2027-03-29T00:00:00Z
  netjobs next --json | head -1")]
pub struct Next {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// How many starts to show of each job
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 10)]
    count: usize,

    /// Show starts later than this RFC 3339 instant; default: now
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    from: Option<Timestamp>,

    /// Show starts up to this RFC 3339 instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Timestamp>,

    /// Print one JSON object a line: `job_name` and `start`
    #[arg(long)]
    json: bool,
}

impl Next {
    /// Prints them.
    pub fn run(&self, color: Color) -> Code {
        let loaded = match Files::of(&self.paths).load_or_say(color) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let from = self.from.unwrap_or_else(Timestamp::now);
        if let Some(until) = self.until.filter(|until| *until <= from) {
            let why = "hint: `--from` says from when on to look; without it that is now";
            return out::fail(
                Code::Usage,
                format_args!("--until: nothing comes up to {until} after {from}\n{why}"),
            );
        }
        let starts = |job: &Job| -> Vec<Zoned> {
            let until = |start: &Zoned| self.until.is_none_or(|until| start.timestamp() <= until);
            plan::upcoming(&job.name, schedule(job), from).take_while(until).take(self.count).collect()
        };
        let text = if self.json { lines(&loaded.jobs, starts) } else { table(&loaded.jobs, from, starts) };
        out::print(&text, Code::Passed)
    }
}

fn instant(text: &str) -> Result<Timestamp, Wrong> {
    let hint = "write an instant of the years up to 9999 with its zone, such as `2030-01-31T06:00:00Z`";
    text.parse().map_err(|_| Wrong::new("this is no instant", hint))
}

/// When a check starts, or when a service opens.
fn schedule(job: &Job) -> &Schedule {
    job.open.as_ref().map_or(&job.schedule, |open| &open.schedule)
}

fn lines(jobs: &[Job], starts: impl Fn(&Job) -> Vec<Zoned>) -> String {
    let mut text = String::new();
    for job in jobs {
        for start in starts(job) {
            let line = serde_json::json!({ "job_name": job.name.as_str(), "start": rfc3339(&start) });
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn table(jobs: &[Job], from: Timestamp, starts: impl Fn(&Job) -> Vec<Zoned>) -> String {
    let width = jobs.iter().map(|job| job.name.as_str().len()).max().unwrap_or_default();
    let mut text = String::new();
    for job in jobs {
        let starts = starts(job);
        let name = job.name.as_str();
        let notes = notes(job, from);
        if !notes.is_empty() {
            let _ = writeln!(text, "{name:<width$}  {}", notes.join("; "));
        }
        for start in starts {
            let zone = start.time_zone().iana_name().unwrap_or_default();
            let at = start.strftime("%a %Y-%m-%d %H:%M:%S%.3f %:z");
            let shift = match plan::shift(schedule(job), &start) {
                Some(Shift::Skipped) => "  the clocks skip its time, so it comes when they jump",
                Some(Shift::First) => "  the first of two such times: the clocks are set back",
                Some(Shift::Second) => "  the second of two such times: the clocks are set back",
                None => "",
            };
            let _ = writeln!(text, "{name:<width$}  {at}  {zone}{shift}");
        }
    }
    text
}

/// A start that no clock time stands for, and what holds for each start.
fn notes(job: &Job, from: Timestamp) -> Vec<String> {
    if job.room.facts().service {
        let open = |open: &crate::job::Open| format!("opens for {}", open.length);
        return vec![job.open.as_ref().map_or_else(|| "from start to stop".to_owned(), open)];
    }
    let (at_start, jitter) = (job.schedule.at == Some(At::Start), job.schedule.jitter);
    let is_past = matches!(job.schedule.at, Some(At::Instant(at)) if at <= from);
    let notes = [
        is_past.then(|| "comes no more: its time is past".to_owned()),
        at_start.then(|| "when the runner starts".to_owned()),
        (!jitter.is_zero()).then(|| format!("each up to {jitter} later")),
        (job.missed == Missed::Once).then(|| "one run catches up with what was missed".to_owned()),
    ];
    notes.into_iter().flatten().collect()
}

fn rfc3339(start: &Zoned) -> String {
    start.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_written_with_its_zone_s_offset() {
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let start = "2027-06-01T10:00:00.25Z".parse::<Timestamp>().unwrap().to_zoned(zone.clone());
        assert_eq!(rfc3339(&start), "2027-06-01T12:00:00.25+02:00");
        let start = "2027-01-01T10:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone);
        assert_eq!(rfc3339(&start), "2027-01-01T11:00:00+01:00");
    }
}
