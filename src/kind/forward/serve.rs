//! A forward at work: its listeners, and one task for each connection.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{
    Forward, OnAbort, OnFull,
    connect::{Connector, Far, Own},
    datagram::Datagrams,
    gate::{Gate, Slot},
    health, metrics,
    proxy::Proxy,
    upstream::{Busy, Route, Target},
};
use crate::{
    context::Context,
    kind::{
        Error,
        service::{self, Books, Families, Open},
    },
    meter::Counter,
    net::{
        accept::{self, Full, Host},
        datagram::Port,
        descriptors::Claim,
        dial::{Options, Source},
        listen::Listener,
        rate::Bucket,
        relay::{self, Abort, End, Ending, Faults, Lane, Limits},
        stream::{Accepted, Stream},
        workers::Workers,
    },
    outcome::{Close, Outcome},
    value::{self, Endpoint, Timespan},
};

/// All that the connections of a run share.
pub(super) struct Service {
    pub(super) books: Arc<Books>,
    pub(super) gate: Gate,
    pub(super) connector: Connector,
    pub(super) ending: Ending,
    pub(super) proxy: Proxy,
    faults: Option<Arc<Faults>>,
    limits: Limits,
    up: Option<Arc<Bucket>>,
    down: Option<Arc<Bucket>>,
    tasks: TaskTracker,
}

/// A connection without a byte for so long is ended.
const IDLE: Timespan = Timespan::secs(3600);

/// Serves until cancelled, then waits for the connections.
pub(super) async fn run(spec: &Forward, cx: &Context) -> Result<Outcome, Error> {
    let listeners = cx.all_listeners();
    let service = Arc::new(Service::new(spec, cx, &listeners)?);
    let takes_datagrams = listeners.iter().any(|listener| Port::of(listener.socket()).is_some());
    let datagrams = Datagrams::new(spec, service.clone(), cx.meters(), takes_datagrams);
    let targets: Vec<Vec<Arc<Target>>> = spec.to.iter().map(|to| to.targets(cx.meters())).collect();
    health::watch(spec, cx, &targets);
    let (failed, mut failure) = mpsc::channel(1);
    let addresses = listeners.iter().filter_map(|listener| listener.endpoint()).collect();
    let full = match spec.on_full {
        OnFull::Wait => Full::Wait,
        OnFull::Reset => Full::Reset,
    };
    for (index, listener) in listeners.into_iter().enumerate() {
        let route = Arc::new(route(spec, &listener, &targets));
        let (service, datagrams, stop) = (service.clone(), datagrams.clone(), cx.stop().cancel.clone());
        let address = listener.address.clone();
        service::spawn_loop(cx, &address, &failed, async move {
            if Port::of(listener.socket()).is_some() {
                datagrams.listen(index, &listener, &route, &stop).await
            } else {
                let descriptors = service.connector.shared.descriptors.clone();
                let door = Door { service, route };
                accept::accept(listener.socket(), &door, &descriptors, full, &stop).await
            }
        });
    }
    cx.ready(addresses);
    let failed = tokio::select! {
        biased;
        () = cx.cancelled() => None,
        error = failure.recv() => error,
    };
    cx.release_listeners();
    if let Some(error) = failed {
        return Err(error);
    }
    cx.drained().await;
    datagrams.losses.tell_rest(&service.books);
    Ok(Outcome::passed(service.books.samples()).with_detail(datagrams.losses.detail()))
}

/// The targets of a listener: those that take what it takes, and of a range the one with its place.
fn route(spec: &Forward, listener: &Listener, targets: &[Vec<Arc<Target>>]) -> Route {
    let is_datagram = Port::of(listener.socket()).is_some();
    let entry = (0..spec.listen.len())
        .find(|index| value::many::path("listen", *index, spec.listen.len()) == listener.path)
        .unwrap_or(0);
    let place = match (&spec.listen[entry].0, listener.local()) {
        (Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports), Some(local)) if ports.count() > 1 => {
            usize::from(local.port().saturating_sub(ports.first))
        }
        _ => 0,
    };
    let fits = |target: &&Arc<Target>| {
        target.endpoint.job().is_some() || target.endpoint.is_datagram() == is_datagram
    };
    let mine = targets.iter().filter_map(|ports| ports.get(place).or(ports.first())).filter(fits).cloned();
    Route::new(mine.collect(), spec.balance)
}

