//! The ad-hoc verbs: one job from the command line. Each kind is one; its flags are the kind's keys.

pub mod examples;
pub mod exec;
pub mod expect;
pub mod flags;
pub mod records;
pub mod refusal;
pub mod shape;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use serde_json::{Map, Value};

use records::Records;

use super::{
    out::{self, Color},
    session::{self, Session},
    trace,
};
use crate::{
    context::Shared,
    exit::Code,
    job::{
        Job,
        load::{self, Environment},
    },
    kind::{Facts, KINDS, ipc},
    meter::{Counter, Registry},
    outcome::{Reason, Verdict},
    run::{Mode, Set},
    sink::{self, Sink, console, json::Lines},
    sys::{limits::OpenFiles, rights},
};

pub use crate::kind::ipc::CHILD;

/// The only verb after which a program may stand.
const WAIT: &str = "wait";
/// The only verb that has something to keep between two of its processes.
const SWEEP: &str = "sweep";

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
    match facts.name {
        WAIT => command.arg(program()),
        SWEEP => command.arg(state()),
        _ => command,
    }
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

fn state() -> Arg {
    Arg::new("state")
        .long("state")
        .value_name("DIR")
        .value_hint(ValueHint::DirPath)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Keep here what is known of the hosts, and go on from here after an interruption; a folder for each set")
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
    let parameters = match flags::parameters(matches, facts.main, &keys) {
        Ok(parameters) => parameters,
        Err(why) => return out::fail(Code::Usage, why),
    };
    let job =
        match load::load_ad_hoc(facts.name, parameters, common_keys(matches), &Environment::of_process()) {
            Ok((job, warnings)) => {
                let warnings = refusal::render(&warnings);
                if !warnings.is_empty() {
                    out::say(warnings.trim_end());
                }
                job
            }
            Err(report) => {
                out::say(refusal::render(&report).trim_end());
                return Code::Usage;
            }
        };
    let json = matches.get_flag("json");
    let Some(program) = program_of(facts, matches) else {
        let state = matches.try_get_one::<PathBuf>("state").ok().flatten();
        return work(job, json, color, Stdout::Ours, state.map(PathBuf::as_path));
    };
    // Rights belong to threads: this one keeps them for the program, and the work is done on another without them.
    let worker = thread::Builder::new().spawn(move || work(job, json, color, Stdout::Taken, None));
    match worker.map(thread::JoinHandle::join) {
        Ok(Ok(Code::Passed)) => exec::become_program(&program, files_before),
        Ok(Ok(code)) => code,
        Ok(Err(_)) => out::fail(Code::Failed, "the wait ended with a defect of this program"),
        Err(error) => out::no_thread(error),
    }
}

/// The common keys that verbs take, as a job file would hold them.
fn common_keys(matches: &ArgMatches) -> Value {
    let mut common = Map::new();
    let comparisons: Vec<&(String, String)> = matches.get_many("expect").into_iter().flatten().collect();
    if !comparisons.is_empty() {
        common.insert("expect".into(), expect::to_json(comparisons));
    }
    if let Ok(Some(every)) = matches.try_get_one::<String>("every") {
        common.insert("every".into(), every.clone().into());
        common.insert("at".into(), "start".into());
    }
    Value::Object(common)
}

fn program_of(facts: &Facts, matches: &ArgMatches) -> Option<Vec<OsString>> {
    let program = if facts.name == WAIT { matches.get_many::<OsString>("program") } else { None };
    program.map(|words| words.cloned().collect())
}

/// Runs the engine with the one job; stdout is left alone where it belongs to a program.
fn work(job: Job, json: bool, color: Color, stdout: Stdout, state: Option<&Path>) -> Code {
    try_work(job, json, color, stdout, state).unwrap_or_else(|code| code)
}

/// Whose stdout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdout {
    Ours,
    /// The program's that comes after a wait.
    Taken,
}

fn try_work(job: Job, json: bool, color: Color, stdout: Stdout, state: Option<&Path>) -> Result<Code, Code> {
    let is_stdout_taken = stdout == Stdout::Taken;
    let runtimes = session::runtimes()?;
    trace::to_stderr();
    let state = session::open_state(state, Counter::default())?;
    let name = job.name.clone();
    let is_wait = job.room.facts().name == WAIT;
    let (sink, written): (Box<dyn Sink>, _) = if json {
        let (lines, written) = Lines::new(if is_stdout_taken { sink::stderr() } else { sink::stdout() });
        (Box::new(Records(lines)), Some(written))
    } else {
        (Box::new(session::console(console::Mode::Verb, color, is_stdout_taken)), None)
    };
    let (sinks, readers) = session::aside(vec![sink])?;
    let session = Session {
        set: Set { jobs: vec![job], left_out: vec![] },
        loader: None,
        mode: Mode::AdHoc,
        sinks,
        shared: Shared::with_state(Registry::new(SERIES), state),
        dropped: Counter::default(),
        readers,
        grace: GRACE,
        drain_idle: DRAIN_IDLE,
    };
    let summary = session::block_on(runtimes, session)?;
    let timed_out = summary.jobs.get(name.as_str()) == Some(&(Verdict::Failed, Some(Reason::Timeout)));
    let code = match summary.exit_code() {
        Code::Failed if is_wait && timed_out => Code::TimedOut,
        code => code,
    };
    let failed = written.and_then(|written| written.result().err());
    // A failed write does not hide why the run itself ended as it did.
    Ok(match failed.map(|error| out::fail(Code::Failed, error)) {
        Some(failed) if code == Code::Passed => failed,
        _ => code,
    })
}

/// More than any one job has.
const SERIES: usize = 1_000_000;
/// How long connections of a service verb may go on after the first signal; as `run` has it.
const GRACE: Duration = Duration::from_secs(30);
/// How long such a connection must be silent.
const DRAIN_IDLE: Duration = Duration::from_secs(5);

/// The child of an `ipc` job: this program, started again with a descriptor.
pub fn child(arguments: &[OsString]) -> Code {
    rights::keep_only(&[]);
    match ipc::child(arguments) {
        Ok(()) => Code::Passed,
        Err(error) => out::fail(Code::Failed, format_args!("{CHILD}: {error}")),
    }
}
