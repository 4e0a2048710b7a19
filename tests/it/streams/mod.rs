//! Forward, echo and exchange over real sockets: what every test of them needs. Numbers in the tests' comments are those of
//! the list of cases in the design of forwards, and of the list of faults where said so.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod breaks;
mod datagrams;
mod descriptors;
mod echo;
mod ends;
mod exchange;
mod floods;
mod forward;
mod haproxy;
mod inject;
mod limits;
mod proxy;
mod refusals;
mod relay;
mod strays;
mod unix;
mod upstreams;
mod vanished;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use netjobs::{
    context::{
        Context, Memory, Parts, Shared, Stop,
        testing::{Recorder, context},
    },
    diagnostic::Report,
    kind::{Error, Kind, echo::Echo, forward::Forward},
    meter::Registry,
    net::{
        listen::{Listen, Listener, Pool},
        resolve::Resolver,
    },
    outcome::{Close, Notice, Outcome},
    value::Endpoint,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::task::TaskTracker;

/// What jobs of one process share.
fn process() -> Arc<Shared> {
    Shared::new(Registry::new(1000))
}

/// Far more than any test needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that runs.
struct Service {
    addresses: Vec<Endpoint>,
    stop: Stop,
    recorder: Arc<Recorder>,
    run: JoinHandle<Result<Outcome, Error>>,
}

/// Reads a spec; the check must have nothing against it.
#[track_caller]
fn spec<K: Kind>(yaml: &str) -> K {
    let spec: K = serde_yaml::from_str(yaml).unwrap();
    let mut report = Report::default();
    spec.check(&mut report);
    assert!(!report.has_errors(), "{report:?}");
    spec
}

async fn open(listens: Vec<Listen>) -> Vec<Arc<Listener>> {
    let (pool, resolver) = (Pool::default(), Resolver::default());
    let mut listeners = vec![];
    for listen in listens {
        listeners.extend(pool.open(&listen, &resolver).await.unwrap());
    }
    listeners
}

impl Service {
    async fn start<K: Kind + 'static>(spec: K) -> Self {
        let listeners = open(spec.listens()).await;
        Self::start_on(spec, listeners)
    }

    fn start_on<K: Kind + 'static>(spec: K, listeners: Vec<Arc<Listener>>) -> Self {
        let addresses = listeners.iter().map(|listener| listener.endpoint().unwrap()).collect();
        let (cx, recorder) = context(listeners, None);
        Self::start_with(spec, addresses, cx, recorder)
    }

    /// As a job beside others of the same process.
    async fn start_in<K: Kind + 'static>(spec: K, shared: &Arc<Shared>) -> Self {
        let mut listeners = vec![];
        for listen in spec.listens() {
            listeners.extend(shared.listeners.open(&listen, &shared.resolver).await.unwrap());
        }
        let addresses = listeners.iter().map(|listener| listener.endpoint().unwrap()).collect();
        let recorder = Arc::new(Recorder::default());
        let name: Arc<str> = "test".into();
        let cx = Context::new(Parts {
            meters: shared.registry.job(&name, "test", []),
            shared: shared.clone(),
            name,
            memory: Memory::default(),
            stop: Stop::default(),
            deadline: None,
            listeners,
            observer: recorder.clone(),
            base: std::path::Path::new(".").into(),
            ad_hoc: false,
        });
        Self::start_with(spec, addresses, cx, recorder)
    }

    fn start_with<K: Kind + 'static>(
        spec: K,
        addresses: Vec<Endpoint>,
        cx: Context,
        recorder: Arc<Recorder>,
    ) -> Self {
        let stop = cx.stop().clone();
        let run = TaskTracker::new().spawn(async move { spec.run(&cx).await });
        Self { addresses, stop, recorder, run }
    }

    async fn forward(yaml: &str) -> Self {
        Self::start(spec::<Forward>(yaml)).await
    }

    async fn echo(yaml: &str) -> Self {
        Self::start(spec::<Echo>(yaml)).await
    }

    /// Where the listener is.
    fn at(&self, index: usize) -> SocketAddr {
        match &self.addresses[index] {
            Endpoint::Tcp(host, ports) | Endpoint::Udp(host, ports) => {
                format!("{host}:{ports}").parse().unwrap()
            }
            other => panic!("{other} has no port"),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at(0)).await.unwrap()
    }

    /// Stops it and waits until its last connection has ended.
    async fn end(self) -> (Outcome, Vec<Close>) {
        self.stop.cancel.cancel();
        self.ended().await
    }

    /// Waits until it has ended by itself.
    async fn ended(self) -> (Outcome, Vec<Close>) {
        let outcome = timeout(PATIENCE, self.run).await.expect("it ends").unwrap().unwrap();
        (outcome, closes(&self.recorder))
    }
}

fn closes(recorder: &Recorder) -> Vec<Close> {
    let notices = recorder.notices.lock().unwrap();
    let close = |notice: &Notice| match notice {
        Notice::ConnectionClosed { close, .. } => Some(*close),
        _ => None,
    };
    notices.iter().filter_map(close).collect()
}

/// A TCP server of the test's own on a port of its own.
async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A forward to `server` and a connection through it: the forward, the client's and the server's side.
async fn through(options: &str) -> (Service, TcpStream, TcpStream) {
    let (listener, to) = server().await;
    let service = Service::forward(&format!("{{ listen: 0, to: '{to}'{options} }}")).await;
    let client = service.connect().await;
    let far = listener.accept().await.unwrap().0;
    (service, client, far)
}

/// A port of this machine on which nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address that never answers a connection attempt: a listener whose queue is full.
struct BlackHole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl BlackHole {
    fn new(bind: &str) -> Self {
        let bind: SocketAddr = bind.parse().unwrap();
        let socket =
            || socket2::Socket::new(socket2::Domain::for_address(bind), socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&bind.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let fill = |_| {
            let queued = socket();
            let _ = queued.connect_timeout(&address.into(), Duration::from_millis(50));
            queued
        };
        let queued = (0..3).map(fill).collect();
        Self { address, _listener: listener, _queued: queued }
    }
}

/// Breaks a connection off.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Reads to the end and gives the error with which it ended, if it was no clean end.
async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let (mut bytes, mut buffer) = (vec![], vec![0; 64 << 10]);
    loop {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it ends") {
            Ok(0) => return (bytes, Ok(())),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Connects where no client is wanted: the break may come as early as the connection itself.
async fn assert_broken_off(service: &Service) {
    let broken = match TcpStream::connect(service.at(0)).await {
        Ok(mut client) => read_all(&mut client).await.1,
        Err(error) => Err(error),
    };
    assert_reset(&broken);
}

#[track_caller]
fn assert_reset(result: &io::Result<()>) {
    assert_eq!(result.as_ref().map_err(io::Error::kind), Err(io::ErrorKind::ConnectionReset));
}

/// Bytes that are told apart by their place, from a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    (0..length).map(|_| u8::try_from(next(&mut state) & 0xff).unwrap()).collect()
}

/// The next number of a seeded sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
