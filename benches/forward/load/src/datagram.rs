//! Datagrams: how many a second arrive without a loss, what one costs, and many sessions at once. The server echoes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Found,
    args::Args,
    ready, settle,
    sys::{self, Batch},
};

/// Datagrams to a system call.
const BATCH: usize = 32;
/// The pace is kept in steps of this.
const TICK: Duration = Duration::from_micros(100);
/// A load that goes no faster than this part of the pace has not kept it.
const PACE: f64 = 0.9;
/// Nothing more will come after so long.
const SILENCE: Duration = Duration::from_millis(80);

/// Sockets towards the forwarder, and what came back to them.
struct Flows {
    sockets: Vec<Arc<UdpSocket>>,
    received: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    size: usize,
}

struct Sent {
    datagrams: u64,
    received: u64,
    per_second: f64,
}

impl Sent {
    fn whole(&self) -> bool {
        self.datagrams == self.received
    }

    fn kept(&self, rate: f64) -> bool {
        self.per_second >= rate * PACE
    }
}

impl Flows {
    /// Starts the server and the receivers; each flow has been through to the server and back.
    fn open(args: &Args) -> Result<Self, Box<dyn std::error::Error>> {
        let size = args.number("size", 64)?;
        serve(args.listen()?)?;
        let sockets = (0..args.number("flows", 16)?).map(|_| flow(args.to()?, size));
        let sockets = sockets.collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
        let flows = Self { sockets, received: Arc::default(), done: Arc::default(), size };
        flows.receive();
        Ok(flows)
    }

    /// One thread takes what comes back on all flows.
    fn receive(&self) {
        let (sockets, received, done) = (self.sockets.clone(), self.received.clone(), self.done.clone());
        let size = self.size;
        thread::spawn(move || {
            let mut batch = Batch::new(BATCH, size);
            sys::wake_exactly();
            while !done.load(Relaxed) {
                let mut came = 0;
                for socket in &sockets {
                    came += batch.receive(socket, false, libc::MSG_DONTWAIT).unwrap_or(0);
                }
                received.fetch_add(came as u64, Relaxed);
                if came == 0 {
                    thread::sleep(TICK * 2);
                }
            }
        });
    }

    /// Sends at a pace, then waits for what is still on its way.
    fn send(&self, rate: f64, length: Duration) -> Sent {
        let before = self.received.load(Relaxed);
        let mut batch = Batch::new(BATCH, self.size);
        let interval = Duration::from_secs_f64(1000.0 / rate).as_nanos().max(1);
        let start = Instant::now();
        let (mut sent, mut flow) = (0_u64, 0);
        loop {
            let elapsed = start.elapsed();
            if elapsed >= length {
                break;
            }
            let due = u64::try_from(elapsed.as_nanos() * 1000 / interval).unwrap_or(u64::MAX);
            while sent < due && start.elapsed() < length {
                let count = usize::try_from(due - sent).unwrap_or(BATCH).min(BATCH);
                let socket = &self.sockets[flow % self.sockets.len()];
                flow += 1;
                sent += batch.send(socket, count, false) as u64;
            }
            thread::sleep(TICK);
        }
        let per_second = sent as f64 / start.elapsed().as_secs_f64();
        let (mut seen, mut last) = (before, Instant::now());
        while seen - before < sent && last.elapsed() < SILENCE {
            thread::sleep(TICK);
            let now = self.received.load(Relaxed);
            if now > seen {
                (seen, last) = (now, Instant::now());
            }
        }
        Sent { datagrams: sent, received: seen - before, per_second }
    }
}

/// Echoes what comes, for as long as the process lives.
fn serve(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    sys::large_buffer(&socket);
    thread::spawn(move || {
        let mut batch = Batch::new(BATCH, 65_536);
        loop {
            if let Ok(count) = batch.receive(&socket, true, libc::MSG_WAITFORONE) {
                batch.send(&socket, count, true);
            }
        }
    });
    Ok(())
}

/// A socket that has had an echo.
fn flow(to: SocketAddr, size: usize) -> Result<Arc<UdpSocket>, Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sys::large_buffer(&socket);
    socket.connect(to)?;
    greet(&socket, size)?;
    Ok(Arc::new(socket))
}

/// One datagram there and back; a few tries, since a forwarder may still be at the session's start.
fn greet(socket: &UdpSocket, size: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (message, mut answer) = (vec![0x5a; size], vec![0; size + 1]);
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    for _ in 0..3 {
        let _ = socket.send(&message);
        match socket.recv(&mut answer) {
            Ok(length) if length == size => return Ok(()),
            Ok(length) => return Err(format!("{size} bytes were sent, {length} came back").into()),
            Err(_) => {}
        }
    }
    Err("no answer to a datagram".into())
}

/// So many datagrams a second for a while: for the CPU that one costs.
pub(crate) fn packets(args: &Args) -> Found {
    let (rate, length) = (args.number("rate", 10_000.0)?, args.seconds()?);
    let flows = Flows::open(args)?;
    ready();
    let sent = flows.send(rate, length);
    flows.done.store(true, Relaxed);
    settle();
    Ok(json!({ "count": sent.received, "sent": sent.datagrams, "per_second": sent.per_second }))
}

/// The highest pace at which all come back: up by halves until one is lost, then between the last two.
pub(crate) fn zero_loss(args: &Args) -> Found {
    let length = args.seconds()?;
    let flows = Flows::open(args)?;
    ready();
    let (mut good, mut rate, mut bad) = (0.0, args.number("start", 16_000.0)?, None::<f64>);
    let mut ceiling = false;
    for _ in 0..24 {
        // A loss, or a load that came too late, may be the machine's: each pace has a second chance.
        let mut tries = Vec::new();
        while tries.len() < 2 && !tries.last().is_some_and(|sent: &Sent| sent.whole() && sent.kept(rate)) {
            tries.push(flows.send(rate, length));
        }
        let best = tries.iter().filter(|sent| sent.whole()).map(|sent| sent.per_second).fold(0.0, f64::max);
        good = best.max(good);
        if best == 0.0 {
            bad = Some(rate);
        }
        // The load itself cannot go faster.
        ceiling = best > 0.0 && best < rate * PACE;
        if ceiling || bad.is_some_and(|bad| bad < good * 1.06 || bad < 200.0) {
            break;
        }
        rate = match bad {
            None => rate * 1.5,
            Some(bad) if good == 0.0 => bad / 2.0,
            Some(bad) => f64::midpoint(good, bad),
        };
    }
    flows.done.store(true, Relaxed);
    Ok(json!({ "per_second": good, "load_was_the_limit": ceiling }))
}

/// Opens sessions, each from a source of its own, and keeps them.
pub(crate) fn sessions(args: &Args) -> Found {
    let (to, size) = (args.to()?, args.number("size", 64)?);
    serve(args.listen()?)?;
    let count = args.number("count", 5000)?;
    drop((0..16).map(|_| flow(to, size)).collect::<Result<Vec<_>, _>>()?);
    ready();
    let start = Instant::now();
    let mut open = Vec::new();
    for index in 0..count {
        open.push(flow(to, size).map_err(|error| format!("session {}: {error}", index + 1))?);
    }
    let elapsed = start.elapsed();
    settle();
    std::mem::forget(open);
    Ok(json!({ "sessions": count, "seconds": elapsed.as_secs_f64() }))
}
