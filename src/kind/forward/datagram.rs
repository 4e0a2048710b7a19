//! Datagrams: a session for each sender, with a connected socket of its own towards the upstream.
//!
//! The listener's loop never waits for an upstream: it sends straight to those that are reached, and what one does not take
//! now waits in its session's queue; what does not fit there is dropped and counted. Boundaries and sizes are kept; a datagram
//! that is larger than the largest is dropped, never cut.

use std::{
    array, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Forward,
    gate::SourceSlot,
    link::{Key, Link},
    loss::{Loss, Losses},
    serve::Service,
    session::Session,
    table::Table,
    upstream::Route,
};
use crate::{
    meter::Meters,
    net::{
        datagram::{Arrivals, LARGEST, MOST, Port, Served},
        listen::Listener,
    },
    outcome::Close,
    value::Timespan,
};

/// A sender that was silent for so long, and to whom nothing came back, is forgotten.
const IDLE: Timespan = Timespan::secs(60);

/// Bytes that wait for all upstreams of the job.
const WAITING_BYTES: usize = 32 << 20;

/// All datagram sessions of a run.
pub(super) struct Datagrams {
    pub(super) service: Arc<Service>,
    idle: Duration,
    most: usize,
    table: Mutex<Table>,
    /// Wakes the keeper when the last session is gone.
    emptied: Notify,
    waiting: AtomicUsize,
    pub(super) losses: Losses,
}

/// A listener at work.
pub(super) struct Desk {
    index: usize,
    /// Its file, if it has one, stays as long as a session does.
    listener: Arc<Listener>,
    pub(super) served: Served,
    pub(super) route: Arc<Route>,
}

impl Datagrams {
    pub(super) fn new(spec: &Forward, service: Arc<Service>, meters: &Meters, is_used: bool) -> Arc<Self> {
        Arc::new(Self {
            idle: spec.idle_timeout.unwrap_or(IDLE).0,
            most: service.gate.sessions,
            table: Mutex::default(),
            emptied: Notify::new(),
            waiting: AtomicUsize::new(0),
            losses: Losses::new(meters, is_used),
            service,
        })
    }

    /// Takes the datagrams of one listener until it is told to stop. Its sessions live on the same thread.
    pub(super) async fn listen(
        self: &Arc<Self>,
        index: usize,
        listener: &Arc<Listener>,
        route: &Arc<Route>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let Some(port) = Port::of(listener.socket()) else { return Ok(()) };
        let served = port.register()?;
        let desk = Arc::new(Desk { index, listener: listener.clone(), served, route: route.clone() });
        let told = |error| self.service.books.warn(format!("receive on {}: {error}", listener.address));
        desk.served.serve(stop, |arrivals| self.take(&desk, arrivals), told).await;
        Ok(())
    }

    /// Finds or starts the sessions of what has come, then sends to each all of its own at once.
    fn take(self: &Arc<Self>, desk: &Arc<Desk>, arrivals: &Arrivals<'_>) {
        let mut found: [Option<(Arc<Link>, &[u8])>; MOST] = array::from_fn(|_| None);
        let mut count = 0;
        let mut table = self.lock();
        let now = Instant::now();
        for arrived in arrivals.iter() {
            self.losses.count(Loss::Kernel, desk.served.newly_dropped(&arrived).into());
            if arrived.is_cut {
                self.cut(desk);
                continue;
            }
            let key = (desk.index, arrived.from, arrived.to);
            let before = found[..count].last().and_then(Option::as_ref).map(|(link, _)| link);
            let link = match before.filter(|link| link.key == key) {
                Some(link) => link.clone(),
                None => match self.link(&mut table, key, desk, now) {
                    Some(link) => link,
                    None => continue,
                },
            };
            found[count] = Some((link, arrived.bytes));
            count += 1;
        }
        drop(table);
        for at in 0..count {
            let Some((link, first)) = found[at].take() else { continue };
            let mut own: [&[u8]; MOST] = [&[]; MOST];
            own[0] = first;
            let mut owned = 1;
            for later in &mut found[at + 1..count] {
                if let Some((_, bytes)) = later.take_if(|(other, _)| Arc::ptr_eq(other, &link)) {
                    own[owned] = bytes;
                    owned += 1;
                }
            }
            self.hand(&link, &own[..owned]);
        }
    }

