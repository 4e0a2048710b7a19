//! `netjobs plan`: what jobs would send, before anything is sent.

use std::{fmt::Write as _, fs, path::PathBuf};

use clap::ValueHint;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    changes,
    files::Files,
    out::{self, Color},
    predict::{self, Prediction},
};
use crate::{
    exit::Code,
    job::Job,
    kind::forecast::{Forecast, Surroundings},
    net::{self, interface},
    outcome,
    plan::Timetable,
    sink::units,
    sys::rights::{self, Right},
    value::schedule::{At, Overlap},
};

/// Show what jobs would send and need, or what a reload would change, without doing it
///
/// Without paths it asks the running daemon, which reads its own files anew and says what a reload would add, remove, change
/// and keep, and why it would be refused. With paths nobody is asked:
///
/// Of sweeps and pings: how many targets and packets, how long one run takes (where all answer at once, and where nobody
/// does), and what it needs. Of all jobs: how often they start. No name is looked up: each counts as one target. Below
/// the table stands what will be refused here and what may harm others.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs plan                    what a reload of the running daemon would change
  netjobs plan --url http://127.0.0.1:9751
  netjobs plan jobs/lan.yaml      what these jobs would send
  netjobs plan jobs --json | jq -s 'map(.packets_max // 0) | add'

Packets are the most there can be: every host asked in every pass, and of hosts on this machine's
own links the questions for their hardware addresses.")]
pub struct Plan {
    /// Job files, or folders of them; none: ask the running daemon
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Where the running daemon serves HTTP
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, default_value = changes::USUAL, conflicts_with = "paths")]
    url: String,

    /// Print JSON: one object a job and line, or what the daemon says
    #[arg(long)]
    json: bool,
}

/// A job and what is foreseen of it.
struct Row<'a> {
    job: &'a Job,
    forecast: Option<Forecast>,
    /// In the day to come, by the hour.
    starts: f64,
    notes: Vec<Prediction>,
}

impl Plan {
    /// Works it out and prints it.
    pub fn run(&self, color: Color) -> Code {
        if self.paths.is_empty() {
            return changes::run(&self.url, self.json);
        }
        let loaded = match Files::of(&self.paths).load_or_say(color) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        rights::keep_only(Right::ALL);
        let interfaces = match interface::read() {
            Ok(interfaces) => interfaces,
            Err(error) => return out::fail(Code::Failed, format_args!("read the interfaces: {error}")),
        };
        let mut refused = predict::all(&loaded.jobs);
        let (icmp, raw, neighbours) = (predict::may_send_icmp(), net::syn::is_allowed(), neighbours());
        let rows = loaded.jobs.iter().map(|job| {
            let notes = refused.extract_if(.., |one| one.job == job.name.as_str()).collect();
            let around = Surroundings { interfaces: &interfaces, base: &job.base, icmp, raw, neighbours };
            row(job, &around, notes)
        });
        let rows: Vec<Row> = rows.collect();
        let text = if self.json { lines(&rows, icmp, raw) } else { table(&rows) };
        out::print(&text, Code::Passed)
    }
}

/// How many neighbours the kernel keeps at most, those of IPv4. It keeps one table for all network namespaces, and shows the
/// limit in the first of them only; elsewhere the usual one is taken.
fn neighbours() -> u64 {
    let shown = fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3");
    shown.ok().and_then(|limit| limit.trim().parse().ok()).unwrap_or(1024)
}

fn row<'a>(job: &'a Job, around: &Surroundings, mut notes: Vec<Prediction>) -> Row<'a> {
    let mut say = |message: String, hint: String| {
        notes.push(Prediction { job: job.name.to_string(), place: job.place.clone(), message, hint });
    };
    let forecast = job.room.forecast(around).unwrap_or_else(|error| {
        say(format!("{error}"), error.hint().unwrap_or_default().to_owned());
        None
    });
    for (message, hint) in forecast.iter().flat_map(|forecast| &forecast.notes) {
        say(message.clone(), hint.clone());
    }
    let now = Timestamp::now();
    let tomorrow = now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now);
    let starts = Timetable::new(&job.name, &job.schedule).count(now, tomorrow) as f64 / 24.0;
    let shortest = forecast.as_ref().map(|forecast| outcome::seconds(forecast.shortest));
    if let Some(shortest) = shortest.filter(|shortest| shortest * starts > HOUR) {
        say(
            format!(
                "a run takes {} at least, and a start comes each {}: {}",
                units::seconds(shortest),
                units::seconds(HOUR / starts),
                crowded(job.overlap)
            ),
            "let it start less often, or do less in a run".into(),
        );
    }
    Row { job, forecast, starts, notes }
}

