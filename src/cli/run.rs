//! `netjobs run`: the daemon.

use std::{
    io,
    net::{self, SocketAddr},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use clap::ValueHint;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    files::{self, Files},
    foresee::Foresight,
    handed::Handed,
    log::Logging,
    manager::Manager,
    out::{self, Color},
    predict,
    runtime::Runtimes,
    session::{self, Session},
    signals,
    watch::{self, Sight},
};
use crate::{
    context::Shared,
    exit::Code,
    http::{self, Reload, Site, Spare},
    meter::Registry,
    net::listen::Pool,
    run::{self, Control, Loader, Mode},
    sink::{Sink, history::History, metrics::Metrics},
    sys::rights::{self, Right},
    value::Wrong,
};

/// Run jobs on their schedules until ended, and serve metrics
///
/// Loads all job files, starts the services, runs each check on its schedule, serves metrics and a status page, and
/// writes a JSON record for each thing that happens.
///
/// When files change, or at SIGHUP, it reads them again and takes on all of them or, where one is wrong, none. SIGTERM and
/// SIGINT drain and end; a second one ends at once. An HTTP client that has begun to ask may still be answered, for a second.
///
/// It exits with 0 when it was told to end, also before it has begun, and with 130 or 143 where a second signal, or the end of
/// `--grace`, broke something off. Where `--state` cannot be written any more, a warning names what is lost.
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

    /// Where to serve metrics, health and the status page; a descriptor `http` of the service manager comes first
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:9750", value_parser = socket)]
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

    #[command(flatten)]
    logging: Logging,

    #[command(flatten)]
    keeping: session::Keeping,

    #[command(flatten)]
    ending: session::Ending,
}

fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    let hint = "write an IP address and a port, such as `127.0.0.1:9750` or `[::]:9750`";
    text.parse().map_err(|_| Wrong::new("this is no address to listen on", hint))
}

/// What runs beside the engine.
struct Beside {
    web: net::TcpListener,
    site: Site,
    files: Files,
    /// What the last load read, where changed files reload.
    sight: Option<Sight>,
    manager: Option<Manager>,
}

impl Run {
    /// Runs until a signal.
    pub fn run(&self, color: Color) -> Code {
        self.try_run(color).unwrap_or_else(|code| code)
    }

    fn try_run(&self, color: Color) -> Result<Code, Code> {
        signals::expect();
        // Before there is a second thread: both take what the process was started with.
        let (manager, handed) = (Manager::take(), Handed::take());
        let spare = Spare::open();
        let files = Files::of(&self.paths);
        let loaded = files.load_or_say(color)?;
        for prediction in predict::open_files(&loaded.jobs) {
            out::say(prediction);
        }
        let (log, sight) = (self.logging.open()?, Sight::new(Mutex::new(loaded.seen.clone())));
        let listeners = Pool::default();
        let web = self.web(handed.give(&loaded, &listeners))?;
        let registry = Registry::new(self.metrics_max_series);
        let metrics = Metrics::new(registry.clone())
            .map_err(|error| out::fail(Code::Failed, format_args!("set up the metrics: {error}")))?;
        let runtimes = session::prepare(&self.ending, &loaded.jobs, &listeners)?;
        files::say_closed(&loaded.seen);
        let log = self.logging.start(log, color, &metrics)?;
        let state = session::open_state(self.keeping.state.as_deref(), metrics.state_failed.clone())?;
        if let Some(state) = &state {
            state.forget_all_but(|name| loaded.jobs.iter().any(|job| job.name.as_str() == name));
        }
        let history = History::new();
        let mut sinks: Vec<Box<dyn Sink>> =
            vec![Box::new(metrics.sink()), Box::new(history.sink()), Box::new(log)];
        if let Some(manager) = &manager {
            sinks.push(Box::new(manager.sink(&history)));
        }
        let session = Session {
            set: session::set(loaded),
            loader: Some(loader(files.clone(), sight.clone())),
            mode: Mode::Daemon,
            sinks,
            shared: Shared::with_listeners(registry, state, listeners),
            dropped: metrics.events_dropped.clone(),
            readers: vec![],
            grace: self.ending.grace.0,
            drain_idle: self.ending.drain_idle.0,
        };
        let site = Site { metrics, history, reload: None, plan: None, spare };
        let sight = (!self.no_watch).then_some(sight);
        let beside = Beside { web, site, files, sight, manager };
        let ended = runtimes.block_on(self.serve(session, beside, &runtimes));
        runtimes.end();
        ended
    }

    /// Serves HTTP beside the engine, also while it drains.
    async fn serve(&self, session: Session, beside: Beside, runtimes: &Runtimes) -> Result<Code, Code> {
        let Beside { web, mut site, files, sight, manager } = beside;
        let house = runtimes.house();
        let signals = session::catch(true)?;
        let listener = {
            let _in_the_house = house.enter();
            TcpListener::from_std(web)
                .map_err(|error| out::fail(Code::Failed, format_args!("listen for metrics: {error}")))?
        };
        let at = listener.local_addr().unwrap_or(self.web_listen_address);
        let (control, commands) = run::control();
        let (server, stop) = (TaskTracker::new(), CancellationToken::new());
        site.reload = self.web_enable_lifecycle.then(|| reload(control.clone()));
        if let (Files::Paths(paths), Some(sight)) = (&files, sight) {
            server.spawn_on(watch::watch(paths.clone(), sight, control.clone()), &house);
        }
        let is_demo = files == Files::Demo;
        site.plan =
            (!is_demo).then(|| Foresight::new(files, control.clone(), session.shared.clone()).asked());
        if let Some(manager) = manager {
            server.spawn_on(manager.talk(site.history.clone(), control.clone(), stop.clone()), &house);
        }
        server.spawn_on(http::serve(listener, site, stop.clone()), &house);
        let jobs = out::plural(session.set.jobs.len(), "job");
        let version = env!("CARGO_PKG_VERSION");
        out::say(format_args!("netjobs {version} runs {jobs}; metrics on http://{at}/metrics"));
        let summary = session::run(session, runtimes, signals, control, commands).await;
        stop.cancel();
        server.close();
        server.wait().await;
        Ok(summary.exit_code())
    }

    /// The listener for HTTP: the service manager's, or one of our own, a port below 1024 with its right.
    fn web(&self, handed: Option<net::TcpListener>) -> Result<net::TcpListener, Code> {
        let at = self.web_listen_address;
        let open = || {
            let own = || rights::with(Right::NetBindService, || net::TcpListener::bind(at));
            let listener = handed.map_or_else(own, Ok)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        open().map_err(|error: io::Error| {
            let hint = "choose another address with `--web.listen-address`, such as 127.0.0.1:0";
            out::fail(Code::Failed, format_args!("listen on {at} for metrics: {error}\nhint: {hint}"))
        })
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
