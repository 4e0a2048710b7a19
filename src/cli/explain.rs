//! `netjobs explain`: what a kind, a key or a measurement means, out of the same comments as the schema.

use super::out;
use crate::{exit::Code, job::schema};

/// Explain a kind of job, one of its keys, or a key common to all
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs explain             what can be explained
  netjobs explain ping
  netjobs explain ping.count
  netjobs explain every")]
pub struct Explain {
    /// `KIND`, `KIND.KEY` or a common key; without it: all of them
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
            let near = super::near(path, &schema::paths());
            return out::fail(Code::Usage, format_args!("there is no kind or key `{path}`{near}"));
        };
        out::print(&format!("{}\n", text.trim_end()), Code::Passed)
    }
}
