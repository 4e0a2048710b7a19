//! Mice beside elephants: a connection with small messages now and then, while others take all they can get.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Found,
    args::Args,
    bulk,
    latency::Latencies,
    ready,
    server::{self, DOWN, ECHO},
    settle, sys,
};

/// The mouse's own ends run before all other threads where the system lets them: what is late is then the forwarder.
pub(crate) fn run(args: &Args) -> Found {
    let size = args.number("size", 64)?;
    let pause = Duration::from_secs_f64(args.number("pause", 0.002)?);
    let tally = server::start(args.listen()?, true)?;
    bulk::open(args.to()?, args.number("streams", 8)?, DOWN, &tally)?;
    let urgent = sys::run_first();
    let mut mouse = TcpStream::connect(args.to()?)?;
    mouse.set_nodelay(true)?;
    mouse.write_all(&[ECHO])?;
    mouse.read_exact(&mut [0])?;
    ready();
    let start = Instant::now();
    tally.go();
    let end = start + args.seconds()?;
    let (message, mut answer) = (vec![0x5a; size], vec![0; size]);
    let mut latencies = Latencies::default();
    while Instant::now() < end {
        thread::sleep(pause);
        let start = Instant::now();
        mouse.write_all(&message)?;
        mouse.read_exact(&mut answer)?;
        latencies.since(start);
    }
    let elapsed = start.elapsed();
    let received = tally.received.load(Relaxed);
    tally.stop.store(true, Relaxed);
    settle();
    let mut summary = latencies.summary(elapsed);
    summary["bytes_per_second"] = (received as f64 / elapsed.as_secs_f64()).into();
    summary["urgent"] = urgent.into();
    Ok(summary)
}
