//! The command line: one file a subcommand; their doc comments are `--help`. Knows commands, not what a kind does:
//! the flags of the ad-hoc verbs are made from the kinds' schemas.

pub mod changes;
pub mod check;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod files;
pub mod foresee;
pub mod handed;
pub mod log;
pub mod man;
pub mod manager;
pub mod next;
pub mod once;
pub mod out;
pub mod plan;
pub mod predict;
pub mod run;
pub mod runtime;
pub mod schema;
pub mod session;
pub mod signals;
pub mod trace;
pub mod verb;
pub mod watch;

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    diagnostic,
    exit::Code,
    kind::KINDS,
    sys::{self, heap, limits},
};
use out::Color;

/// Network jobs, declared in YAML, run on a schedule, exported as metrics
///
/// netjobs forwards, echoes, pings, sweeps, waits and looks at interfaces. What it does is written in job files:
/// `netjobs run` runs them for good and serves metrics, `netjobs once` runs them once as a check, and each kind of
/// job is also a command of its own, such as `netjobs ping`.
#[derive(Debug, Parser)]
#[command(
    name = "netjobs",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  netjobs run                                 run ./jobs, serve metrics on 127.0.0.1:9750
  netjobs once jobs --junit report.xml        a smoke check for CI
  netjobs check jobs                          are the files right?
  netjobs ping 127.0.0.1                      one job, without a file
  netjobs wait tcp://db:5432 -t 30s -- ./app  start a program when its database answers
  netjobs explain ping.count                  what a key of a job file means

Exit codes: 0 all passed, 1 something failed, 2 wrong files or command line, 77 a right is missing,
124 `wait` ran out of time, 130 and 143 interrupted."
)]
struct Cli {
    /// When to use colours: always, never, or auto (on a terminal, unless `NO_COLOR` is set)
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(display_order = 900)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

/// The commands that are no kind of job.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Once(once::Once),
    Check(check::Check),
    Next(next::Next),
    Plan(plan::Plan),
    Schema(schema::SchemaOf),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}

/// All commands: those of `Command`, then one for each kind.
pub fn command() -> clap::Command {
    Cli::command().subcommands(KINDS.iter().map(verb::command))
}

/// Runs the program and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Code {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|first| first == verb::CHILD) {
        return verb::child(&arguments[2..]);
    }
    if arguments.get(1).is_some_and(|first| first == "run") {
        // First thing: a daemon that is told to end before it has begun ends well, too.
        signals::expect();
    }
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage } else { Code::Passed };
        }
    };
    sys::signals::ignore_write_signals();
    heap::share();
    let files_before = limits::raise_open_files();
    dispatch(&matches, files_before)
}

fn dispatch(matches: &ArgMatches, files_before: Option<limits::OpenFiles>) -> Code {
    let color = matches.get_one("color").copied().unwrap_or_default();
    if let Some((name, matches)) = matches.subcommand()
        && let Some(facts) = KINDS.iter().find(|facts| facts.name == name)
    {
        return verb::run(facts, matches, color, files_before);
    }
    match Cli::from_arg_matches(matches) {
        Err(error) => out::fail(Code::Usage, error),
        Ok(cli) => match cli.command {
            Command::Run(run) => run.run(color),
            Command::Once(once) => once.run(color),
            Command::Check(check) => check.run(color),
            Command::Next(next) => next.run(color),
            Command::Plan(plan) => plan.run(color),
            Command::Schema(schema) => schema.run(),
            Command::Explain(explain) => explain.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        },
    }
}

/// Says that there is no such command, and which one comes near.
fn unknown_command(name: &str) -> Code {
    let known: Vec<String> = command().get_subcommands().map(|known| known.get_name().to_owned()).collect();
    out::fail(Code::Usage, format_args!("there is no command `{name}`{}", near(name, &known)))
}

/// `; did you mean …?`, where one of the known words is near.
fn near(word: &str, known: &[String]) -> String {
    let near = diagnostic::near(word, known.iter().map(String::as_str));
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_of_all_commands_hold_together() {
        command().debug_assert();
    }

    #[test]
    fn no_kind_has_the_name_of_a_command() {
        let commands = Cli::command();
        for facts in KINDS {
            assert!(commands.find_subcommand(facts.name).is_none(), "{}", facts.name);
        }
    }

    #[test]
    fn a_near_word_is_offered_and_a_far_one_is_not() {
        let known = ["ping".to_owned(), "sweep".to_owned()];
        assert_eq!(near("pnig", &known), "; did you mean `ping`?");
        assert_eq!(near("teleport", &known), "");
    }
}
