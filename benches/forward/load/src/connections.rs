//! Connections: connect, one byte each way, close; so many at once, for a time or up to a count.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use tokio::task::LocalSet;

use crate::{
    Found,
    args::Args,
    bulk::stream,
    latency::Latencies,
    ready,
    server::{self, ECHO, runtime},
    settle,
};

/// A forwarder that fails so often does not take part.
const MOST_ERRORS: u64 = 20;

pub(crate) fn run(args: &Args) -> Found {
    let (to, most) = (args.to()?, args.number("count", u64::MAX)?);
    server::start(args.listen()?, false)?;
    let runtime = runtime()?;
    runtime.block_on(stream(to, ECHO))?;
    ready();
    let start = Instant::now();
    let end = start + args.seconds()?;
    let (latencies, begun) = (Rc::new(RefCell::new(Latencies::default())), Rc::new(Cell::new(0)));
    let failed = Rc::new(RefCell::new((0, String::new())));
    let workers = LocalSet::new();
    for _ in 0..args.number("concurrency", 16)? {
        let (latencies, begun, failed) = (latencies.clone(), begun.clone(), failed.clone());
        workers.spawn_local(async move {
            while Instant::now() < end && begun.get() < most && failed.borrow().0 < MOST_ERRORS {
                begun.set(begun.get() + 1);
                let start = Instant::now();
                match stream(to, ECHO).await {
                    Ok(stream) => {
                        latencies.borrow_mut().since(start);
                        drop(stream);
                    }
                    Err(error) => {
                        let mut failed = failed.borrow_mut();
                        *failed = (failed.0 + 1, error.to_string());
                    }
                }
            }
        });
    }
    runtime.block_on(workers);
    let elapsed = start.elapsed();
    settle();
    let (errors, error) = failed.take();
    if errors >= MOST_ERRORS {
        return Err(format!("{errors} connections failed: {error}").into());
    }
    let mut summary = latencies.take().summary(elapsed);
    summary["errors"] = errors.into();
    Ok(summary)
}
