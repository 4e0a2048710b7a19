//! One sender of datagrams at work: the search for its upstream, and what comes back, until it is told that it is over.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{task::yield_now, time::timeout};

use super::{
    connect::Far,
    datagram::{Datagrams, Desk},
    gate::SourceSlot,
    link::{Link, Reached, broken},
    loss::Loss,
    upstream::{Busy, Target},
};
use crate::{
    kind::service::Open,
    net::{
        datagram::{Connected, MOST, Room},
        descriptors::Hold,
        hops::Hop,
        stream::Peer,
    },
    outcome::Close,
};

/// How long answers wait for room on the client's side.
const PATIENCE: Duration = Duration::from_millis(200);

/// So often a session waits for another's descriptor.
const TRIES: u32 = 8;

/// A session. However it ends, the table lets go of it and what waits is counted as lost.
pub(super) struct Session {
    datagrams: Arc<Datagrams>,
    desk: Arc<Desk>,
    link: Arc<Link>,
    /// Its share of what one source may take.
    _source: Option<SourceSlot>,
    /// Whether the upstream has answered.
    is_answered: bool,
    /// Answers for which there was no room.
    late: Vec<Vec<u8>>,
    /// Closed when the session is dropped.
    open: Open,
}

/// What a session holds as long as its upstream is reached.
type Held = (Busy, Option<Hop>, Hold);

impl Session {
    pub(super) fn new(
        datagrams: Arc<Datagrams>,
        desk: Arc<Desk>,
        link: Arc<Link>,
        open: Open,
        source: Option<SourceSlot>,
    ) -> Self {
        Self { datagrams, desk, link, _source: source, is_answered: false, late: vec![], open }
    }

    /// From the choice of the upstream to the end.
    pub(super) async fn run(mut self) {
        // The search takes much room, and only for a moment.
        let close = match Box::pin(self.reach()).await {
            Ok(_held) => self.pass().await,
            Err(close) => close,
        };
        self.open.expect(close);
        // A flood of sources pushes out one session for each of its datagrams, and where the upstream is down a sender that
        // goes on begins one with each.
        let is_usual = matches!(close, Close::IdleTimeout | Close::Drained | Close::Grace | Close::Bug);
        let (datagrams, peer) = (&self.datagrams, &self.link.key.1);
        if !is_usual && !datagrams.losses.is_told(&datagrams.service.books, peer, close) {
            self.open.hush();
        }
    }

    async fn reach(&mut self) -> Result<Held, Close> {
        let service = self.datagrams.service.clone();
        let peer = self.link.key.1;
        let (hops, listeners) = (&service.connector.shared.hops, &service.connector.shared.listeners);
        let before = hops.before(peer);
        // A listener speaks to nobody first: whoever writes its address on a datagram wants two of them to talk for ever.
        let is_forged = matches!(peer, Peer::Ip(sender) if listeners.is_udp(sender));
        if is_forged {
            return Err(Close::Loop);
        }
        let hold = self.hold().await?;
        let (far, target, busy) = self.dial(before).await?;
        let addresses = far.addresses();
        if addresses.is_some_and(|(_, upstream)| upstream == peer) {
            // The upstream would be answered with its own words, or another has written its address on a datagram.
            return Err(Close::Loop);
        }
        // A socket that is connected to this machine itself may lead to another forward of ours.
        let is_near = |upstream: SocketAddr, local: SocketAddr| {
            local.ip() == upstream.ip() || local.ip().is_loopback() || listeners.is_udp(upstream)
        };
        let near = addresses.filter(|addresses| match addresses {
            (Peer::Ip(local), Peer::Ip(upstream)) => is_near(*upstream, *local),
            _ => true,
        });
        let hop = near.map(|(local, _)| hops.enter(local, before));
        self.link.reach(Reached { far, target });
        Ok((busy, hop, hold))
    }

    /// A descriptor. Where what is left is for others than senders of datagrams, the session that was silent longest gives
    /// its own back, and this one takes it.
    async fn hold(&self) -> Result<Hold, Close> {
        for _ in 0..=TRIES {
            if let Some(hold) = self.datagrams.service.connector.shared.descriptors.hold(1) {
                return Ok(hold);
            }
            self.datagrams.make_room();
            yield_now().await;
        }
        Err(Close::Resources)
    }

    /// A socket towards an upstream.
    async fn dial(&mut self, before: u8) -> Result<(Connected, Arc<Target>, Busy), Close> {
        let service = self.datagrams.service.clone();
        let (link, open) = (&self.link, &mut self.open);
        let (far, target, busy) = tokio::select! {
            biased;
            // Nothing else tells a session that has no upstream yet.
            () = link.told.notified() => return Err(link.over().unwrap_or(Close::Bug)),
            reached = service.connector.reach(&self.desk.route, link.key.1.address(), true, before, |upstream| open.goes_to(upstream)) => reached?,
        };
        let far = match far {
            Far::Udp(udp) => Connected::udp(udp),
            Far::Unixgram(unix) => Connected::unix(unix),
            Far::Stream(_) => return Err(Close::NoUpstream),
        };
        Ok((far.map_err(|_| Close::Resources)?, target, busy))
    }

