//! `netjobs next`: when each job will start.

use std::path::PathBuf;

use clap::ValueHint;

use super::out::Color;
use crate::exit::Code;

/// Show the coming starts of each job
///
/// Starts are shown in the job's own time zone. Random `jitter` is left out.
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
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    count: usize,

    /// Show starts later than this RFC 3339 instant; default: now
    #[arg(long, value_name = "INSTANT")]
    from: Option<jiff::Timestamp>,

    /// Show starts up to this RFC 3339 instant
    #[arg(long, value_name = "INSTANT")]
    until: Option<jiff::Timestamp>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Next {
    /// Prints them.
    pub fn run(&self, color: Color) -> Code {
        let _ = (self, color);
        Code::Failed
    }
}
