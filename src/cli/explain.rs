//! `netjobs explain`: what a kind, a key or a measurement means, out of the same comments as the schema.

use super::out;
use crate::exit::Code;

/// Explain a kind of job, one of its keys, or a key common to all
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs explain ping
  netjobs explain ping.count
  netjobs explain every")]
pub struct Explain {
    /// `KIND`, `KIND.KEY` or a common key
    #[arg(value_name = "KIND[.KEY]")]
    path: String,
}

impl Explain {
    /// Prints it.
    pub fn run(&self) -> Code {
        out::print(&self.path, Code::Failed)
    }
}