    /// Passes on what waited, and what comes back, until the session ends.
    async fn pass(&mut self) -> Close {
        let (link, datagrams) = (self.link.clone(), self.datagrams.clone());
        let Some(reached) = link.reached() else { return Close::Bug };
        let (mut is_behind, mut room) = (true, None);
        loop {
            tokio::select! {
                biased;
                () = link.told.notified() => match link.over() {
                    Some(close) => return close,
                    None => is_behind = true,
                },
                flushed = flush(&link, reached, &datagrams, &mut room), if is_behind => match flushed {
                    Ok(()) => (is_behind, room) = (false, None),
                    Err(close) => return close,
                },
                ready = reached.far.ready() => {
                    // One that is gone may have answered before.
                    let answered = self.answer(reached);
                    if !self.late.is_empty() {
                        Box::pin(self.send_late(reached)).await;
                    }
                    match ready.and(answered) {
                        Ok(is_more) => {
                            datagrams.touch(&link);
                            if is_more {
                                yield_now().await;
                            }
                        }
                        Err(error) => return broken(&error, &reached.target),
                    }
                }
            }
        }
    }

    /// Reads answers and sends them to the client; those for which there is no room become late.
    fn answer(&mut self, reached: &Reached) -> io::Result<bool> {
        reached.far.receive(|arrivals| {
            if !std::mem::replace(&mut self.is_answered, true) {
                reached.target.answered();
            }
            let mut answers: [&[u8]; MOST] = [&[]; MOST];
            let mut count = 0;
            for arrived in arrivals.iter() {
                if arrived.is_cut {
                    self.datagrams.losses.count(Loss::Cut, 1);
                } else {
                    answers[count] = arrived.bytes;
                    count += 1;
                }
            }
            let gone = self.send(&answers[..count], reached);
            self.late = answers[gone..count].iter().map(|bytes| bytes.to_vec()).collect();
        })
    }

    /// Sends answers until the client's side takes no more: how many were dealt with.
    fn send(&mut self, answers: &[&[u8]], reached: &Reached) -> usize {
        let (losses, (_, client, local)) = (&self.datagrams.losses, self.link.key);
        let served = &self.desk.served;
        let Ok(address) = served.address(&client) else {
            // A Unix socket without a name.
            losses.count(Loss::Unsent, answers.len() as u64);
            return answers.len();
        };
        let (mut gone, mut passed) = (0, 0);
        while gone < answers.len() {
            match served.send(answers[gone..].iter().map(|bytes| (*bytes, &address, local))) {
                Ok(sent) => {
                    passed += answers[gone..gone + sent].iter().map(|bytes| bytes.len()).sum::<usize>();
                    gone += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    let is_large = error.raw_os_error() == Some(libc::EMSGSIZE);
                    losses.count(if is_large { Loss::TooBig } else { Loss::Unsent }, 1);
                    gone += 1;
                }
            }
        }
        self.open.passed(0, passed);
        reached.target.sent.add(passed as u64);
        gone
    }

    /// Waits for room on the client's side: a moment for UDP, until it reads for a Unix socket.
    async fn send_late(&mut self, reached: &Reached) {
        let mut late = std::mem::take(&mut self.late);
        let desk = self.desk.clone();
        let Ok(room) = desk.served.room() else {
            self.datagrams.losses.count(Loss::Queue, late.len() as u64);
            return;
        };
        let all_gone = room.until(|| {
            let answers: Vec<&[u8]> = late.iter().map(Vec::as_slice).collect();
            let gone = self.send(&answers, reached);
            late.drain(..gone);
            if late.is_empty() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        // Where the time is over or the system fails, what is left is lost.
        let _ = timeout(PATIENCE, all_gone).await;
        self.datagrams.losses.count(Loss::Queue, late.len() as u64);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.datagrams.forget(&self.link);
        // Whoever found it just before knows that it is gone.
        self.link.end(Close::Bug);
        self.link.clear(&self.datagrams.losses, |bytes| self.datagrams.taken(bytes));
        self.open.passed(usize::try_from(self.link.received()).unwrap_or(usize::MAX), 0);
    }
}

/// Sends what waits for the upstream; where that is full, waits until it takes more.
async fn flush(
    link: &Link,
    reached: &Reached,
    datagrams: &Datagrams,
    room: &mut Option<Room>,
) -> Result<(), Close> {
    let attempt = || link.flush(reached, &datagrams.losses, |bytes| datagrams.taken(bytes));
    if let Ok(flushed) = attempt() {
        return flushed;
    }
    if room.is_none() {
        *room = Some(reached.far.room().map_err(|_| Close::Resources)?);
    }
    let Some(room) = room else { return Ok(()) };
    Box::pin(room.until(attempt)).await.map_err(|_| Close::Resources)?
}
