//! `netjobs once`: a smoke check for CI.

use std::path::{Path, PathBuf};

use clap::ValueHint;

use super::{
    files::Files,
    out::{self, Color},
    session::{self, Session},
    trace,
};
use crate::{
    context::Shared,
    exit::Code,
    job::load::Loaded,
    meter::{Counter, Registry},
    net::listen::Pool,
    run::Mode,
    sink::{
        self, Sink, console,
        file::{Output, Written},
        json::Results,
        junit::Junit,
        tap::Tap,
    },
    value::glob,
};

/// Run every job once, as a smoke check for CI
///
/// Starts the services, runs each check once in the order of `needs`, stops the services, and exits 0 if all passed.
/// A service passes if it became ready, ended cleanly, and what it expects holds.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs once                                    ./jobs, or the built-in demo
  netjobs once jobs --junit report.xml --json records.json
  netjobs once jobs --select 'db-*' --select web  some of them, with the jobs they need")]
pub struct Once {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Run only jobs of this name or glob, and what they need; repeatable
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,

    /// Write a JUnit report here; `-` is stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    junit: Option<PathBuf>,

    /// Write the log's records here, one a line; `-` is stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,

    /// Write TAP here; without FILE, or with `-`, to stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, num_args = 0..=1,
          default_missing_value = "-", require_equals = true)]
    tap: Option<PathBuf>,

    #[command(flatten)]
    keeping: session::Keeping,

    #[command(flatten)]
    ending: session::Ending,
}

impl Once {
    /// Runs all of them.
    pub fn run(&self, color: Color) -> Code {
        self.try_run(color).unwrap_or_else(|code| code)
    }

    fn try_run(&self, color: Color) -> Result<Code, Code> {
        self.check_reports()?;
        let files = Files::of(&self.paths);
        let loaded = files.load_or_say(color)?;
        self.check_selected(&loaded)?;
        self.check_runs(&loaded)?;
        let listeners = Pool::default();
        let runtimes = session::prepare(&self.ending, &loaded.jobs, &listeners)?;
        for (_, path) in self.reports() {
            let report = path.as_deref().map(output).map_or(Ok(()), |output| output.try_open());
            report.map_err(|error| out::fail(Code::Failed, error))?;
        }
        trace::to_stderr();
        let state = session::open_state(self.keeping.state.as_deref(), Counter::default())?;
        let (sinks, written) = self.sinks(&files.name(), color);
        let (sinks, readers) = session::aside(sinks)?;
        let session = Session {
            set: session::set(loaded),
            loader: None,
            mode: Mode::Once { select: self.select.clone() },
            sinks,
            shared: Shared::with_listeners(Registry::new(SERIES), state, listeners),
            dropped: Counter::default(),
            readers,
            grace: self.ending.grace.0,
            drain_idle: self.ending.drain_idle.0,
        };
        let summary = session::block_on(runtimes, session)?;
        let mut code = summary.exit_code();
        for error in written.iter().filter_map(|written| written.result().err()) {
            out::fail(Code::Failed, error);
            // A failed write does not hide why the run itself ended as it did.
            code = if code == Code::Passed { Code::Failed } else { code };
        }
        Ok(code)
    }

    /// Two reports in one place would be none.
    fn check_reports(&self) -> Result<(), Code> {
        let reports = self.reports();
        let mut given = reports.iter().filter_map(|(flag, path)| Some((*flag, path.as_ref()?)));
        while let Some((flag, path)) = given.next() {
            if let Some((other, _)) = given.clone().find(|(_, other)| *other == path) {
                let place = if is_stdout(path) { "stdout".into() } else { path.display().to_string() };
                let what = format_args!(
                    "{flag} and {other} both write to {place}; give one of them a file of its own"
                );
                return Err(out::fail(Code::Usage, what));
            }
        }
        Ok(())
    }

    fn reports(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [("--junit", &self.junit), ("--json", &self.json), ("--tap", &self.tap)]
    }

    /// A word that selects nothing is a mistake: a check that checks nothing must not pass.
    fn check_selected(&self, loaded: &Loaded) -> Result<(), Code> {
        let names: Vec<String> = loaded.jobs.iter().map(|job| job.name.to_string()).collect();
        let left_out = loaded.left_out.iter().map(|(name, _)| name);
        let is_known = |word: &str| names.iter().chain(left_out.clone()).any(|name| glob::fits(word, name));
        match self.select.iter().find(|word| !is_known(word)) {
            None => Ok(()),
            Some(word) => {
                let near = super::near(word, &names);
                Err(out::fail(Code::Usage, format_args!("--select: there is no job `{word}`{near}")))
            }
        }
    }

    /// Nor where all that is selected is left out.
    fn check_runs(&self, loaded: &Loaded) -> Result<(), Code> {
        let is_meant =
            |name: &str| self.select.is_empty() || self.select.iter().any(|word| glob::fits(word, name));
        if loaded.jobs.iter().any(|job| is_meant(job.name.as_str())) {
            return Ok(());
        }
        for (name, why) in loaded.left_out.iter().filter(|(name, _)| is_meant(name)) {
            out::say(format_args!("{name} left out: {why}"));
        }
        Err(out::fail(Code::Usage, "no job is left to run: a check that checks nothing does not pass"))
    }

    /// The console and the result files; a file on stdout moves the console to stderr.
    fn sinks(&self, suite: &str, color: Color) -> (Vec<Box<dyn Sink>>, Vec<Written>) {
        let units = || session::units();
        let (mut sinks, mut written): (Vec<Box<dyn Sink>>, _) = (vec![], vec![]);
        if let Some(path) = &self.junit {
            let (junit, done) = Junit::new(output(path), suite, units());
            sinks.push(Box::new(junit));
            written.push(done);
        }
        if let Some(path) = &self.json {
            let (results, done) = Results::new(output(path));
            sinks.push(Box::new(results));
            written.push(done);
        }
        if let Some(path) = &self.tap {
            let (tap, done) = Tap::new(output(path), units());
            sinks.push(Box::new(tap));
            written.push(done);
        }
        let is_taken = self.reports().into_iter().filter_map(|(_, path)| path.as_deref()).any(is_stdout);
        sinks.push(Box::new(session::console(console::Mode::Once, color, is_taken)));
        (sinks, written)
    }
}

/// More than any smoke check has.
const SERIES: usize = 1_000_000;

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn output(path: &Path) -> Output {
    if is_stdout(path) { Output::Stream(sink::stdout()) } else { Output::File(path.to_owned()) }
}
