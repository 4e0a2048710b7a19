//! `netjobs run`: the daemon.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use clap::{
    ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    files::Files,
    out::{self, Color},
    predict,
    runtime::Runtimes,
    session::{self, Session},
    trace,
};
use crate::{
    context::Shared,
    exit::Code,
    http::{self, Reload, Site},
    meter::Registry,
    run::{self, Control, Loader, Mode},
    sink::{
        self, Level,
        history::History,
        json::{self, Log},
        line::Pretty,
        metrics::Metrics,
        queue::Queue,
    },
    sys::rights::{self, Right},
};

/// Run jobs on their schedules until ended, and serve metrics
///
/// Loads all job files, starts the services, runs each check on its schedule, serves metrics and a status page, and
/// writes a JSON record for each thing that happens.
///
/// SIGHUP reads the files again: all of them or, where one is wrong, none. SIGTERM and SIGINT drain and end; a second
/// one ends at once.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  netjobs run                                     run ./jobs, or the built-in demo
  netjobs run /etc/netjobs --log.file /var/log/netjobs.json --state /var/lib/netjobs
  netjobs run jobs --web.listen-address 0.0.0.0:9750 --web.enable-lifecycle")]
pub struct Run {
    /// Job files, or folders of them; default: `./jobs`, else the built-in demo
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,

    /// Where to serve metrics, health and the status page
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:9750")]
    web_listen_address: SocketAddr,

    /// Let `POST /-/reload` read the files again
    #[arg(long = "web.enable-lifecycle")]
    web_enable_lifecycle: bool,

    /// How many series to keep; more are dropped and counted
    #[arg(long = "metrics.max-series", value_name = "N", default_value_t = 1_000_000)]
    metrics_max_series: usize,

    /// How to write the log; default: `pretty` on a terminal, else `json`
    #[arg(long = "log.format", value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,

    /// Write the log here instead of stdout; lines are appended
    #[arg(long = "log.file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    log_file: Option<PathBuf>,

    /// The least that the program's own diagnostics must be to be written
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = level())]
    log_level: Level,

    #[command(flatten)]
    keeping: session::Keeping,

    #[command(flatten)]
    ending: session::Ending,
}

/// The forms of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One object a line.
    Json,
    /// Lines for people.
    Pretty,
}

/// Reads the words of levels, and lets clap name them.
fn level() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.iter().map(|level| level.as_str()))
        .try_map(|word| word.parse::<Level>().map_err(WrongLevel))
}

/// Never seen: clap has judged the word before.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongLevel(String);

impl Run {
    /// Runs until a signal.
    pub fn run(&self, color: Color) -> Code {
        self.try_run(color).unwrap_or_else(|code| code)
    }

    fn try_run(&self, color: Color) -> Result<Code, Code> {
        let files = Files::of(&self.paths);
        let loaded = files.load_or_say(color)?;
        for prediction in predict::open_files(&loaded.jobs) {
            out::say(prediction);
        }
        let log = self.open_log()?;
        let registry = Registry::new(self.metrics_max_series);
        let metrics = Metrics::new(registry.clone())
            .map_err(|error| out::fail(Code::Failed, format_args!("set up the metrics: {error}")))?;
        let runtimes = session::prepare(self.ending.drop_all)?;
        let log = self.log(log, color, &metrics)?;
        let state = session::open_state(self.keeping.state.as_deref(), metrics.state_failed.clone())?;
        if let Some(state) = &state {
            state.forget_all_but(|name| loaded.jobs.iter().any(|job| job.name.as_str() == name));
        }
        let history = History::new();
        let session = Session {
            set: session::set(loaded),
            loader: Some(loader(files)),
            mode: Mode::Daemon,
            sinks: vec![Box::new(metrics.sink()), Box::new(history.sink()), Box::new(log)],
            shared: Shared::with_state(registry, state),
            dropped: metrics.events_dropped.clone(),
            grace: self.ending.grace.0,
            drain_idle: self.ending.drain_idle.0,
        };
        runtimes.block_on(self.serve(session, &runtimes, metrics, history))
    }

