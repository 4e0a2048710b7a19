//! Documents that are made from the code, tested to be current: `docs/reference.md`. `UPDATE=1` writes it anew.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use netjobs::{
    kind::KINDS,
    outcome::{Cause, Close, Evidence, HostState, Metric, MetricType, Reason, RttSource, Unit, Verdict},
    sink::{metrics, testing},
};

use crate::sinks::metrics_of_all;

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::Ratio => "ratio, 0 to 1",
        Unit::Flag => "true or false",
        Unit::Word => "word",
    }
}

fn metric_rows(out: &mut String, rows: &[&Metric]) {
    out.push_str("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in rows {
        let kind = match metric.r#type {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(out, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(" "), metric.help);
    }
    out.push('\n');
}

/// The families of the process as a scrape shows them, below those of the jobs.
fn process_rows(out: &mut String, scrape: &str) {
    out.push_str("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    let of_jobs: BTreeSet<&str> = metrics::EVERY_JOB.iter().map(|metric| metric.name).collect();
    let heads: Vec<&str> = scrape.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    for head in heads {
        let (name, help) = head.split_once(' ').unwrap();
        let kind = scrape.split(&format!("# TYPE {name} ")).nth(1).unwrap().lines().next().unwrap();
        let series = scrape.lines().find(|line| line.starts_with(name)).unwrap();
        let labels = series.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
        let labels: Vec<String> =
            labels.filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
        if !of_jobs.contains(name) {
            let _ = writeln!(out, "| `{name}` | {kind} | {} | {help} |", labels.join(" "));
        }
    }
    out.push('\n');
}

macro_rules! words {
    ($out:ident, $set:ident, $title:literal) => {
        let _ = writeln!($out, "## {}\n\n| word | meaning |\n|---|---|", $title);
        for word in $set::ALL {
            let _ = writeln!($out, "| `{}` | {} |", word.as_str(), word.meaning());
        }
        $out.push('\n');
    };
}

fn reference(scrape: &str) -> String {
    let mut out = String::from(
        "# Reference: measurements, metrics, words\n\nMade from the code; `netjobs explain KIND` has the keys.\n\n\
         Measurements can be named in `expect` and stand in the log's `samples`. Series of jobs carry `job_name`, `kind` and \
         the job's own labels.\n\n",
    );
    for kind in KINDS {
        let _ = writeln!(
            out,
            "## `{}`\n\n| measurement | unit | expected | meaning |\n|---|---|---|---|",
            kind.name
        );
        for measure in kind.measures {
            let own = measure.own.map(|own| format!("`{own}`")).unwrap_or_default();
            let _ =
                writeln!(out, "| `{}` | {} | {own} | {} |", measure.name, unit(measure.unit), measure.help);
        }
        out.push('\n');
        if !kind.metrics.is_empty() {
            metric_rows(&mut out, kind.metrics);
        }
    }
    out.push_str("## Metrics of every job\n\n");
    metric_rows(&mut out, metrics::EVERY_JOB);
    out.push_str("## Metrics of the process\n\nThey carry neither `job_name` nor the labels of jobs.\n\n");
    process_rows(&mut out, scrape);
    words!(out, Verdict, "Verdicts");
    words!(out, Reason, "Reasons of a run");
    words!(out, Close, "Closes of a connection");
    words!(out, Evidence, "Evidence of a live host");
    words!(out, RttSource, "Where a ping's round trips were measured (`rtt_source`)");
    words!(out, HostState, "States of a host");
    words!(out, Cause, "Causes of a skipped start");
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[tokio::test]
async fn the_reference_is_current() {
    let (_, metrics) = metrics_of_all(testing::job("a", "exchange")).await;
    let reference = reference(&metrics.render());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &reference).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == reference, "docs/reference.md is not current: run `UPDATE=1 cargo test --test it`");
}
