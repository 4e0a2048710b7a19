//! The status page: one table that a person can read, without scripts or anything from elsewhere.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::{
    outcome::Verdict,
    sink::{
        escape::sentence,
        history::{History, Row, State},
        units,
    },
};

const STYLE: &str = "\
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}\
body{max-width:75rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.3rem;margin:0}p{margin:.3rem 0 1.2rem;opacity:.75}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.35rem .7rem .35rem 0;border-bottom:1px solid #8884}\
th{font-weight:600;opacity:.75}td{overflow-wrap:anywhere}td.n{white-space:nowrap;overflow-wrap:normal}\
.well{color:light-dark(#176b2c,#6fd388)}.ill{color:light-dark(#b3261e,#ff8a80)}.unknown{opacity:.6}";

/// The page as it is now.
pub(super) fn render(history: &History) -> String {
    let rows = history.rows();
    let now = Timestamp::now();
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>netjobs</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"15\">\
         <style>{STYLE}</style></head>\n<body>\n<h1>netjobs {}</h1>\n<p>{}</p>\n",
        env!("CARGO_PKG_VERSION"),
        escape(&overview(history, &rows))
    );
    out.push_str(
        "<table>\n<thead><tr><th>job</th><th>kind</th><th>verdict</th><th>last run</th><th>next run</th>\
         <th>why, or where</th></tr></thead>\n<tbody>\n",
    );
    for row in &rows {
        write_row(&mut out, row, now);
    }
    out.push_str("</tbody>\n</table>\n</body>\n</html>\n");
    out
}

fn overview(history: &History, rows: &[Row]) -> String {
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    let mut text = format!(
        "{} jobs: {} well, {} ill, {} without a result yet.",
        rows.len(),
        count(State::Well),
        count(State::Ill),
        count(State::Unknown)
    );
    if !history.is_running() {
        text.push_str(" The runner is starting or stopping.");
    }
    text
}

fn write_row(out: &mut String, row: &Row, now: Timestamp) {
    let class = match row.state {
        State::Well => "well",
        State::Ill => "ill",
        State::Unknown => "unknown",
    };
    let _ = writeln!(
        out,
        "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
        escape(&row.name),
        row.kind,
        escape(&verdict(row)),
        escape(&last_run(row, now)),
        escape(&row.next_run.map(|next| distance(now, next)).unwrap_or_default()),
        escape(&particulars(row))
    );
}

fn verdict(row: &Row) -> String {
    let mut words = match (row.verdict, &row.ready) {
        (_, Some(_)) => "ready".to_owned(),
        (Some(verdict), None) => verdict.to_string(),
        (None, None) => "–".to_owned(),
    };
    if row.running > 0 && !row.service {
        words.push_str(", running");
    }
    if row.stale {
        words.push_str(", stale");
    }
    words
}

fn last_run(row: &Row, now: Timestamp) -> String {
    let Some((started, took)) = row.last_started.zip(row.last_duration) else { return String::new() };
    format!("{}, {}", distance(now, started), units::seconds(took.as_secs_f64()))
}

fn particulars(row: &Row) -> String {
    if let Some(addresses) = &row.ready {
        return addresses.join(", ");
    }
    if row.verdict == Some(Verdict::Passed) {
        return String::new();
    }
    let reason = row.reason.map(|reason| reason.to_string());
    let parts: Vec<String> = reason.into_iter().chain(row.message.clone()).collect();
    parts.join(": ")
}

/// `in 12 s`, `3 min ago`.
fn distance(now: Timestamp, then: Timestamp) -> String {
    let gap = then.duration_since(now);
    let seconds = gap.abs().as_secs();
    let amount = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    if gap > SignedDuration::ZERO { format!("in {amount}") } else { format!("{amount} ago") }
}

fn escape(text: &str) -> String {
    let text = sentence(text);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Event,
        sink::{
            Sink,
            testing::{finished, job},
        },
    };

    #[test]
    fn the_page_shows_each_job_and_no_text_becomes_markup() {
        let history = History::new();
        let mut keeper = history.sink();
        let mut run = finished("gateway", "ping", Verdict::Failed);
        run.message = Some("<script>alert('x')</script> & \u{1b}".into());
        let web = job("web", "forward");
        for event in [
            Event::Started { jobs: vec![job("gateway", "ping"), web.clone(), job("new", "wait")] },
            Event::RunFinished(Box::new(run)),
            Event::JobReady { job: web, addresses: vec!["tcp://127.0.0.1:8800".into()] },
        ] {
            keeper.event(&event);
        }
        let page = render(&history);
        assert!(page.contains("3 jobs: 1 well, 1 ill, 1 without a result yet."));
        assert!(page.contains("<td class=\"well\">ready</td>") && page.contains("tcp://127.0.0.1:8800"));
        let why = "expectation: &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; \\u{1b}";
        assert!(page.contains(why) && !page.contains("<script"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing comes from elsewhere");
    }

    #[test]
    fn distances_are_rough_and_say_the_direction() {
        let now = crate::sink::testing::noon();
        let shown =
            [5, -59, 61, -7200, 200_000, 0].map(|gap| distance(now, now + SignedDuration::from_secs(gap)));
        assert_eq!(shown, ["in 5 s", "59 s ago", "in 1 min", "2 h ago", "in 2 days", "0 s ago"]);
    }
}