    /// Serves HTTP beside the engine, also while it drains.
    async fn serve(
        &self,
        session: Session,
        runtimes: &Runtimes,
        metrics: Arc<Metrics>,
        history: History,
    ) -> Result<Code, Code> {
        let signals = session::catch(true)?;
        let (house, at) = (runtimes.house(), self.web_listen_address);
        let listener = listen(at, &house).map_err(|error| {
            let hint = "choose another address with `--web.listen-address`, such as 127.0.0.1:0";
            out::fail(Code::Failed, format_args!("listen on {at} for metrics: {error}\nhint: {hint}"))
        })?;
        let at = listener.local_addr().unwrap_or(at);
        let (control, commands) = run::control();
        let reload = self.web_enable_lifecycle.then(|| reload(control.clone()));
        let (server, stop) = (TaskTracker::new(), CancellationToken::new());
        server.spawn_on(http::serve(listener, Site { metrics, history, reload }, stop.clone()), &house);
        let jobs = out::plural(session.set.jobs.len(), "job");
        let version = env!("CARGO_PKG_VERSION");
        out::say(format_args!("netjobs {version} runs {jobs}; metrics on http://{at}/metrics"));
        let summary = session::run(session, house, runtimes.runs(), signals, control, commands).await;
        stop.cancel();
        server.close();
        server.wait().await;
        Ok(summary.exit_code())
    }

    /// Where the log goes; opened with the rights that the program was started with.
    fn open_log(&self) -> Result<Box<dyn Write + Send>, Code> {
        let Some(path) = &self.log_file else { return Ok(sink::stdout()) };
        match fs::OpenOptions::new().append(true).create(true).open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(out::fail(Code::Failed, format_args!("open {}: {error}", path.display()))),
        }
    }

    fn log(&self, out: Box<dyn Write + Send>, color: Color, metrics: &Metrics) -> Result<Log, Code> {
        let stdout = io::stdout();
        let is_terminal = self.log_file.is_none() && stdout.is_terminal();
        let format = self.log_format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Json });
        let queue = Queue::start(out, metrics.log_dropped.clone())
            .map_err(|error| out::fail(Code::Failed, format_args!("start a thread: {error}")))?;
        let is_coloured = match &self.log_file {
            None => color.on(&stdout),
            Some(_) => color == Color::Always,
        };
        let written = match format {
            Format::Json => json::Format::Json,
            Format::Pretty => json::Format::Pretty(Pretty::new(is_coloured)),
        };
        let log = Log::new(queue, written, self.log_level);
        trace::to_log(self.log_level, (format == Format::Json).then(|| log.diagnostics()));
        Ok(log)
    }
}

/// `POST /-/reload`: says what came of it.
fn reload(control: Control) -> Reload {
    Box::new(move || {
        let control = control.clone();
        Box::pin(async move {
            let done = control.reload().await.map_err(|report| report.render(false))?;
            let [added, removed, changed] = [&done.added, &done.removed, &done.changed].map(Vec::len);
            Ok(format!("{added} added, {removed} removed, {changed} changed, {} kept", done.kept))
        })
    })
}

/// Reads the same files anew for a reload.
fn loader(files: Files) -> Loader {
    Box::new(move || {
        let loaded = files.load();
        if loaded.report.has_errors() { Err(loaded.report) } else { Ok(session::set(loaded)) }
    })
}

/// Opens the address for HTTP, which is served in the house; a port below 1024 with its right.
fn listen(at: SocketAddr, house: &Handle) -> io::Result<TcpListener> {
    let listener = rights::with(Right::NetBindService, || std::net::TcpListener::bind(at))?;
    listener.set_nonblocking(true)?;
    let _in_the_house = house.enter();
    TcpListener::from_std(listener)
}
