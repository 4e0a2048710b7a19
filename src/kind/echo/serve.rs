//! An echo at work: its listeners, one task for each connection, one loop for each datagram socket.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Echo, datagram::Datagrams, metrics};
use crate::{
    context::{Context, Shared},
    kind::{
        Error,
        service::{self, Books, Families},
    },
    net::{
        accept::{self, Full, Host},
        datagram::Port,
        descriptors::Hold,
        relay::{self, Abort, Ending, Lane, Limits, Watch},
        stream::Accepted,
    },
    outcome::{Close, Outcome},
};

/// All that the connections of a run share.
struct Service {
    shared: Arc<Shared>,
    books: Arc<Books>,
    slots: Arc<Semaphore>,
    limits: Limits,
    ending: Ending,
    /// Cancelled once the message of `stop_on` has come.
    finish: CancellationToken,
    watch: Option<Watch>,
    tasks: TaskTracker,
}

/// Serves until it is cancelled or told to stop by a message, then waits for the connections.
pub(super) async fn run(spec: &Echo, cx: &Context) -> Result<Outcome, Error> {
    let families =
        Families { connections: &metrics::CONNECTIONS, active: &metrics::ACTIVE, closes: &metrics::CLOSES };
    let books = Books::new(cx, families);
    // Cancelled from outside or by `stop_on`; the run's own tokens are not ours to cancel.
    let stop = cx.stop().cancel.child_token();
    let told = CancellationToken::new();
    let service = Arc::new(Service::new(spec, cx, books.clone(), &told));
    let listeners = cx.all_listeners();
    let datagrams =
        Arc::new(Datagrams::new(spec, &listeners, books.clone(), cx.shared().clone(), told.clone()));
    let (failed, mut failure) = mpsc::channel(1);
    let addresses = listeners.iter().filter_map(|listener| listener.endpoint()).collect();
    for listener in listeners {
        let (service, datagrams, stop) = (service.clone(), datagrams.clone(), stop.clone());
        let address = listener.address.clone();
        service::spawn_loop(cx, &address, &failed, async move {
            let Some(port) = Port::of(listener.socket()) else {
                let descriptors = service.shared.descriptors.clone();
                let door = Door(service);
                return accept::accept(&listener, &door, &descriptors, Full::Wait, &stop).await;
            };
            datagrams.serve(port, &listener.address, &stop).await
        });
    }
    cx.ready(addresses);
    let failed = tokio::select! {
        biased;
        () = cx.cancelled() => None,
        () = told.cancelled() => None,
        error = failure.recv() => error,
    };
    stop.cancel();
    cx.release_listeners();
    if let Some(error) = failed {
        return Err(error);
    }
    if told.is_cancelled() {
        service.finish.cancel();
        // A client that never reads its answer does not keep a service that was told to end.
        if timeout(cx.stop().drain_idle, cx.drained()).await.is_err() {
            service.ending.kill.cancel();
        }
    }
    cx.drained().await;
    Ok(Outcome::passed(books.samples()))
}

impl Service {
    fn new(spec: &Echo, cx: &Context, books: Arc<Books>, told: &CancellationToken) -> Self {
        let idle = spec.idle_timeout.0;
        let mut ending = service::ending(cx);
        ending.kill = ending.kill.child_token();
        let finish = CancellationToken::new();
        ending.finish = spec.stop_on.is_some().then(|| finish.clone());
        Self {
            shared: cx.shared().clone(),
            books,
            slots: Arc::new(Semaphore::new(spec.max_connections.0 as usize)),
            limits: Limits { idle, half_closed: idle, vanished: relay::VANISHED, abort: Abort::Reset },
            ending,
            finish,
            watch: spec.stop_on.as_ref().map(|word| Watch::new(word.as_bytes(), told.clone())),
            tasks: cx.tasks().clone(),
        }
    }
}

/// Takes the connections of one listener.
struct Door(Arc<Service>);

impl Host for Door {
    const DESCRIPTORS: u64 = 1;

    async fn welcome(&self, client: Accepted, hold: Hold, stop: &CancellationToken) -> Option<Accepted> {
        let service = self.0.clone();
        let slot = tokio::select! {
            biased;
            slot = service.slots.clone().acquire_owned() => slot.ok()?,
            () = stop.cancelled() => return Some(client),
        };
        let open = service.books.open(client.peer, "copy");
        let seat = service.shared.workers.seat();
        let handle = (*seat).clone();
        let carry = async move {
            let place = (slot, hold, seat);
            let Ok(client) = client.register() else { return open.close(Close::Resources) };
            let lane = Lane { watch: service.watch.clone().map(Box::new), ..Lane::default() };
            let end = relay::echo(client, lane, &service.limits, &service.ending).await;
            // Free before the books say so: who hears of the close may come in.
            drop(place);
            open.end(end);
        };
        self.0.tasks.spawn_on(carry, &handle);
        None
    }

    fn warn(&self, message: String) {
        self.0.books.warn(message);
    }

    fn turn_away(&self, client: Accepted, close: Close) {
        let open = self.0.books.open(client.peer, "copy");
        drop(client);
        open.close(close);
    }
}
