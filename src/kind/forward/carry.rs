//! One connection of a forward, from the moment it was let in to its end.
//!
//! Its beginning, with headers, look-ups and attempts, takes much room and little time; so it is a box of its own, and what
//! an idle connection holds is what the relay needs.

use std::{pin::Pin, sync::Arc};

use super::{
    connect::Far,
    gate::{Slot, SourceSlot},
    serve::Service,
    upstream::{Busy, Route, Target},
};
use crate::{
    kind::service::Open,
    meter::Counter,
    net::{
        descriptors::{Claim, Hold},
        rate::Bucket,
        relay::{self, Abort, End, Lane},
        stream::{Accepted, Stream},
        workers::Seat,
    },
    outcome::Close,
};

/// A place among the connections, their descriptors, and a worker's seat.
type Place = (Slot, Hold, Seat);

/// A connection whose upstream is reached.
struct Begun {
    open: Open,
    place: Place,
    client: Stream,
    upstream: Stream,
    /// What is held for as long as it lives.
    held: Held,
}

type Held = (Arc<Target>, Busy, Option<SourceSlot>);

/// Starts the task of a connection on the worker that carries least.
pub(super) fn start(
    service: &Arc<Service>,
    route: &Arc<Route>,
    client: Accepted,
    open: Open,
    (slot, hold): (Slot, Hold),
) {
    let (claim, seat) = (hold.claim(), service.connector.shared.workers.seat());
    let handle = (*seat).clone();
    let beginning = begin(service.clone(), route.clone(), client, open, (slot, hold, seat), claim);
    service.tasks.spawn_on(carry(service.clone(), Box::pin(beginning)), &handle);
}

async fn carry(service: Arc<Service>, beginning: Pin<Box<impl Future<Output = Option<Begun>>>>) {
    let Some(Begun { open, place, client, upstream, held }) = beginning.await else { return };
    let lane = |counter: &Counter, bucket: &Option<Arc<Bucket>>| Lane {
        counter: counter.clone(),
        spliced: held.0.spliced.clone(),
        bucket: bucket.clone(),
        watch: None,
        faults: service.faults.clone(),
    };
    let (up, down) = (lane(&held.0.received, &service.up), lane(&held.0.sent, &service.down));
    let end = relay::relay(client, upstream, up, down, &service.limits, &service.ending).await;
    end_with(open, place, end);
}

/// Reaches an upstream; a connection that cannot be served is ended here.
async fn begin(
    service: Arc<Service>,
    route: Arc<Route>,
    client: Accepted,
    mut open: Open,
    place: Place,
    claim: Claim,
) -> Option<Begun> {
    let Ok(client) = client.register() else {
        end_with(open, place, End::without_bytes(Close::Resources));
        return None;
    };
    match service.begin(&client, &route, &mut open, claim).await {
        Ok((upstream, held)) => Some(Begun { open, place, client, upstream, held }),
        Err(close) => {
            client.reset();
            end_with(open, place, End::without_bytes(close));
            None
        }
    }
}

fn end_with(open: Open, place: Place, end: End) {
    // Free before the books say so: who hears of the close may come in.
    drop(place);
    open.end(end);
}

impl Service {
    /// Reads the client's header, if it has one, reaches an upstream, and sends that its header.
    async fn begin(
        &self,
        client: &Stream,
        route: &Route,
        open: &mut Open,
        claim: Claim,
    ) -> Result<(Stream, Held), Close> {
        // Known by the socket's own peer, whoever a header says that the client is.
        let before = self.connector.shared.stream_hops.before(open.peer);
        let (ends, source) = if self.proxy.accepts() {
            self.greet(client, open).await?
        } else {
            (self.proxy.ends(client, open.peer), None)
        };
        let reached = self.reach(client, before, route, open).await;
        drop(claim);
        let (Far::Stream(upstream), target, busy) = reached? else { return Err(Close::NoUpstream) };
        if let Some(header) = self.proxy.header(&ends) {
            self.proxy.send(&header, client, &upstream).await.inspect_err(|_| {
                if self.limits.abort == Abort::Reset {
                    upstream.reset_on_close();
                }
            })?;
        }
        Ok((upstream, (target, busy, source)))
    }

    /// Connects to an upstream while the client stays.
    async fn reach(
        &self,
        client: &Stream,
        before: u8,
        route: &Route,
        open: &mut Open,
    ) -> Result<(Far, Arc<Target>, Busy), Close> {
        let source = open.peer.address();
        tokio::select! {
            biased;
            () = self.ending.kill.cancelled() => Err(Close::Grace),
            () = client.broken() => Err(Close::ClientReset),
            reached = self.connector.reach(route, source, false, before, |upstream| open.goes_to(upstream)) => reached,
        }
    }
}
