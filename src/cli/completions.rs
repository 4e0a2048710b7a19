//! `netjobs completions`: a completion script, made from the same definitions as `--help`.

use clap_complete::Shell;

use super::out;
use crate::exit::Code;

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs completions bash > /etc/bash_completion.d/netjobs
  netjobs completions zsh > ~/.zfunc/_netjobs
  netjobs completions fish > ~/.config/fish/completions/netjobs.fish")]
pub struct Completions {
    /// The shell that shall complete
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(&self) -> Code {
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut super::command(), "netjobs", &mut script);
        out::print_bytes(&script, Code::Passed)
    }
}
