//! `netjobs check`: are the files right, and what will they lack here?

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};

use super::out::Color;
use crate::exit::Code;

/// Validate job files, and predict what this machine will refuse them
///
/// Prints every mistake of every file with its place and a hint. Also says which rights will be missing, which
/// forwards the whole network reaches, and which ports are taken; those do not change the exit code.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs check                   ./jobs, or the built-in demo
  netjobs check jobs/lan.yaml
  netjobs check jobs --format json")]
pub struct Check {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// How to print what was found
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// The forms of the findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people, with the source.
    #[default]
    Human,
    /// One JSON document.
    Json,
}

impl Check {
    /// Loads, judges and prints.
    pub fn run(&self, color: Color) -> Code {
        let _ = (self, color);
        Code::Failed
    }
}
