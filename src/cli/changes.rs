//! `netjobs plan` without paths: asks the running daemon what a reload would change, and prints that.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::{out, runtime};
use crate::{
    exit::Code,
    net::http::{self, Ask, BODY_LIMIT},
    sink::escape::sentence,
    value::Endpoint,
};

/// Where a daemon is asked unless something else is said.
pub const USUAL: &str = "http://127.0.0.1:9750";
/// A daemon may have many files to read, and rests between two looks.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks and prints; files that the daemon would refuse are code 2.
pub fn run(url: &str, json: bool) -> Code {
    let changes = match runtime::build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(ask(url)))
    {
        Ok(changes) => changes,
        Err(why) => {
            let hint = "`--url` says where the daemon serves HTTP; with files, such as `netjobs plan jobs`, nobody is asked";
            return out::fail(Code::Failed, format_args!("ask the daemon at {url}: {why}\nhint: {hint}"));
        }
    };
    let is_refused = changes["errors"].as_array().is_some_and(|errors| !errors.is_empty());
    let code = if is_refused { Code::Usage } else { Code::Passed };
    out::print(&if json { format!("{changes}\n") } else { text(&changes) }, code)
}

async fn ask(url: &str) -> Result<Value, String> {
    let Ok(Endpoint::Http { tls: false, host, port, path }) = url.parse() else {
        return Err(format!("this is no address of it: write one such as {USUAL}"));
    };
    let path = format!("{}/api/v1/plan", path.trim_end_matches('/'));
    let asking = async {
        let name = host.address().map_or_else(|| host.to_string(), |address| address.to_string());
        let stream = TcpStream::connect((name, port)).await.map_err(|error| error.to_string())?;
        let ask = Ask { host: &host, port, path: &path, body: true, tls: None };
        http::get(stream, ask).await.map_err(|miss| miss.message)
    };
    let answer = timeout(PATIENCE, asking).await.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
    let said = String::from_utf8_lossy(&answer.body);
    match answer.status {
        200 if answer.body.len() >= BODY_LIMIT => Err("its answer is too long".into()),
        200 => match serde_json::from_slice::<Value>(&answer.body) {
            Ok(changes) if changes["kept"].is_u64() => Ok(changes),
            _ => Err("somebody else answers there".into()),
        },
        status => Err(format!("it answers {status}: {}", sentence(said.trim()))),
    }
}

fn text(changes: &Value) -> String {
    let list = |key: &str| changes[key].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| sentence(value.as_str().unwrap_or_default()).into_owned();
    let mut text = String::new();
    for error in list("errors") {
        let place = match (error["file"].as_str(), &error["line"], &error["column"]) {
            (Some(file), Value::Null, _) => format!("{}: ", sentence(file)),
            (Some(file), line, column) => format!("{}:{line}:{column}: ", sentence(file)),
            (None, ..) => String::new(),
        };
        let _ = writeln!(text, "{place}{}", word(&error["message"]));
        if error["hint"].is_string() {
            let _ = writeln!(text, "hint: {}", word(&error["hint"]));
        }
    }
    for key in ["added", "removed", "changed"] {
        for name in list(key) {
            let _ = writeln!(text, "{key:<8} {}", word(&name));
        }
    }
    for note in list("notes") {
        let (place, job) = (word(&note["place"]), word(&note["job_name"]));
        let _ = writeln!(
            text,
            "{place}: note: `{job}`: {}\nhint: {}",
            word(&note["message"]),
            word(&note["hint"])
        );
    }
    let kept = changes["kept"].as_u64().and_then(|kept| usize::try_from(kept).ok()).unwrap_or_default();
    let verdict = if list("errors").is_empty() { "" } else { "; the reload would be refused" };
    let _ = writeln!(text, "kept     {}{verdict}", out::plural(kept, "job"));
    text
}