/// What comes of starts that are closer together than runs are long.
fn crowded(overlap: Overlap) -> &'static str {
    match overlap {
        Overlap::Skip => "those between are skipped",
        Overlap::Queue => "one waits, the others between are skipped",
        Overlap::Replace => "with `overlap: replace` none comes to its end",
        Overlap::Allow => "with `overlap: allow` ever more of them run side by side",
    }
}

/// An hour, in seconds.
const HOUR: f64 = 3600.0;
const HEAD: [&str; 7] = ["job", "kind", "targets", "packets", "takes", "starts/h", "needs"];

fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> =
        [HEAD.map(str::to_owned)].into_iter().chain(rows.iter().map(cells)).collect();
    let mut text = String::new();
    for row in &cells {
        let padded = row.iter().enumerate().map(|(at, cell)| {
            let width = cells.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
            format!("{cell:<width$}")
        });
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    for note in rows.iter().flat_map(|row| &row.notes) {
        let _ = writeln!(text, "{note}");
    }
    text
}

fn cells(row: &Row) -> [String; 7] {
    let (name, kind) = (row.job.name.to_string(), row.job.room.facts().name.to_owned());
    let Some(forecast) = &row.forecast else {
        let none = String::new;
        return [name, kind, none(), none(), none(), starts(row), none()];
    };
    let mut targets = forecast.targets().to_string();
    if forecast.on_link > 0 {
        let _ = write!(targets, ", {} on-link", forecast.on_link);
    }
    if forecast.names > 0 {
        let _ = write!(targets, ", {}", out::plural(usize::try_from(forecast.names).unwrap_or(0), "name"));
    }
    let [shortest, longest] = [forecast.shortest, forecast.longest].map(outcome::seconds).map(units::seconds);
    let takes = format!("{shortest} to {longest}");
    let mut needs = forecast.method.clone();
    if let Some(files) = forecast.open_files {
        let _ = write!(needs, ", {files} open files");
    }
    [name, kind, targets, format!("≤ {}", forecast.packets), takes, starts(row), needs]
}

/// How often it starts.
fn starts(row: &Row) -> String {
    if row.job.room.facts().service {
        return "service".into();
    }
    match row.job.schedule.at {
        Some(At::Start) if row.starts <= 0.0 => "once".into(),
        _ => units::plain(row.starts),
    }
}

fn lines(rows: &[Row], icmp: bool, raw: bool) -> String {
    rows.iter().fold(String::new(), |text, row| text + &line(row, icmp, raw).to_string() + "\n")
}

fn line(row: &Row, icmp: bool, raw: bool) -> Value {
    let facts = row.job.room.facts();
    let notes = row.notes.iter().map(|note| json!({ "message": note.message, "hint": note.hint }));
    let mut line = json!({
        "job_name": row.job.name.as_str(),
        "kind": facts.name,
        "place": row.job.place,
        "service": facts.service,
        "starts_per_hour": row.starts,
        "notes": notes.collect::<Vec<_>>(),
    });
    if let Some(forecast) = &row.forecast {
        line["targets"] = number(forecast.targets());
        line["ipv4"] = number(forecast.ipv4);
        line["ipv6"] = number(forecast.ipv6);
        line["names"] = forecast.names.into();
        line["on_link"] = number(forecast.on_link);
        line["packets_max"] = number(forecast.packets);
        line["seconds_min"] = outcome::seconds(forecast.shortest).into();
        line["seconds_max"] = outcome::seconds(forecast.longest).into();
        line["method"] = forecast.method.as_str().into();
        let permitted = match forecast.method.as_str() {
            "icmp" => icmp,
            "arp" => raw,
            _ => true,
        };
        line["permitted"] = permitted.into();
        line["open_files_max"] = forecast.open_files.into();
    }
    line
}

