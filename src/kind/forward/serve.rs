//! A forward at work: its listeners, and one task for each connection.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Forward, OnAbort, OnFull, carry,
    connect::Connector,
    datagram::Datagrams,
    gate::Gate,
    health, metrics,
    own::Own,
    proxy::Proxy,
    upstream::{Route, Target},
};
use crate::{
    context::Context,
    kind::{
        Error,
        service::{self, Books, Families},
    },
    net::{
        accept::{self, Full, Host},
        datagram::Port,
        descriptors::Hold,
        dial::{Options, Source},
        listen::Listener,
        rate::Bucket,
        relay::{self, Abort, Ending, Faults, Limits},
        stream::Accepted,
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
    pub(super) faults: Option<Arc<Faults>>,
    pub(super) limits: Limits,
    pub(super) up: Option<Arc<Bucket>>,
    pub(super) down: Option<Arc<Bucket>>,
    pub(super) tasks: TaskTracker,
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
                accept::accept(&listener, &door, &descriptors, full, &stop).await
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
        if let Some(source) = &source {
            source.find()?;
        }
        let connector = Connector {
            shared: cx.shared().clone(),
            observer: cx.observer().clone(),
            base: cx.path(std::path::Path::new("")).into(),
            options: Options { timeout: spec.connect_timeout.0, source },
            is_patient: spec.on_full == OnFull::Wait,
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

    /// Starts a task that `Context::drained` waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// Takes the connections of one listener.
struct Door {
    service: Arc<Service>,
    route: Arc<Route>,
}

impl Host for Door {
    /// Its own and its upstream's.
    const DESCRIPTORS: u64 = 2;

    async fn welcome(&self, client: Accepted, hold: Hold, stop: &CancellationToken) -> Option<Accepted> {
        let peer = client.peer;
        if let Err(close) = self.service.admits(&peer) {
            self.turn_away(client, close);
            return None;
        }
        let known = (!self.service.proxy.accepts()).then_some(&peer);
        let slot = tokio::select! {
            biased;
            slot = self.service.gate.enter(known) => slot,
            () = stop.cancelled() => return Some(client),
        };
        match slot {
            Ok(slot) => {
                let open = self.service.books.open(peer, "copy");
                carry::start(&self.service, &self.route, client, open, (slot, hold));
            }
            Err(close) => self.turn_away(client, close),
        }
        None
    }

    fn warn(&self, message: String) {
        self.service.books.warn(message);
    }

    fn turn_away(&self, client: Accepted, close: Close) {
        let open = self.service.books.open(client.peer, "copy");
        drop(client);
        open.close(close);
    }
}
