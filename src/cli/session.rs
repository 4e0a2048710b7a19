//! One run of the engine with its sinks and signals: what `run`, `once` and the ad-hoc verbs have in common.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ValueHint;
use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
};
use tokio_util::task::TaskTracker;

use super::{
    out::{self, Color},
    predict,
    runtime::{self, Runtimes},
    signals::Signals,
};
use crate::{
    context::Shared,
    exit::Code,
    job::{Job, load::Loaded},
    kind::KINDS,
    meter::Counter,
    net::{listen::Pool, resolve::Resolver},
    run::{self, Commands, Control, Loader, Mode, Set, Start, Summary, SystemClock},
    sink::{
        self, Sink,
        aside::{Aside, Reader},
        console::{self, Console, Look},
        units::Units,
    },
    state::State,
    sys::rights::{self, Right},
    value::{Endpoint, Timespan},
};

/// How long a slow disk may hold up the end.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// How long a reader of our output may take nothing once the work is done.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same after a signal.
const HURRY: Duration = Duration::from_secs(1);
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

    /// Give up `CAP_NET_RAW` and `CAP_NET_BIND_SERVICE` too: no raw ICMP; ports below 1024 that the files name now are opened
    /// before and stay open to the end, and later none is
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
    pub sinks: Sinks,
    /// The process's shared parts.
    pub shared: Arc<Shared>,
    /// Events that found no room.
    pub dropped: Counter,
    /// The readers of those sinks that stand on threads of their own.
    pub readers: Vec<Reader>,
    /// How long runs and connections may go on after the first signal.
    pub grace: Duration,
    /// How long a draining connection must be silent.
    pub drain_idle: Duration,
}

/// Gives up what no run needs and makes the runtimes, in this order: threads inherit rights. Before all of them are given
/// up, ports are opened that need one.
pub fn prepare(ending: &Ending, jobs: &[Job], listeners: &Pool) -> Result<Runtimes, Code> {
    if ending.drop_all {
        open_low_ports(jobs, listeners);
        rights::keep_only(&[]);
    }
    runtimes()
}

/// Makes the runtimes with the rights that runs may need.
pub fn runtimes() -> Result<Runtimes, Code> {
    rights::keep_only(Right::ALL);
    runtime::try_descriptors().map_err(|error| {
        let hint = "raise the limit of open files (`ulimit -n`)";
        out::fail(Code::Failed, format_args!("open files to work with: {error}\nhint: {hint}"))
    })?;
    runtime::build().map_err(out::no_thread)
}

/// Opens ports that need a right and keeps them. What cannot be opened is told by the run that asks for it again.
fn open_low_ports(jobs: &[Job], listeners: &Pool) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    let free = predict::first_free_port();
    let resolver = Resolver::default();
    runtime.block_on(async {
        for listen in jobs.iter().flat_map(|job| job.room.listens()) {
            let (Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports)) = &listen.bind.0 else { continue };
            if (1..free).contains(&ports.first)
                && let Ok(opened) = listeners.open(&listen, &resolver).await
            {
                listeners.keep(&opened);
            }
        }
    });
}

/// Takes the folder of state, if there is to be one. One that cannot be used is no wrong command line: it may be full, or
/// another runner's for now, so that a service manager may well try again; what cannot be written later is counted. Its thread starts here,
/// without the rights that were given up.
pub fn open_state(folder: Option<&Path>, failed: Counter) -> Result<Option<State>, Code> {
    let opened = folder.map(|folder| State::open(folder, move || failed.inc())).transpose();
    opened.map_err(|error| out::fail(Code::Failed, format_args!("{error}\nhint: {}", error.hint())))
}

/// Readers of events.
pub type Sinks = Vec<Box<dyn Sink>>;

/// The same sinks, each on a thread of its own: a reader that stops holds up no work.
pub fn aside(sinks: Sinks) -> Result<(Sinks, Vec<Reader>), Code> {
    let start = |sink| Aside::start(sink).map(|(aside, reader)| (Box::new(aside) as Box<dyn Sink>, reader));
    let started: io::Result<_> = sinks.into_iter().map(start).collect();
    started.map_err(out::no_thread)
}

