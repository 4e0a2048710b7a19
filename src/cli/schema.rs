//! `netjobs schema`: the JSON schema of job files, for editors and validators.

use super::out;
use crate::{exit::Code, job::schema};

/// Print the JSON schema of job files
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs schema > netjobs.schema.json
  and in a job file: # yaml-language-server: $schema=netjobs.schema.json")]
pub struct SchemaOf {}

impl SchemaOf {
    /// Prints it.
    pub fn run(&self) -> Code {
        let Self {} = self;
        out::print(&format!("{:#}\n", schema::job_file()), Code::Passed)
    }
}
