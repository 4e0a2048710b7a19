//! One run of the engine with its sinks and signals: what `run`, `once` and the ad-hoc verbs have in common.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ValueHint;
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::task::TaskTracker;

use super::{
    out::{self, Color},
    runtime::{self, Runtimes},
    signals::Signals,
};
use crate::{
    context::Shared,
    exit::Code,
    job::load::Loaded,
    kind::KINDS,
    meter::Counter,
    run::{self, Commands, Control, Loader, Mode, Set, Start, Summary, SystemClock},
    sink::{
        self, Sink,
        console::{self, Console, Look},
        units::Units,
    },
    state::State,
    sys::rights::{self, Right},
    value::Timespan,
};

/// How long a slow disk may hold up the end.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// Events that may wait for the sinks.
const EVENTS: usize = 4096;

/// The flags of rights and ends that `run` and `once` share.
#[derive(clap::Args, Debug)]
pub struct Ending {
    /// How long runs and connections may go on after the first signal
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub grace: Timespan,

    /// How long a connection must be silent before it is ended while draining
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub drain_idle: Timespan,

    /// Give up `CAP_NET_RAW` and `CAP_NET_BIND_SERVICE` too: no port below 1024, no raw ICMP
    #[arg(long)]
    pub drop_all: bool,
}

/// The flag of what survives a restart, which `run` and `once` share.
#[derive(clap::Args, Debug)]
pub struct Keeping {
    /// Keep here, by the names of jobs, what shall survive a restart, such as what sweeps know of hosts; a folder of its
    /// own, for one runner
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
}

/// What the engine is started with.
pub struct Session {
    /// The jobs.
    pub set: Set,
    /// Reads the files anew.
    pub loader: Option<Loader>,
    /// How long it runs.
    pub mode: Mode,
    /// Who reads the events.
    pub sinks: Vec<Box<dyn Sink>>,
    /// The process's shared parts.
    pub shared: Arc<Shared>,
    /// Events that found no room.
    pub dropped: Counter,
    /// How long runs and connections may go on after the first signal.
    pub grace: Duration,
    /// How long a draining connection must be silent.
    pub drain_idle: Duration,
}

/// Gives up what no run needs and makes the runtimes, in this order: threads inherit rights.
pub fn prepare(drop_all: bool) -> Result<Runtimes, Code> {
    rights::keep_only(if drop_all { &[] } else { Right::ALL });
    let told = |what: &str, error, hint: &str| {
        out::fail(Code::Failed, format_args!("{what}: {error}\nhint: {hint}"))
    };
    runtime::try_descriptors().map_err(|error| {
        told("open files to work with", error, "raise the limit of open files (`ulimit -n`)")
    })?;
    runtime::build().map_err(|error| {
        let hint = "raise the limit of processes and threads (`ulimit -u`, the pids limit of the container)";
        told("start a thread", error, hint)
    })
}

/// Takes the folder of state, if there is to be one; what cannot be written later is counted. Its thread starts here,
/// without the rights that were given up.
pub fn open_state(folder: Option<&Path>, failed: Counter) -> Result<Option<State>, Code> {
    let opened = folder.map(|folder| State::open(folder, move || failed.inc())).transpose();
    opened.map_err(|error| out::fail(Code::Failed, format_args!("{error}\nhint: {}", error.hint())))
}

/// Runs a session that nobody else controls.
pub fn block_on(runtimes: &Runtimes, session: Session) -> Result<Summary, Code> {
    let (control, commands) = run::control();
    runtimes.block_on(async {
        Ok(run(session, runtimes.house(), runtimes.runs(), catch(false)?, control, commands).await)
    })
}

/// Catches signals from here on; must be called in a runtime, before anybody is told that the program runs.
pub fn catch(reloads: bool) -> Result<Signals, Code> {
    Signals::catch(reloads).map_err(|error| out::fail(Code::Failed, format_args!("catch signals: {error}")))
}

/// The console for people; on stderr alone where stdout is somebody else's.
pub fn console(mode: console::Mode, color: Color, is_stdout_taken: bool) -> Console {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let look = |colour, terminal| Look { colour, terminal, progress: stderr.is_terminal() };
    if is_stdout_taken {
        let look = look(color.on(&stderr), stderr.is_terminal());
        return Console::new(mode, look, units(), sink::stderr(), sink::stderr());
    }
    let look = look(color.on(&stdout), stdout.is_terminal());
    Console::new(mode, look, units(), sink::stdout(), sink::stderr())
}

/// The units of all kinds' measurements.
pub fn units() -> Units {
    Units::new(KINDS.iter().map(|facts| (facts.name, facts.measures)))
}

/// Runs the session until it is over, and hands each event to each sink; those are in the house, and runs in `runs`.
///
/// Must be called in a runtime, of which the engine then is. `control` is the other end of `commands`; signals go to it.
pub async fn run(
    session: Session,
    house: Handle,
    runs: Handle,
    signals: Signals,
    control: Control,
    commands: Commands,
) -> Summary {
    let Session { set, loader, mode, sinks, shared, dropped, grace, drain_idle } = session;
    let state = shared.state.clone();
    let (events, receiver) = mpsc::channel(EVENTS);
    let clock = Arc::new(SystemClock);
    let runs = Some(runs);
    let start =
        Start { set, shared, events, dropped, commands, loader, mode, grace, drain_idle, clock, runs };
    let tracker = TaskTracker::new();
    let pump = tracker.spawn_on(sink::pump(receiver, sinks), &house);
    let signals = tracker.spawn(signals.tell(control));
    let summary = run::run(start).await;
    // The last sender is gone: the pump ends once every sink has had its say.
    let _ = pump.await;
    if let Some(state) = state.filter(|state| !state.flush(LAST_WRITES)) {
        out::say(format_args!("warning: not all could be saved in {state}; what was saved before stays"));
    }
    signals.abort();
    summary
}

/// What the files came to, as the engine takes it.
pub fn set(loaded: Loaded) -> Set {
    let left_out = loaded.left_out.into_iter().map(|(name, why)| (name.into(), why)).collect();
    Set { jobs: loaded.jobs, left_out }
}
