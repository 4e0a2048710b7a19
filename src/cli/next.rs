//! `netjobs next`: when each job will start.

use std::{fmt::Write as _, path::PathBuf};

use clap::ValueHint;
use jiff::{Timestamp, Zoned};

use super::{
    files::Files,
    out::{self, Color},
};
use crate::{exit::Code, job::Job, plan, value::schedule::At};

/// Show the coming starts of each job
///
/// Starts are shown in the job's own time zone; the delay of `jitter` comes on top. A service with `open` is shown
/// with the times at which it opens.
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
    #[arg(long, value_name = "INSTANT")]
    from: Option<Timestamp>,

    /// Show starts up to this RFC 3339 instant
    #[arg(long, value_name = "INSTANT")]
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
        let starts = |job: &Job| -> Vec<Zoned> {
            let schedule = job.open.as_ref().map_or(&job.schedule, |open| &open.schedule);
            let until = |start: &Zoned| self.until.is_none_or(|until| start.timestamp() <= until);
            plan::upcoming(&job.name, schedule, from).take_while(until).take(self.count).collect()
        };
        let text = if self.json { lines(&loaded.jobs, starts) } else { table(&loaded.jobs, starts) };
        out::print(&text, Code::Passed)
    }
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

fn table(jobs: &[Job], starts: impl Fn(&Job) -> Vec<Zoned>) -> String {
    let width = jobs.iter().map(|job| job.name.as_str().len()).max().unwrap_or_default();
    let mut text = String::new();
    for job in jobs {
        let starts = starts(job);
        let name = job.name.as_str();
        if let Some(note) = note(job) {
            let _ = writeln!(text, "{name:<width$}  {note}");
        }
        for start in starts {
            let zone = start.time_zone().iana_name().unwrap_or_default();
            let _ =
                writeln!(text, "{name:<width$}  {}  {zone}", start.strftime("%a %Y-%m-%d %H:%M:%S%.3f %:z"));
        }
    }
    text
}

/// A start that no clock time stands for.
fn note(job: &Job) -> Option<&'static str> {
    if job.room.facts().service {
        return job.open.is_none().then_some("from start to stop");
    }
    (job.schedule.at == Some(At::Start)).then_some("when the runner starts")
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
