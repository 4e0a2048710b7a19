//! `netjobs explain`: what a kind, a key or a measurement means, out of the same comments as the schema.

use super::out;
use crate::{exit::Code, job::schema};

/// Explain a kind of job, one of its keys or measurements, or a key common to all
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs explain                what can be explained
  netjobs explain ping
  netjobs explain ping.count
  netjobs explain ping.rtt_p95   a measurement
  netjobs explain every")]
pub struct Explain {
    /// `KIND`, `KIND.KEY`, `KIND.MEASUREMENT` or a common key; without it: all kinds and keys
    #[arg(value_name = "KIND[.KEY]")]
    path: Option<String>,
}

impl Explain {
    /// Prints it.
    pub fn run(&self) -> Code {
        let Some(path) = &self.path else {
            return out::print(&format!("{}\n", schema::paths().join("\n")), Code::Passed);
        };
        let Some(text) = schema::explain(path) else {
            let known: Vec<String> = schema::paths().into_iter().chain(schema::measurements()).collect();
            let near = super::near(path, &known);
            return out::fail(
                Code::Usage,
                format_args!("there is no kind, key or measurement `{path}`{near}"),
            );
        };
        out::print(&format!("{}\n", text.trim_end()), Code::Passed)
    }
}
