//! The server behind the forwarder: the first byte of a connection says what it is for.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc as threads,
    },
    thread,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
};

use crate::sys;

/// Every byte comes back.
pub(crate) const ECHO: u8 = b'E';
/// The server sends.
pub(crate) const DOWN: u8 = b'D';
/// The client sends.
pub(crate) const UP: u8 = b'U';
/// Both send.
pub(crate) const BOTH: u8 = b'B';

/// One read or write of a bulk transfer.
const CHUNK: usize = 128 * 1024;

/// What the bulk transfers of both sides share.
pub(crate) struct Tally {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Sources that have not stopped.
    pub(crate) sources: AtomicUsize,
    pub(crate) stop: AtomicBool,
    go: watch::Sender<bool>,
}

impl Tally {
    fn new() -> Arc<Self> {
        let (sent, received, sources) = Default::default();
        Arc::new(Self { sent, received, sources, stop: AtomicBool::new(false), go: watch::channel(false).0 })
    }

    pub(crate) fn go(&self) {
        self.go.send_replace(true);
    }

    /// Sends from the word to go until it is time to stop, and counts what the socket took.
    pub(crate) async fn source(self: Arc<Self>, stream: &OwnedWriteHalf) {
        self.sources.fetch_add(1, Relaxed);
        // The sender lives in `self`: this ends with the word only.
        let _ = self.go.subscribe().wait_for(|go| *go).await;
        let chunk = vec![0x5a; CHUNK];
        while !self.stop.load(Relaxed) {
            if stream.writable().await.is_err() {
                break;
            }
            match stream.try_write(&chunk) {
                Ok(bytes) => self.sent.fetch_add(bytes as u64, Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => break,
            };
            // A socket that always takes more must not keep the others waiting.
            tokio::task::consume_budget().await;
        }
        self.sources.fetch_sub(1, Relaxed);
    }

    /// Counts all that comes.
    pub(crate) async fn sink(self: Arc<Self>, mut stream: OwnedReadHalf) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(bytes @ 1..) = stream.read(&mut chunk).await {
            self.received.fetch_add(bytes as u64, Relaxed);
        }
    }
}

/// A runtime of one thread: no work is handed between threads, so the load itself wakes nobody in vain.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// How many threads each side of a bulk transfer gets: the forwarder and the other side want to run too.
pub(crate) fn bulk_threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Starts the server; `urgent` lets its echo run before other threads.
pub(crate) fn start(address: SocketAddr, urgent: bool) -> io::Result<Arc<Tally>> {
    let tally = Tally::new();
    let mut bulk = Vec::new();
    for _ in 0..bulk_threads() {
        let (sender, receiver) = mpsc::unbounded_channel();
        bulk.push(sender);
        let (tally, runtime) = (tally.clone(), runtime()?);
        thread::spawn(move || runtime.block_on(transfer(receiver, tally)));
    }
    let (told, listening) = threads::channel();
    let runtime = runtime()?;
    thread::spawn(move || {
        if urgent {
            sys::run_first();
        }
        runtime.block_on(async move {
            let bound = TcpSocket::new_v4().and_then(|socket| {
                socket.set_reuseaddr(true)?;
                socket.bind(address)?;
                socket.listen(4096)
            });
            let listener = match bound {
                Ok(listener) => listener,
                Err(error) => return drop(told.send(Err(error))),
            };
            let _ = told.send(Ok(()));
            for turn in 0.. {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, bulk[turn % bulk.len()].clone()));
            }
        });
    });
    listening.recv().map_err(io::Error::other)??;
    Ok(tally)
}

type Handed = (u8, std::net::TcpStream);

/// Echoes here; hands bulk transfers to their own threads.
async fn serve(mut stream: TcpStream, bulk: mpsc::UnboundedSender<Handed>) {
    let mut bytes = [0; 4096];
    match stream.read_u8().await {
        Ok(ECHO) => bytes[0] = ECHO,
        Ok(purpose) => {
            if let Ok(stream) = stream.into_std() {
                let _ = bulk.send((purpose, stream));
            }
            return;
        }
        Err(_) => return,
    }
    let mut length = 1;
    while length > 0 && stream.write_all(&bytes[..length]).await.is_ok() {
        length = stream.read(&mut bytes).await.unwrap_or(0);
    }
}

async fn transfer(mut handed: mpsc::UnboundedReceiver<Handed>, tally: Arc<Tally>) {
    while let Some((purpose, stream)) = handed.recv().await {
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let tally = tally.clone();
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            if write.write_all(&[purpose]).await.is_ok() {
                carry(purpose != DOWN, purpose != UP, read, write, tally).await;
            }
        });
    }
}

/// Receives, sends, or both, and keeps the connection open until the process ends.
pub(crate) async fn carry(
    receives: bool,
    sends: bool,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    tally: Arc<Tally>,
) {
    let source = async {
        if sends {
            tally.clone().source(&write).await;
        }
    };
    let sink = async {
        if receives {
            tally.clone().sink(read).await;
            None
        } else {
            Some(read)
        }
    };
    let _kept = tokio::join!(sink, source);
    std::future::pending::<()>().await;
}
