//! `netjobs run`: the daemon.

use std::{net::SocketAddr, path::PathBuf};

use clap::{
    ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::out::Color;
use crate::{exit::Code, sink::Level, value::Timespan};

/// Run jobs on their schedules until ended, and serve metrics
///
/// Loads all job files, starts the services, runs each check on its schedule, serves metrics and a status page, and
/// writes a JSON record for each thing that happens.
///
/// SIGHUP reads the files again: all of them or, where one is wrong, none. SIGTERM and SIGINT drain and end; a second
/// one ends at once.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs run                                     run ./jobs, or the built-in demo
  netjobs run /etc/netjobs --log.file /var/log/netjobs.json
  netjobs run jobs --web.listen-address 0.0.0.0:9750 --web.enable-lifecycle")]
pub struct Run {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Where to serve metrics, health and the status page
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:9750")]
    web_listen_address: SocketAddr,

    /// Let `POST /-/reload` read the files again
    #[arg(long = "web.enable-lifecycle")]
    web_enable_lifecycle: bool,

    /// How many series to keep; more are dropped and counted
    #[arg(long = "metrics.max-series", value_name = "N", default_value_t = 1_000_000)]
    metrics_max_series: usize,

    /// How to write the log; default: `pretty` on a terminal, else `json`
    #[arg(long = "log.format", value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,

    /// Write the log here instead of stdout; lines are appended
    #[arg(long = "log.file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    log_file: Option<PathBuf>,

    /// The least that the program's own diagnostics must be to be written
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = level())]
    log_level: Level,

    /// How long runs and connections may go on after the first signal
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    grace: Timespan,

    /// How long a connection must be silent before it is ended while draining
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    drain_idle: Timespan,

    /// Give up CAP_NET_RAW and CAP_NET_BIND_SERVICE too, once the first files are open
    #[arg(long)]
    drop_all: bool,
}

/// The forms of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One object a line.
    Json,
    /// Lines for people.
    Pretty,
}

/// Reads the words of levels, and lets clap name them.
fn level() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.iter().map(|level| level.as_str()))
        .try_map(|word| word.parse::<Level>().map_err(WrongLevel))
}

/// Never seen: clap has judged the word before.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongLevel(String);

impl Run {
    /// Runs until a signal.
    pub fn run(&self, color: Color) -> Code {
        let _ = (self, color);
        Code::Failed
    }
}
