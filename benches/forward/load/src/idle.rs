//! Idle: connections that were used once, for a byte each way, and stay open.

use std::time::Instant;

use serde_json::json;

use crate::{
    Found,
    args::Args,
    ready,
    roundtrips::open,
    server::{self, runtime},
    settle,
};

/// Connections that come and go first: what a forwarder allocates once is not counted to each.
const BEFORE: usize = 16;

pub(crate) fn run(args: &Args) -> Found {
    let (to, connections) = (args.to()?, args.number("connections", 3000)?);
    server::start(args.listen()?, false)?;
    let runtime = runtime()?;
    drop(runtime.block_on(open(to, BEFORE))?);
    settle();
    ready();
    let start = Instant::now();
    let open = runtime.block_on(open(to, connections))?;
    let elapsed = start.elapsed();
    settle();
    // Held while the driver looks on.
    let count = open.len();
    std::mem::forget(open);
    Ok(json!({ "connections": count, "seconds": elapsed.as_secs_f64() }))
}
