//! `netjobs man`: manual pages, made from the same definitions as `--help`.

use super::out;
use crate::exit::Code;

/// Print the manual page, or that of one command
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs man > netjobs.1
  netjobs man sweep | man -l -")]
pub struct Man {
    /// A command, such as `run` or `sweep`
    command: Option<String>,
}

impl Man {
    /// Prints the page as troff.
    pub fn run(&self) -> Code {
        let mut whole = super::command();
        whole.build();
        let page = match &self.command {
            None => whole,
            Some(name) => match whole.find_subcommand(name) {
                // `build` has named it `netjobs-NAME`, as manual pages are.
                Some(found) => found.clone(),
                None => return super::unknown_command(name),
            },
        };
        let mut text = vec![];
        match clap_mangen::Man::new(page).render(&mut text) {
            Ok(()) => out::print_bytes(&text, Code::Passed),
            Err(error) => out::fail(Code::Failed, format_args!("write the page: {error}")),
        }
    }
}
