//! Clients that come and go: short connections, idlers, and datagrams.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::spawn_local,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{Failure, tally::Tally};

/// Who waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// An idler stays for so long.
const STAY: Duration = Duration::from_secs(6);
/// No more at a time of one sort.
const MOST: u64 = 3000;
const STEP: Duration = Duration::from_millis(20);
const PAYLOAD: usize = 64;

/// Begins so many a second of something, evenly, until the program ends.
pub(crate) fn each<F: Future<Output = ()> + 'static>(
    per_second: f64,
    name: &'static str,
    tally: &Tally,
    begin: impl Fn(Tally) -> F + 'static,
) {
    let (tally, open) = (tally.clone(), format!("{name} open"));
    spawn_local(async move {
        let (mut ticks, mut owed) = (interval(STEP), 0.0);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            owed += per_second * STEP.as_secs_f64();
            while owed >= 1.0 {
                owed -= 1.0;
                if tally.get(&open) >= MOST {
                    tally.add(&format!("{name} held back"), 1);
                    continue;
                }
                tally.add(&open, 1);
                let (run, tally, open) = (begin(tally.clone()), tally.clone(), open.clone());
                spawn_local(async move {
                    run.await;
                    tally.sub(&open);
                });
            }
        }
    });
}

/// Connects, sends, finishes, and wants the same back and then the end.
pub(crate) async fn short(to: SocketAddr, name: &'static str, tally: Tally) {
    let number = tally.get(name);
    tally.add(name, 1);
    let start = Instant::now();
    let done = timeout(PATIENCE, exchange(to, number)).await;
    let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match done {
        Ok(()) => tally.add(&format!("{name} done"), 1),
        Err(error) => tally.add(&format!("{name} failed: {error}"), 1),
    }
    if start.elapsed() > Duration::from_secs(1) {
        tally.add(&format!("{name} longer than a second"), 1);
    }
}

async fn exchange(to: SocketAddr, number: u64) -> io::Result<()> {
    let sent: Vec<_> =
        (0..PAYLOAD / 8).flat_map(|eight| (number ^ (eight as u64) << 48).to_le_bytes()).collect();
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&sent).await?;
    stream.shutdown().await?;
    let mut back = Vec::with_capacity(PAYLOAD);
    stream.read_to_end(&mut back).await?;
    if back == sent { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

/// Connects and does nothing that is of use, in one of three ways; then it is gone, with what it has not read.
pub(crate) async fn idle(to: SocketAddr, tally: Tally) {
    let turn = tally.get("idlers");
    tally.add("idlers", 1);
    let Ok(mut stream) = TcpStream::connect(to).await else {
        tally.add("idlers failed", 1);
        return;
    };
    let _ = match turn % 3 {
        0 => Ok(()),
        1 => stream.write_all(b"half").await,
        _ => stream.shutdown().await,
    };
    sleep(STAY).await;
}

/// A datagram each 20 ms, whose answer is counted; from time to time from a new port.
pub(crate) async fn datagrams(to: SocketAddr, tally: &Tally) -> Result<(), Failure> {
    let mut socket = UdpSocket::bind("127.0.0.1:0").await?;
    let tally = tally.clone();
    spawn_local(async move {
        let (mut ticks, mut bytes) = (interval(STEP), [0; PAYLOAD]);
        for number in 0_u64.. {
            ticks.tick().await;
            if number % 100 == 99
                && let Ok(fresh) = UdpSocket::bind("127.0.0.1:0").await
            {
                socket = fresh;
            }
            let sent = number.to_le_bytes();
            if socket.send_to(&sent, to).await.is_ok() {
                tally.add("datagrams", 1);
            }
            let answer = timeout(Duration::from_millis(500), socket.recv(&mut bytes)).await;
            if matches!(answer, Ok(Ok(length)) if bytes[..length] == sent) {
                tally.add("datagrams back", 1);
            }
        }
    });
    Ok(())
}