/// JSON's numbers end before ours do; a set so large is refused anyway.
fn number(count: u128) -> Value {
    u64::try_from(count).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::load::{Environment, load_texts};

    fn around(job: &Job, icmp: bool) -> Surroundings<'_> {
        Surroundings { interfaces: &[], base: &job.base, icmp, raw: true, neighbours: 1024 }
    }

    #[track_caller]
    fn check(job: &str, wanted: [&str; 7]) {
        let text = format!("jobs:\n  - {{ name: a, {job} }}\n");
        let loaded = load_texts(&[("a.yaml", &text)], &Environment::new("here", |_| None));
        assert!(!loaded.report.has_errors(), "{}", loaded.report.render(false));
        let job = &loaded.jobs[0];
        assert_eq!(cells(&row(job, &around(job, true), vec![])), wanted);
    }

    #[test]
    fn a_job_is_a_row_of_what_it_would_do() {
        let ping = "every: 10s, ping: { host: db, count: 3 }";
        check(ping, ["a", "ping", "1, 1 name", "≤ 3", "2.00 s to 9.00 s", "360", "icmp"]);
        let sweep = "every: 1d, sweep: { targets: 10.0.0.0/24, method: icmp }";
        check(sweep, ["a", "sweep", "254", "≤ 508", "1.27 s to 4.54 s", "0.042", "icmp"]);
        check("forward: { listen: 1, to: 'b:1' }", ["a", "forward", "", "", "", "service", ""]);
        check("at: start, ipc: {}", ["a", "ipc", "", "", "", "once", ""]);
    }

    #[test]
    fn a_line_for_programs_says_whether_the_right_is_there() {
        for (method, icmp, raw, permitted) in [
            ("icmp", false, false, false),
            ("icmp", true, false, true),
            ("arp", true, false, false),
            ("arp", true, true, true),
            ("tcp/22", false, false, true),
        ] {
            let text = format!(
                "jobs:\n  - {{ name: a, every: 1h, sweep: {{ targets: 8.8.8.8, method: {method} }} }}\n"
            );
            let loaded = load_texts(&[("a.yaml", &text)], &Environment::new("here", |_| None));
            let job = &loaded.jobs[0];
            let row = row(job, &around(job, icmp), vec![]);
            let line = line(&row, icmp, raw);
            assert_eq!(
                (&line["permitted"], &line["starts_per_hour"]),
                (&permitted.into(), &1.0.into()),
                "{method}"
            );
            let last = line["notes"].as_array().unwrap().last().unwrap();
            assert_eq!(last["message"], "1 of the targets are public addresses");
        }
    }

    #[test]
    fn starts_that_are_closer_than_a_run_is_long_are_noted() {
        for (overlap, wanted) in [
            ("skip", "a start comes each 10.0 s: those between are skipped"),
            ("queue", "one waits, the others between are skipped"),
            ("replace", "with `overlap: replace` none comes to its end"),
            ("allow", "with `overlap: allow` ever more of them run side by side"),
        ] {
            let text = format!(
                "jobs:\n  - {{ name: a, every: 10s, overlap: {overlap}, ping: {{ host: 10.0.0.1, count: 60 }} }}\n"
            );
            let loaded = load_texts(&[("a.yaml", &text)], &Environment::new("here", |_| None));
            let job = &loaded.jobs[0];
            let notes = row(job, &around(job, true), vec![]).notes;
            assert_eq!(notes.len(), 1, "{notes:?}");
            assert!(
                notes[0].message.starts_with("a run takes 59.0 s at least")
                    && notes[0].message.ends_with(wanted),
                "{notes:?}"
            );
        }
        let text = "jobs:\n  - { name: a, every: 10s, ping: { host: 10.0.0.1, count: 4 } }\n";
        let loaded = load_texts(&[("a.yaml", text)], &Environment::new("here", |_| None));
        let job = &loaded.jobs[0];
        assert!(row(job, &around(job, true), vec![]).notes.is_empty());
    }
}
