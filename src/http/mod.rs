//! The HTTP side: metrics, health, reload, status. Only for reading, save for the reload; no endpoint takes a target.
//!
//! HTTP/1.1 (RFC 9112) by hyper. Every client is bounded: header 8 KiB, 5 s for a header (half a second while places are
//! short), 30 s to take an answer, 64 at a time. Scrapes that arrive together share one encode.

mod page;
mod routes;
mod scrape;
mod slow;

use std::{
    convert::Infallible,
    fs::File,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::sink::{history::History, metrics::Metrics};

/// Bytes of a request's first line and header fields.
const HEADER_BYTES: usize = 8 << 10;
/// The longest that a client may take for them; an idle connection is closed after it too.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// The same where places run short, so that those who say nothing do not keep a scrape or a probe waiting.
const HURRIED_TIME: Duration = Duration::from_millis(500);
/// The longest that a client may take to read an answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Clients at a time.
const CLIENTS: usize = 64;
/// How long the next client waits for a place before it is sent away.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long answers that are on their way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// The pause after the machine could not accept.
const PAUSE: Duration = Duration::from_millis(50);

/// What a reload came to: a sentence for people, good or bad.
pub type Reloaded = Result<String, String>;
/// Reloads the job files and says what came of it.
pub type Reload = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Reloaded> + Send>> + Send + Sync>;

/// What a reload would change, as JSON, or why that cannot be said.
pub type Planned = Result<serde_json::Value, String>;
/// Says what a reload would change.
pub type Plan = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Planned> + Send>> + Send + Sync>;

/// What the server shows.
pub struct Site {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For everything else.
    pub history: History,
    /// For `/-/reload`; `None`: it is not allowed.
    pub reload: Option<Reload>,
    /// For `/api/v1/plan`; `None`: there are no files.
    pub plan: Option<Plan>,
    /// For whoever asks while no descriptor is left.
    pub spare: Spare,
}

/// A descriptor that is given up for a client where none is left, and taken again when the client has gone. One that is
/// opened early has a number that is below any limit which comes later.
#[derive(Clone, Debug)]
pub struct Spare(Arc<Mutex<Option<File>>>);

impl Spare {
    /// Takes one.
    pub fn open() -> Self {
        let spare = Self(Arc::default());
        spare.take();
        spare
    }

    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one again, if there is one; whether there is.
    fn take(&self) -> bool {
        let mut file = self.lock();
        if file.is_none() {
            *file = File::open("/dev/null").ok();
        }
        file.is_some()
    }

    /// Gives it up; whether there was one.
    fn give_up(&self) -> bool {
        self.lock().take().is_some()
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("reload", &self.reload.is_some()).finish_non_exhaustive()
    }
}

/// Serves the site until it is told to stop; answers on their way are finished first, for a second at most.
pub async fn serve(listener: TcpListener, site: Site, stop: CancellationToken) {
    let spare = site.spare.clone();
    let server = Arc::new(routes::Server::new(site));
    let places = Arc::new(Semaphore::new(CLIENTS));
    let clients = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &spare) => accepted,
        };
        let Some(stream) = accepted else { continue };
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = timeout(PATIENCE, places.clone().acquire_owned()) => place.ok().and_then(Result::ok),
        };
        let Some(place) = place else {
            send_away(&stream);
            continue;
        };
        let crowded = places.available_permits() < CLIENTS / 2 || !spare.take();
        let serving = client(stream, server.clone(), crowded, stop.clone(), place);
        let spare = spare.clone();
        clients.spawn(async move {
            serving.await;
            spare.take();
        });
    }
    clients.close();
    let _ = timeout(FAREWELL, clients.wait()).await;
}

/// The next client; `None` where it was gone already, or the machine has no place for it.
async fn accept(listener: &TcpListener, spare: &Spare) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) if is_ours(&error) => {
            if !spare.give_up() {
                sleep(PAUSE).await;
            }
            None
        }
        Err(_) => None,
    }
}

/// Whether this machine is out of something, rather than the client gone.
fn is_ours(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Serves one client, who keeps a place until it goes.
async fn client(
    stream: TcpStream,
    server: Arc<routes::Server>,
    crowded: bool,
    stop: CancellationToken,
    place: OwnedSemaphorePermit,
) {
    let answer = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if crowded { HURRIED_TIME } else { HEADER_TIME })
        .max_buf_size(HEADER_BYTES)
        .max_header_size(HEADER_BYTES)
        .half_close(true)
        // Where places run short, nobody keeps one for a request that may come.
        .keep_alive(!crowded)
        .serve_connection(TokioIo::new(slow::Bounded::new(stream, ANSWER_TIME)), answer);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // What goes wrong here is the client's: it was slow, broke off, or spoke no HTTP, and has its answer.
    drop((done, place));
}

/// Tells a client that all places are taken, in one write that does not wait.
fn send_away(stream: &TcpStream) {
    const SENTENCE: &str = "all places are taken: come back soon\n";
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{SENTENCE}",
        SENTENCE.len()
    );
    // Bytes that nobody has read would make the end a reset, which takes the answer away from the client.
    let _ = stream.try_read(&mut [0; HEADER_BYTES]);
    let _ = stream.try_write(text.as_bytes());
}

#[cfg(test)]
mod tests;
