//! The log of `netjobs run`: its flags, where it goes and in which form. What stands in it is the sinks' business.

use std::{
    fs::File,
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::{
    ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{
    out::{self, Color},
    trace,
};
use crate::{
    exit::Code,
    sink::{
        self, Level,
        json::{self, Log},
        line::Pretty,
        metrics::Metrics,
        queue::{self, Queue},
    },
};

/// The flags of the log.
#[derive(clap::Args, Debug)]
pub struct Logging {
    /// How to write the log; default: `pretty` on a terminal, else `json`
    #[arg(id = "log_format", long = "log.format", value_enum, value_name = "FORMAT")]
    format: Option<Format>,

    /// Write the log here instead of stdout; lines are appended, and each reload opens the file anew
    #[arg(id = "log_file", long = "log.file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// The least that the program's own diagnostics must be to be written
    #[arg(id = "log_level", long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = level_parser())]
    level: Level,
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
fn level_parser() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.iter().map(|level| level.as_str()))
        .try_map(|word| word.parse::<Level>().map_err(WrongLevel))
}

/// Never seen: clap has judged the word before.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongLevel(String);

impl Logging {
    /// The log's file, if it has one; to be opened with the rights that the program was started with.
    pub fn open(&self) -> Result<Option<(File, PathBuf)>, Code> {
        let Some(path) = &self.file else { return Ok(None) };
        match queue::open(path) {
            Ok(file) => Ok(Some((file, path.clone()))),
            Err(error) => Err(out::fail(Code::Failed, format_args!("open {}: {error}", path.display()))),
        }
    }

    /// Starts to write it, the program's own diagnostics included.
    pub fn start(
        &self,
        opened: Option<(File, PathBuf)>,
        color: Color,
        metrics: &Metrics,
    ) -> Result<Log, Code> {
        let stdout = io::stdout();
        let is_terminal = self.file.is_none() && stdout.is_terminal();
        let format = self.format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Json });
        let dropped = metrics.log_dropped.clone();
        let queue = match opened {
            Some((file, path)) => Queue::start_file(file, path, dropped),
            None => Queue::start(sink::stdout(), dropped),
        };
        let queue = queue.map_err(out::no_thread)?;
        let is_coloured = match &self.file {
            None => color.on(&stdout),
            Some(_) => color == Color::Always,
        };
        let written = match format {
            Format::Json => json::Format::Json,
            Format::Pretty => json::Format::Pretty(Pretty::new(is_coloured)),
        };
        let log = Log::new(queue, written, self.level);
        trace::to_log(self.level, log.diagnostics());
        Ok(log)
    }
}
