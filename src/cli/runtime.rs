//! The tokio runtime, made in one place. Not at start: commands that only print never have one.
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

use tokio::runtime::{Builder, Runtime};

/// Worker threads where nothing else is said: the work is waiting, not computing.
const WORKERS: usize = 2;
/// The runtimes, the signals, a listener and a connection.
const DESCRIPTORS: usize = 20;
/// Threads for calls that block, such as looking up names.
const BLOCKING: usize = 32;
/// The thread that makes the runtime.
const MAKER: &str = "netjobs-start";

/// Makes the runtime, with all its workers and one blocking thread started.
pub fn build() -> io::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    try_threads(workers + 2)?;
    // Where something is refused all the same, tokio panics, and then waits for ever for the threads that it has. So a
    // thread of its own makes it, and is left where it is.
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
    thread::Builder::new().name(MAKER.into()).spawn(move || tell.send(make(workers)))?;
    told.recv().map_err(io::Error::other)?
}

fn make(workers: usize) -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING)
        // Once started, the first blocking thread stays: later calls queue behind it where no other can start.
        .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
        .thread_name("netjobs")
        .enable_all()
        .build()?;
    runtime.block_on(runtime.spawn_blocking(|| ())).map_err(io::Error::other)?;
    Ok(runtime)
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
    fn the_runtime_runs_tasks_and_blocking_calls() {
        let runtime = build().unwrap();
        assert_eq!(runtime.block_on(async { tokio::task::spawn_blocking(|| 7).await.unwrap() }), 7);
    }

    #[test]
    fn all_threads_of_a_try_live_at_once_and_end() {
        try_threads(8).unwrap();
    }
}