/// Runs a session that nobody else controls. What still blocks a thread then, such as looking up a name, holds up nothing.
pub fn block_on(runtimes: Runtimes, session: Session) -> Result<Summary, Code> {
    let (control, commands) = run::control();
    let summary =
        runtimes.block_on(async { Ok(run(session, &runtimes, catch(false)?, control, commands).await) });
    runtimes.end();
    summary
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

/// Runs the session until it is over, and hands each event to each sink.
///
/// Must be called in a runtime, of which the engine then is. `control` is the other end of `commands`; signals go to it.
pub async fn run(
    session: Session,
    runtimes: &Runtimes,
    signals: Signals,
    control: Control,
    commands: Commands,
) -> Summary {
    let Session { set, loader, mode, sinks, readers, shared, dropped, grace, drain_idle } = session;
    let state = shared.state.clone();
    let (events, receiver) = mpsc::channel(EVENTS);
    let clock = Arc::new(SystemClock);
    let runs = Some(runtimes.runs());
    let start =
        Start { set, shared, events, dropped, commands, loader, mode, grace, drain_idle, clock, runs };
    let tracker = TaskTracker::new();
    let pump = tracker.spawn_on(sink::pump(receiver, sinks), &runtimes.sinks());
    let signals = tracker.spawn(signals.tell(control.clone()));
    let mut summary = run::run(start).await;
    // The last sender is gone: the pump ends once every sink has had its say.
    let _ = pump.await;
    if let Some(state) = state {
        last_writes(state, &runtimes.house(), &control, &mut summary).await;
    }
    signals.abort();
    read_out(readers, &mut summary).await;
    summary
}

/// Waits until all of the state is written, but no longer than a disk may take, and not after a signal that comes then; says
/// what is lost.
async fn last_writes(state: State, house: &Handle, control: &Control, summary: &mut Summary) {
    if state.flush(Duration::ZERO) {
        return;
    }
    let patience = if summary.cut_short { HURRY } else { LAST_WRITES };
    let writing = state.clone();
    let written = house.spawn_blocking(move || writing.flush(patience));
    let told_to_end = async {
        match (summary.cut_short, summary.signal) {
            (true, _) => std::future::pending().await,
            (false, Some(_)) => control.aborted().await,
            (false, None) => control.ends().await,
        }
    };
    tokio::select! {
        _ = written => {}
        () = told_to_end => (summary.signal, summary.cut_short) = (control.signal(), true),
    }
    let unsaved = state.unsaved();
    if let [first, more @ ..] = &unsaved[..] {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        out::say(format_args!(
            "warning: {first}{more} could not be saved in {state}; what was saved before stays"
        ));
    }
}

/// Waits for those who read what the sinks write, until they have all, take nothing for too long, or a signal comes.
async fn read_out(readers: Vec<Reader>, summary: &mut Summary) {
    if readers.is_empty() {
        return;
    }
    let mut signals = Signals::catch(false).ok();
    let mut end = Box::pin(async move {
        match &mut signals {
            Some(signals) => signals.end().await,
            None => std::future::pending().await,
        }
    });
    let patience = if summary.signal.is_some() { HURRY } else { PATIENCE };
    for reader in readers {
        tokio::select! {
            unread = reader.finish(patience) => summary.unread += unread,
            signal = &mut end => {
                summary.signal = Some(signal);
                summary.cut_short = true;
                return;
            }
        }
    }
    if summary.unread > 0 {
        let lost = out::plural(usize::try_from(summary.unread).unwrap_or(usize::MAX), "event");
        out::say(format_args!("error: nobody read what is written: {lost} lost"));
    }
}

/// What the files came to, as the engine takes it.
pub fn set(loaded: Loaded) -> Set {
    let left_out = loaded.left_out.into_iter().map(|(name, why)| (name.into(), why)).collect();
    Set { jobs: loaded.jobs, left_out }
}