impl Service {
    fn new(spec: &Forward, cx: &Context, listeners: &[Arc<Listener>]) -> Result<Self, Error> {
        let families = Families {
            connections: &metrics::CONNECTIONS,
            active: &metrics::ACTIVE,
            closes: &metrics::CLOSES,
        };
        let books = Books::new(cx, families);
        let (gate, warnings) = Gate::new(spec, listeners)?;
        for warning in warnings {
            books.warn(warning);
        }
        let bytes = spec.rate.and_then(|rate| rate.bytes);
        // A tenth of a second at full rate is let through at once, so that a late wake-up costs nothing.
        let bucket = || bytes.map(|rate| Arc::new(Bucket::new(rate.0 as f64, rate.0 as f64 / 10.0)));
        let source = spec.source.as_ref().map(|source| match source {
            value::Host::Ip(address) => Source::Address(*address),
            // The check refuses the zone.
            value::Host::Scoped(address, _) => Source::Address((*address).into()),
            value::Host::Name(device) => Source::Device(device.clone()),
        });
        let connector = Connector {
            shared: cx.shared().clone(),
            observer: cx.observer().clone(),
            base: cx.path(std::path::Path::new("")).into(),
            options: Options { timeout: spec.connect_timeout.0, source },
            own: listeners.iter().filter_map(|listener| Own::of(listener)).collect(),
        };
        let limits = Limits {
            idle: spec.idle_timeout.unwrap_or(IDLE).0,
            half_closed: spec.half_closed_timeout.0,
            vanished: relay::VANISHED,
            abort: match spec.on_abort {
                OnAbort::Reset => Abort::Reset,
                OnAbort::Fin => Abort::Fin,
            },
        };
        let (ending, tasks) = (service::ending(cx), cx.tasks().clone());
        let (proxy, faults) =
            (Proxy::new(spec), spec.inject.as_ref().map(|inject| Arc::new(inject.faults())));
        let (up, down) = (bucket(), bucket());
        Ok(Self { books, gate, connector, ending, proxy, faults, limits, up, down, tasks })
    }

    fn workers(&self) -> &Workers {
        &self.connector.shared.workers
    }

    /// Starts a task that `Context::drained` waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// One connection from its header, if it has one, and its upstream's choice to its end.
    async fn forward(&self, client: Stream, route: &Route, open: &mut Open, claim: Claim) -> End {
        let (ends, _source) = if self.proxy.accepts() {
            // Boxed: most connections have no header, and none keeps room for it.
            match Box::pin(self.greet(&client, open)).await {
                Ok(greeted) => greeted,
                Err(close) => return refuse(client, close),
            }
        } else {
            (self.proxy.ends(&client, open.peer), None)
        };
        // Boxed: an idle connection does not keep the room that connecting takes.
        let reached = Box::pin(self.reach(&client, route, open)).await;
        drop(claim);
        let (upstream, target, _busy) = match reached {
            Ok((Far::Stream(upstream), target, busy)) => (upstream, target, busy),
            Ok(_) => return refuse(client, Close::NoUpstream),
            Err(close) => return refuse(client, close),
        };
        for stream in [&client, &upstream] {
            // What fails here is a connection that is gone already; the relay finds out why.
            let _ = stream.prepare();
        }
        if let Some(header) = self.proxy.header(&ends)
            && let Err(close) = Box::pin(self.proxy.send(&header, &client, &upstream)).await
        {
            return refuse(client, close);
        }
        let lane = |counter: &Counter, bucket: &Option<Arc<Bucket>>| Lane {
            counter: counter.clone(),
            spliced: target.spliced.clone(),
            bucket: bucket.clone(),
            watch: None,
            faults: self.faults.clone(),
        };
        let (up, down) = (lane(&target.received, &self.up), lane(&target.sent, &self.down));
        relay::relay(client, upstream, up, down, &self.limits, &self.ending).await
    }

    /// Connects to an upstream while the client stays.
    async fn reach(
        &self,
        client: &Stream,
        route: &Route,
        open: &mut Open,
    ) -> Result<(Far, Arc<Target>, Busy), Close> {
        let peer = open.peer;
        tokio::select! {
            biased;
            () = self.ending.kill.cancelled() => Err(Close::Grace),
            () = client.broken() => Err(Close::ClientReset),
            reached = self.connector.reach(route, &peer, false, |upstream| open.goes_to(upstream)) => reached,
        }
    }
}

/// Breaks a client off that cannot be served.
fn refuse(client: Stream, close: Close) -> End {
    client.reset();
    End::without_bytes(close)
}

/// Takes the connections of one listener.
struct Door {
    service: Arc<Service>,
    route: Arc<Route>,
}

impl Host for Door {
    async fn welcome(&self, client: Accepted) {
        let peer = client.peer;
        let mut open = self.service.books.open(peer, "copy");
        if let Err(close) = self.service.admits(&peer) {
            drop(client);
            return open.close(close);
        }
        // It may be that the job is cancelled while this one waits for its turn.
        open.expect(Close::Drained);
        let known = (!self.service.proxy.accepts()).then_some(&peer);
        let slot = match self.service.gate.enter(known).await {
            Ok(slot) => slot,
            Err(close) => {
                drop(client);
                return open.close(close);
            }
        };
        open.expect(Close::Bug);
        self.start(client, open, slot);
    }

    fn warn(&self, message: String) {
        self.service.books.warn(message);
    }

    fn turn_away(&self, client: Accepted) {
        let open = self.service.books.open(client.peer, "copy");
        drop(client);
        open.close(Close::Resources);
    }
}

impl Door {
    fn start(&self, client: Accepted, mut open: Open, slot: Slot) {
        let (service, route) = (self.service.clone(), self.route.clone());
        let claim = service.connector.shared.descriptors.claim();
        let seat = service.workers().seat();
        let handle = (*seat).clone();
        let carry = async move {
            let place = (slot, seat);
            let end = match client.register() {
                Ok(client) => service.forward(client, &route, &mut open, claim).await,
                Err(_) => End::without_bytes(Close::Resources),
            };
            // Free before the books say so: who hears of the close may come in.
            drop(place);
            open.end(end);
        };
        self.service.tasks.spawn_on(carry, &handle);
    }
}
