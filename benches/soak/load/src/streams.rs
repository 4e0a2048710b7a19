//! Steady streams: each sends bytes of its own at a pace, as long as the soak lasts, and compares all that comes back.

use std::{cell::Cell, error::Error, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::oneshot,
    task::{JoinHandle, spawn_local},
    time::{MissedTickBehavior, interval},
};

use crate::{Failure, tally::Tally};

/// So many bytes at a time.
const CHUNK: usize = 16 * 1024;

/// Bytes that nobody else's stream has: a generator with a seed (xorshift64).
struct Bytes(u64);

impl Bytes {
    fn new(stream: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ ((stream + 1) << 32))
    }

    fn fill(&mut self, chunk: &mut [u8]) {
        for eight in chunk.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}

type Sent = Result<(), Box<dyn Error + Send + Sync>>;

/// A stream at work.
pub(crate) struct Steady {
    stop: oneshot::Sender<()>,
    sending: JoinHandle<Sent>,
    checking: JoinHandle<Sent>,
}

impl Steady {
    /// Connects and begins; a stream that breaks is counted at once.
    pub(crate) async fn open(
        to: SocketAddr,
        number: u64,
        bytes_per_second: u64,
        tally: &Tally,
    ) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let (stop, mut stopped) = oneshot::channel();
        let sent = Rc::new(Cell::new(0));
        let so_far = sent.clone();
        let pause = Duration::from_secs_f64(CHUNK as f64 / bytes_per_second as f64);
        let sending = spawn_local(async move {
            let (mut bytes, mut chunk, mut ticks) = (Bytes::new(number), vec![0; CHUNK], interval(pause));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = &mut stopped => break,
                }
                bytes.fill(&mut chunk);
                writer.write_all(&chunk).await?;
                so_far.set(so_far.get() + CHUNK);
            }
            Ok(writer.shutdown().await?)
        });
        let checking = spawn_local(check(reader, number, sent, tally.clone()));
        tally.add("streams", 1);
        Ok(Self { stop, sending, checking })
    }

    /// Ends it; all that was sent must come back, and then its end.
    pub(crate) async fn finish(self) -> Sent {
        let _ = self.stop.send(());
        self.sending.await??;
        self.checking.await?
    }
}

async fn check(mut reader: OwnedReadHalf, number: u64, sent: Rc<Cell<usize>>, tally: Tally) -> Sent {
    let (mut bytes, mut wanted, mut chunk) = (Bytes::new(number), vec![0; CHUNK], vec![0; CHUNK]);
    let (mut whole, mut at) = (0, 0);
    loop {
        let length = match reader.read(&mut chunk[at..]).await {
            Ok(0) if at == 0 && whole == sent.get() => return Ok(()),
            Ok(0) => return Err(broken(&tally, &format!("it ended after {whole} of {} bytes", sent.get()))),
            Ok(length) => length,
            Err(error) => return Err(broken(&tally, &error.to_string())),
        };
        at += length;
        tally.add("stream bytes", length as u64);
        if at == CHUNK {
            bytes.fill(&mut wanted);
            if chunk != wanted {
                return Err(broken(&tally, "other bytes came back"));
            }
            (whole, at) = (whole + CHUNK, 0);
        }
    }
}

/// What broke in mid-run is seen at once, and not only at the end.
fn broken(tally: &Tally, why: &str) -> Failure {
    tally.add("streams broken", 1);
    why.into()
}
