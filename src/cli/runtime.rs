//! The tokio runtimes, made in one place. Not at start: commands that only print never have one.
//!
//! There are four, so that no run can hold up what is none of its own, not even by a call that does not return: the engine
//! has the main thread for itself, sinks and the HTTP side have a thread each, and runs have more threads than there are
//! cores. Two threads for both would cost more: tokio wakes another with each that it wakes, to look for more work.
//!
//! tokio panics or hangs where a thread cannot be started or a file cannot be opened; so both are tried first, and a limit
//! ends in a sentence instead.

use std::{
    fs::File,
    io, panic,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of runs beyond the cores: so many runs may be stuck in a call at once, and the cores still have work.
const SPARE: usize = 4;
/// The most cores that are counted.
const CORES: usize = 4;
/// The runtimes, the signals, a listener and a connection.
const DESCRIPTORS: usize = 30;
/// Threads of each runtime for calls that block, such as looking up names.
const BLOCKING: usize = 32;
/// So many of them are there from the start: a call that comes just after another finds its thread not yet free, and one more
/// would stay for good.
const READY: usize = 2;
/// The thread that makes the runtimes.
const MAKER: &str = "netjobs-start";
/// How long runs that were broken off may take to let go of what they hold; a look-up that nobody answers takes all of it.
const FAREWELL: Duration = Duration::from_millis(75);

/// The runtimes of the process.
#[derive(Debug)]
pub struct Runtimes {
    /// One thread, the caller's.
    engine: Runtime,
    /// One thread; it has timers and knows no files.
    sinks: Runtime,
    /// One thread, and those for calls that block.
    house: Runtime,
    runs: Runtime,
}

/// Makes the runtimes, with all their threads and the first blocking ones started.
pub fn build() -> io::Result<Runtimes> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runs = cores.min(CORES) + SPARE;
    try_threads(runs + 3 + 2 * READY)?;
    // Where something is refused all the same, tokio panics, and then waits for ever for the threads that it has. So a
    // thread of its own makes them, and is left where it is.
    let (tell, told) = mpsc::sync_channel(1);
    let (refused, before) = (tell.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |panic| {
        if thread::current().name() == Some(MAKER) {
            let why = panic.payload_as_str().unwrap_or("no runtime");
            let _ = refused.try_send(Err(io::Error::other(why)));
        } else {
            before(panic);
        }
    }));
    thread::Builder::new().name(MAKER.into()).spawn(move || tell.send(make(runs)).is_ok())?;
    told.recv().map_err(io::Error::other)?
}

fn make(runs: usize) -> io::Result<Runtimes> {
    let engine = Builder::new_current_thread().enable_all().build()?;
    let sinks =
        Builder::new_multi_thread().worker_threads(1).thread_name("netjobs-sinks").enable_time().build()?;
    Ok(Runtimes { engine, sinks, house: threads("netjobs-http", 1)?, runs: threads("netjobs-run", runs)? })
}

fn threads(name: &str, workers: usize) -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING)
        // Once started, a blocking thread stays: later calls queue behind it where no other can start.
        .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
        .thread_name(name)
        .enable_all()
        .build()?;
    // The first is not done before the second, which so gets a thread of its own, where there may be one.
    let (tell, told) = mpsc::sync_channel(1);
    let first = runtime.spawn_blocking(move || told.recv_timeout(FAREWELL).is_ok());
    let second = runtime.spawn_blocking(move || tell.send(()).is_ok());
    runtime.block_on(async { first.await.and(second.await) }).map_err(io::Error::other)?;
    Ok(runtime)
}

impl Runtimes {
    /// Runs a future on the caller's thread: the engine, and what never blocks.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.engine.block_on(future)
    }

    /// Where sinks are.
    pub fn sinks(&self) -> Handle {
        self.sinks.handle().clone()
    }

    /// Where the HTTP side is, and what else waits for files and sockets beside the runs.
    pub fn house(&self) -> Handle {
        self.house.handle().clone()
    }

    /// Where runs are.
    pub fn runs(&self) -> Handle {
        self.runs.handle().clone()
    }

    /// Ends them; a call that does not return, such as a look-up of a name, holds up nothing.
    pub fn end(self) {
        self.runs.shutdown_timeout(FAREWELL);
        self.house.shutdown_background();
        self.sinks.shutdown_background();
        self.engine.shutdown_background();
    }
}

/// Opens as many files as the smallest of programs takes and closes them again; an error where the system allows fewer.
pub fn try_descriptors() -> io::Result<()> {
    let open = |_| File::open("/dev/null");
    (0..DESCRIPTORS).map(open).collect::<io::Result<Vec<File>>>().map(drop)
}

/// Starts so many threads at once and ends them again; an error where the system allows fewer.
fn try_threads(count: usize) -> io::Result<()> {
    let (release, released) = mpsc::sync_channel::<()>(0);
    let released = Arc::new(Mutex::new(released));
    let started = (0..count).map(|_| {
        let released = released.clone();
        // Each waits until the sender is gone, so that all of them live at the same time.
        thread::Builder::new().spawn(move || drop(released.lock().map(|released| released.recv())))
    });
    let threads: Vec<_> = started.collect();
    drop(release);
    threads.into_iter().try_for_each(|thread| {
        let _ = thread?.join();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_runs_tasks_and_blocking_calls() {
        let runtimes = build().unwrap();
        for place in [runtimes.house(), runtimes.runs()] {
            let seven = place.spawn(async { tokio::task::spawn_blocking(|| 7).await.unwrap() });
            assert_eq!(runtimes.block_on(seven).unwrap(), 7);
        }
    }

    #[test]
    fn all_threads_of_a_try_live_at_once_and_end() {
        try_threads(8).unwrap();
    }
}
