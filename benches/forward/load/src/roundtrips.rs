//! Round trips: a small message to the server and back, over and over, on so many connections at once.

use std::{io, net::SocketAddr, sync::Arc, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    Found,
    args::Args,
    bulk::stream,
    latency::Latencies,
    ready,
    server::{self, ECHO, runtime},
    settle,
};

pub(crate) fn run(args: &Args) -> Found {
    let (to, size) = (args.to()?, args.number("size", 64)?);
    let (connections, length) = (args.number("connections", 1)?, args.seconds()?);
    server::start(args.listen()?, false)?;
    let runtime = runtime()?;
    let open = runtime.block_on(open(to, connections))?;
    ready();
    let start = Instant::now();
    let end = start + length;
    let latencies = runtime.block_on(async {
        let mut tasks: JoinSet<_> = open.into_iter().map(|stream| talk(stream, size, end)).collect();
        let (mut all, mut kept) = (Latencies::default(), Vec::new());
        while let Some(result) = tasks.join_next().await {
            let (stream, latencies) = result.map_err(io::Error::other)??;
            kept.push(stream);
            all.append(latencies);
        }
        // The closes are not part of what is measured.
        std::mem::forget(kept);
        Ok::<_, io::Error>(all)
    })?;
    let elapsed = start.elapsed();
    settle();
    Ok(latencies.summary(elapsed))
}

/// Opens connections, a few at a time: a forwarder with a short queue is not to wait for its clients' second try.
pub(crate) async fn open(to: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    let turns = Arc::new(Semaphore::new(4));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let turns = turns.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await.map_err(io::Error::other)?;
            stream(to, ECHO).await
        });
    }
    let mut open = Vec::with_capacity(connections);
    while let Some(result) = tasks.join_next().await {
        let stream = result.map_err(io::Error::other)?;
        open.push(
            stream.map_err(|error| io::Error::other(format!("connection {}: {error}", open.len() + 1)))?,
        );
    }
    Ok(open)
}

async fn talk(mut stream: TcpStream, size: usize, end: Instant) -> io::Result<(TcpStream, Latencies)> {
    let (message, mut answer) = (vec![0x5a; size], vec![0; size]);
    let mut latencies = Latencies::default();
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok((stream, latencies));
        }
        stream.write_all(&message).await?;
        stream.read_exact(&mut answer).await?;
        latencies.since(start);
    }
}
