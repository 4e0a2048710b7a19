//! `netjobs once`: a smoke check for CI.

use std::path::PathBuf;

use clap::ValueHint;

use super::out::Color;
use crate::{exit::Code, value::Timespan};

/// Run every job once, as a smoke check for CI
///
/// Starts the services, runs each check once in the order of `needs`, stops the services, and exits 0 if all passed.
/// A service passes if it became ready, ended cleanly, and what it expects holds.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs once                                    ./jobs, or the built-in demo
  netjobs once jobs --junit report.xml --json records.json
  netjobs once jobs --select 'db-*' --select web  some of them, with the jobs they need")]
pub struct Once {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Run only jobs of this name or glob, and what they need; repeatable
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,

    /// Write a JUnit report here; `-` is stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    junit: Option<PathBuf>,

    /// Write the log's records here, one a line; `-` is stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,

    /// Write TAP here; without FILE, or with `-`, to stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, num_args = 0..=1,
          default_missing_value = "-", require_equals = true)]
    tap: Option<PathBuf>,

    /// How long runs and connections may go on after a signal
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    grace: Timespan,

    /// How long a connection must be silent before it is ended while draining
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    drain_idle: Timespan,

    /// Give up CAP_NET_RAW and CAP_NET_BIND_SERVICE too
    #[arg(long)]
    drop_all: bool,
}

impl Once {
    /// Runs all of them.
    pub fn run(&self, color: Color) -> Code {
        let _ = (self, color);
        Code::Failed
    }
}
