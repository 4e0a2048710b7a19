//! `netjobs run`: the daemon.

use std::{
    fs::File,
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use clap::{
    ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    files::Files,
    out::{self, Color},
    predict,
    session::{self, Session},
    trace,
    watch::{Sight, Watch},
};
use crate::{
    context::Shared,
    exit::Code,
    http::{self, Reload, Site, Spare},
    meter::Registry,
    run::{self, Control, Loader, Mode},
    sink::{
        self, Level,
        history::History,
        json::{self, Log},
        line::Pretty,
        metrics::Metrics,
        queue::{self, Queue},
    },
    sys::rights::{self, Right},
};

/// Run jobs on their schedules until ended, and serve metrics
///
/// Loads all job files, starts the services, runs each check on its schedule, serves metrics and a status page, and
/// writes a JSON record for each thing that happens.
///
/// When files change, or at SIGHUP, it reads them again and takes on all of them or, where one is wrong, none. SIGTERM and
/// SIGINT drain and end; a second one ends at once.
///
/// A reload opens `--log.file` anew, too: logrotate renames it and sends SIGHUP; its `copytruncate` works as well.
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

    /// Do not reload by itself when job files change, only when asked to
    ///
    /// Files are watched by the folders that they stand in, through links, and read once nobody has written for 100 ms.
    /// Changes that another machine makes on a network file system are not seen: send SIGHUP.
    #[arg(long)]
    no_watch: bool,

    /// Let `POST /-/reload` read the files again
    #[arg(long = "web.enable-lifecycle")]
    web_enable_lifecycle: bool,

    /// How many series to keep; more are dropped and counted
    #[arg(long = "metrics.max-series", value_name = "N", default_value_t = 1_000_000)]
    metrics_max_series: usize,

    /// How to write the log; default: `pretty` on a terminal, else `json`
    #[arg(long = "log.format", value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,

    /// Write the log here instead of stdout; lines are appended, and each reload opens the file anew
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
        let spare = Spare::open();
        let files = Files::of(&self.paths);
        let loaded = files.load_or_say(color)?;
        for prediction in predict::open_files(&loaded.jobs) {
            out::say(prediction);
        }
        let (log, sight) = (self.open_log()?, Sight::new(Mutex::new(loaded.seen.clone())));
        let registry = Registry::new(self.metrics_max_series);
        let metrics = Metrics::new(registry.clone())
            .map_err(|error| out::fail(Code::Failed, format_args!("set up the metrics: {error}")))?;
        let runtime = session::prepare(self.ending.drop_all)?;
        let log = self.log(log, color, &metrics)?;
        let state = session::open_state(self.keeping.state.as_deref(), metrics.state_failed.clone())?;
        if let Some(state) = &state {
            state.forget_all_but(|name| loaded.jobs.iter().any(|job| job.name.as_str() == name));
        }
        let history = History::new();
        let session = Session {
            set: session::set(loaded),
            loader: Some(loader(files.clone(), sight.clone())),
            mode: Mode::Daemon,
            sinks: vec![Box::new(metrics.sink()), Box::new(history.sink()), Box::new(log)],
            shared: Shared::with_state(registry, state),
            dropped: metrics.events_dropped.clone(),
            readers: vec![],
            grace: self.ending.grace.0,
            drain_idle: self.ending.drain_idle.0,
        };
        let site = Site { metrics, history, reload: None, spare };
        let watch = match files {
            Files::Paths(paths) if !self.no_watch => Watch::new(paths, sight),
            _ => None,
        };
        runtime.block_on(self.serve(session, site, watch))
    }

    /// Serves HTTP beside the engine, also while it drains.
    async fn serve(&self, session: Session, mut site: Site, watch: Option<Watch>) -> Result<Code, Code> {
        let signals = session::catch(true)?;
        let at = self.web_listen_address;
        let listener = listen(at).map_err(|error| {
            let hint = "choose another address with `--web.listen-address`, such as 127.0.0.1:0";
            out::fail(Code::Failed, format_args!("listen on {at} for metrics: {error}\nhint: {hint}"))
        })?;
        let at = listener.local_addr().unwrap_or(at);
        let (control, commands) = run::control();
        site.reload = self.web_enable_lifecycle.then(|| reload(control.clone()));
        let (server, stop) = (TaskTracker::new(), CancellationToken::new());
        server.spawn(http::serve(listener, site, stop.clone()));
        if let Some(watch) = watch {
            server.spawn(watch.run(control.clone(), stop.clone()));
        }
        let jobs = out::plural(session.set.jobs.len(), "job");
        let version = env!("CARGO_PKG_VERSION");
        out::say(format_args!("netjobs {version} runs {jobs}; metrics on http://{at}/metrics"));
        let summary = session::run(session, signals, control, commands).await;
        stop.cancel();
        server.close();
        server.wait().await;
        Ok(summary.exit_code())
    }

    /// The log's file, if it has one; opened with the rights that the program was started with.
    fn open_log(&self) -> Result<Option<(File, PathBuf)>, Code> {
        let Some(path) = &self.log_file else { return Ok(None) };
        match queue::open(path) {
            Ok(file) => Ok(Some((file, path.clone()))),
            Err(error) => Err(out::fail(Code::Failed, format_args!("open {}: {error}", path.display()))),
        }
    }

    fn log(&self, file: Option<(File, PathBuf)>, color: Color, metrics: &Metrics) -> Result<Log, Code> {
        let stdout = io::stdout();
        let is_terminal = self.log_file.is_none() && stdout.is_terminal();
        let format = self.log_format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Json });
        let dropped = metrics.log_dropped.clone();
        let queue = match file {
            Some((file, path)) => Queue::start_file(file, path, dropped),
            None => Queue::start(sink::stdout(), dropped),
        };
        let queue =
            queue.map_err(|error| out::fail(Code::Failed, format_args!("start a thread: {error}")))?;
        let is_coloured = match &self.log_file {
            None => color.on(&stdout),
            Some(_) => color == Color::Always,
        };
        let written = match format {
            Format::Json => json::Format::Json,
            Format::Pretty => json::Format::Pretty(Pretty::new(is_coloured)),
        };
        let log = Log::new(queue, written, self.log_level);
        trace::to_log(self.log_level, log.diagnostics());
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
fn loader(files: Files, sight: Sight) -> Loader {
    Box::new(move || {
        let loaded = files.load();
        *sight.lock().unwrap_or_else(PoisonError::into_inner) = loaded.seen.clone();
        if loaded.report.has_errors() { Err(loaded.report) } else { Ok(session::set(loaded)) }
    })
}

/// Opens the address for HTTP; a port below 1024 with its right.
fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let listener = rights::with(Right::NetBindService, || std::net::TcpListener::bind(at))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
