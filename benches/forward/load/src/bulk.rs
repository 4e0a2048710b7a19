//! Bulk: streams that send as fast as they can for a while; what was sent must have arrived at the end.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Found,
    args::Args,
    ready,
    server::{self, BOTH, DOWN, Tally, UP, bulk_threads, carry, runtime},
    settle,
};

/// What was sent has so long to arrive.
const DRAIN: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &Args) -> Found {
    let purpose = match args.word("direction")? {
        "download" => DOWN,
        "upload" => UP,
        "both" => BOTH,
        other => return Err(format!("direction={other}: download, upload or both").into()),
    };
    let tally = server::start(args.listen()?, false)?;
    open(args.to()?, args.number("streams", 1)?, purpose, &tally)?;
    ready();
    let start = Instant::now();
    tally.go();
    thread::sleep(args.seconds()?);
    tally.stop.store(true, Relaxed);
    let stopped = Instant::now();
    let arrived = || (tally.sources.load(Relaxed), tally.sent.load(Relaxed), tally.received.load(Relaxed));
    let (sent, received) = loop {
        let (sources, sent, received) = arrived();
        if (sources == 0 && sent == received) || stopped.elapsed() > DRAIN {
            break (sent, received);
        }
        thread::sleep(Duration::from_millis(1));
    };
    let elapsed = start.elapsed();
    settle();
    if sent != received {
        return Err(format!("{sent} bytes were sent, {received} arrived").into());
    }
    Ok(json!({ "bytes": received, "bytes_per_second": received as f64 / elapsed.as_secs_f64() }))
}

/// Opens the streams on threads of the clients' own; each has been through to the server and back.
pub(crate) fn open(to: SocketAddr, streams: usize, purpose: u8, tally: &Arc<Tally>) -> io::Result<()> {
    let (opened, all) = mpsc::channel();
    let threads = bulk_threads().min(streams);
    for index in 0..threads {
        let share = (index..streams).step_by(threads).count();
        let (tally, opened, runtime) = (tally.clone(), opened.clone(), runtime()?);
        thread::spawn(move || {
            runtime.block_on(async move {
                for _ in 0..share {
                    let result = match stream(to, purpose).await {
                        Ok(stream) => {
                            let (read, write) = stream.into_split();
                            tokio::spawn(carry(purpose != UP, purpose != DOWN, read, write, tally.clone()));
                            Ok(())
                        }
                        Err(error) => Err(error),
                    };
                    let _ = opened.send(result);
                }
                drop(opened);
                std::future::pending::<()>().await;
            });
        });
    }
    drop(opened);
    all.iter().take(streams).collect()
}

/// A connection for a purpose, once the server has confirmed it.
pub(crate) async fn stream(to: SocketAddr, purpose: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    stream.write_u8(purpose).await?;
    match stream.read_u8().await? {
        answer if answer == purpose => Ok(stream),
        answer => Err(io::Error::other(format!("answered {answer} instead of {purpose}"))),
    }
}
