//! The threads that carry connections: one single-threaded runtime a core, so that a connection's work never moves between
//! cores and a wake-up costs no system call. Not the engine's runtime, which schedules jobs.
//!
//! Each stays on its core: measured with 64 connections beside busy clients, half of all runs had twice the delay (p99)
//! where the system had put two workers on one core.
//!
//! They start at the first connection of the process. A task that stands on one of them must never block.

use std::{
    cell::Cell,
    io,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::Notify,
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::sys::cores;

/// All workers of the process.
#[derive(Debug, Default)]
pub struct Workers(OnceLock<Vec<Arc<Worker>>>);

#[derive(Debug)]
struct Worker {
    number: usize,
    handle: Handle,
    load: Arc<Load>,
    /// Ends the thread with the last who holds the worker; `None`: it is the runtime of whoever asked.
    _stop: Option<DropGuard>,
}

/// What a worker carries.
#[derive(Debug, Default)]
struct Load {
    seats: AtomicUsize,
    /// Wakes the tick when the first seat is taken.
    taken: Notify,
}

/// A place on a worker for a connection or a listener, counted until it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Worker>);

/// More workers than this help nobody.
const MOST: usize = 64;

/// After so many polls of tasks it is looked who has something new to say. The runtime's usual 61 would let a small
/// request wait for sixty turns of the large transfers beside it.
const POLLS: u32 = 8;

/// Shorter than the usual limits of connections, and long enough to cost nothing.
const TICK: Duration = Duration::from_millis(250);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Workers {
    /// A place on the worker that carries least; the caller's own where several carry the same.
    pub fn seat(&self) -> Seat {
        let workers = self.0.get_or_init(start);
        let here = NUMBER.get();
        let load = |worker: &&Arc<Worker>| (worker.load.seats.load(Ordering::Relaxed), worker.number != here);
        let worker = workers.iter().min_by_key(load).cloned();
        let worker = worker.unwrap_or_else(|| Arc::new(Worker::own()));
        Seat::on(worker)
    }
}

/// As many as there are cores, or as many as the system lets start.
fn start() -> Vec<Arc<Worker>> {
    let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let cores = cores::allowed().unwrap_or_default();
    // Where there are more cores than the share of them that we may use, others like us would choose the same ones.
    let core = |number| cores.get(number).copied().filter(|_| cores.len() == count);
    let start = |number| Worker::start(number, core(number)).ok().map(Arc::new);
    (0..count).map_while(start).collect()
}

impl Worker {
    fn start(number: usize, core: Option<usize>) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let load = Arc::<Load>::default();
        let ticking = load.clone();
        let (tell, told) = mpsc::sync_channel(1);
        thread::Builder::new().name(format!("relay-{number}")).spawn(move || {
            // Made here: where the thread cannot start, none has to be dropped, which no task may do.
            let made = Builder::new_current_thread().enable_all().event_interval(POLLS).build();
            let runtime = match made {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(runtime.handle().clone()));
            NUMBER.set(number);
            if let Some(core) = core {
                // Refused, it runs wherever the system puts it.
                let _ = cores::stay_on(core);
            }
            runtime.block_on(stopped.run_until_cancelled(tick(ticking)));
        })?;
        let handle = told.recv().map_err(io::Error::other)??;
        Ok(Self { number, handle, load, _stop: Some(stop.drop_guard()) })
    }

    /// Where no thread can be started, the caller's runtime carries its connections too.
    fn own() -> Self {
        Self { number: usize::MAX, handle: Handle::current(), load: Arc::default(), _stop: None }
    }
}

/// Keeps a timer ahead of all those of connections: one that becomes the earliest would wake the runtime by a system call,
/// and each new connection's would.
async fn tick(load: Arc<Load>) {
    loop {
        while load.seats.load(Ordering::Relaxed) == 0 {
            load.taken.notified().await;
        }
        sleep(TICK).await;
    }
}

impl Seat {
    fn on(worker: Arc<Worker>) -> Self {
        if worker.load.seats.fetch_add(1, Ordering::Relaxed) == 0 {
            worker.load.taken.notify_one();
        }
        Self(worker)
    }
}

impl Deref for Seat {
    type Target = Handle;

    /// Where to spawn what stands on this place.
    fn deref(&self) -> &Handle {
        &self.0.handle
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.load.seats.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_go_to_the_worker_that_carries_least() {
        let workers = Workers::default();
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let seats: Vec<Seat> = (0..2 * count).map(|_| workers.seat()).collect();
        let mut numbers: Vec<usize> = seats.iter().map(|seat| seat.0.number).collect();
        numbers.sort_unstable();
        let twice: Vec<usize> = (0..count).flat_map(|number| [number, number]).collect();
        assert_eq!(numbers, twice);
        let name = seats[0].spawn(async { thread::current().name().map(str::to_owned) }).await.unwrap();
        assert!(name.unwrap().starts_with("relay-"));
    }
}
