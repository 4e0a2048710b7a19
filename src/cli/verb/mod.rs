//! The ad-hoc verbs: one job from the command line. Each kind is one; its flags are the kind's keys.

pub mod examples;
pub mod exec;
pub mod expect;
pub mod flags;
pub mod shape;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use super::out::{self, Color};
use crate::{
    exit::Code,
    kind::{Facts, KINDS, ipc},
    sys::limits::OpenFiles,
};

/// The hidden command that the `ipc` kind starts this program again with.
pub const CHILD: &str = ipc::CHILD;

/// The only verb after which a program may stand.
const WAIT: &str = "wait";

/// A kind's command; its flags are made when it is used, so that other commands start without reading any schema.
pub fn command(facts: &Facts) -> Command {
    Command::new(facts.name).about(shape::about(facts)).defer(with_flags)
}

fn with_flags(command: Command) -> Command {
    let Some(facts) = KINDS.iter().find(|facts| facts.name == command.get_name()) else { return command };
    let (help, keys) = shape::of_kind(facts);
    let command = flags::add(command, facts.main, &keys).long_about(format!("{help}\n\n{NOTE}"));
    let command = match examples::of(facts.name) {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    let command = command.args(common(facts));
    if facts.name == WAIT { command.arg(program()) } else { command }
}

const NOTE: &str = "One job from the command line; the flags are the keys of the same job in a file.";

/// The flags that verbs have besides their keys.
fn common(facts: &Facts) -> Vec<Arg> {
    let expect = Arg::new("expect")
        .long("expect")
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .value_parser(expect::parse)
        .help("What must hold of a measurement; also `NAME<=VALUE` and the like, quoted");
    let every = Arg::new("every")
        .long("every")
        .value_name("DURATION")
        .help("Run again and again, at this period, until ended");
    let json = Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .help("Print one JSON record a line; the last one is `run_finished`");
    if facts.service { vec![expect, json] } else { vec![expect, every, json] }
}

fn program() -> Arg {
    Arg::new("program")
        .value_name("CMD")
        .last(true)
        .num_args(1..)
        .value_hint(ValueHint::CommandWithArguments)
        .value_parser(clap::value_parser!(OsString))
        .help("A program to become once everything came up, with its arguments")
}

/// Runs one job.
pub fn run(
    facts: &'static Facts,
    matches: &ArgMatches,
    color: Color,
    files_before: Option<OpenFiles>,
) -> Code {
    let (_, keys) = shape::of_kind(facts);
    let _ = (color, files_before);
    match flags::parameters(matches, facts.main, &keys) {
        Ok(parameters) => out::print(&format!("{parameters}"), Code::Failed),
        Err(why) => out::fail(Code::Usage, why),
    }
}

/// The child of an `ipc` job.
pub fn child(arguments: &[OsString]) -> Code {
    // Nobody reads what it would say: its parent goes by how it ends.
    ipc::child(arguments).map_or(Code::Failed, |()| Code::Passed)
}