    fn cut(&self, desk: &Desk) {
        if self.losses.value(Loss::Cut) == 0 {
            let address = &desk.listener.address;
            self.service
                .books
                .warn(format!("{address}: a datagram of more than {LARGEST} bytes was dropped"));
        }
        self.losses.count(Loss::Cut, 1);
    }

    /// The session of a sender; `None` where it is turned away.
    fn link(
        self: &Arc<Self>,
        table: &mut Table,
        key: Key,
        desk: &Arc<Desk>,
        now: Instant,
    ) -> Option<Arc<Link>> {
        if let Some(link) = table.find(&key, now) {
            return Some(link);
        }
        let (gate, peer) = (&self.service.gate, key.1);
        let entered = if gate.admits(&peer) { gate.enter_source(&peer) } else { Err(Close::Denied) };
        match entered {
            Ok(source) => Some(self.start(table, key, desk, source, now)),
            Err(close) => {
                self.losses.refuse(&self.service.books, peer, close);
                None
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        table: &mut Table,
        key: Key,
        desk: &Arc<Desk>,
        source: Option<SourceSlot>,
        now: Instant,
    ) -> Arc<Link> {
        if table.count() >= self.most {
            table.end_oldest(Close::Limit);
        }
        let link = table.insert(key, now);
        let open = self.service.books.open(key.1, "datagram");
        let session = Session::new(self.clone(), desk.clone(), link.clone(), open, source);
        self.service.spawn(session.run());
        if !std::mem::replace(&mut table.is_kept, true) {
            self.service.spawn(self.clone().keep());
        }
        link
    }

    /// Sends a session's datagrams on, or lets them wait if there is room.
    fn hand(&self, link: &Link, datagrams: &[&[u8]]) {
        let room = |bytes: usize| {
            let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
            let has_room = waiting + bytes <= WAITING_BYTES;
            if !has_room {
                self.taken(bytes);
            }
            has_room
        };
        if let Err(close) = link.hand(datagrams, &self.losses, room) {
            // The sender's next datagram begins anew.
            self.lock().remove(link);
            link.end(close);
        }
    }

    /// Bytes that no longer wait.
    pub(super) fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Descriptors run short: the session that was silent longest gives its own back.
    pub(super) fn make_room(&self) {
        self.lock().end_oldest(Close::Limit);
    }

    /// A session's upstream has spoken.
    pub(super) fn touch(&self, link: &Link) {
        self.lock().touch(link, Instant::now());
    }

    /// A session is over.
    pub(super) fn forget(&self, link: &Link) {
        let mut table = self.lock();
        table.remove(link);
        if table.count() == 0 {
            self.emptied.notify_one();
        }
    }

    /// Ends the sessions that fall silent, until there are none: one timer for all of them.
    async fn keep(self: Arc<Self>) {
        let ending = &self.service.ending;
        let (mut idle, mut close) = (self.idle, Close::IdleTimeout);
        while let Some(next) = self.expire(idle, close) {
            tokio::select! {
                biased;
                () = ending.kill.cancelled() => {
                    let mut table = self.lock();
                    while table.end_oldest(Close::Grace) {}
                }
                () = ending.drain.cancelled(), if close != Close::Drained => {
                    (idle, close) = (idle.min(ending.drain_idle), Close::Drained);
                }
                () = self.emptied.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Ends those that were silent for so long; when the next one may be. `None`: there are no sessions.
    fn expire(&self, idle: Duration, close: Close) -> Option<Instant> {
        let mut table = self.lock();
        let now = Instant::now();
        loop {
            let Some((link, active)) = table.oldest() else {
                table.is_kept = false;
                return None;
            };
            if active + idle > now {
                return Some(active + idle);
            }
            // The search for an upstream has a limit of its own.
            if link.is_reached() {
                table.remove(&link);
                link.end(close);
            } else {
                table.touch(&link, now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
