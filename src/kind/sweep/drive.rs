//! The passes of a sweep: the first over all hosts, each later one over those that have not answered.

use std::{net::SocketAddr, time::Duration};

use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Sweep,
    found::{Finding, Findings},
    hosts::Hosts,
    order::Permutation,
    spec::{Method, Order, Rate},
};
use crate::{
    context::Context,
    kind::Error,
    net::{
        icmp::{self, Event, Options, Pace, Probe, Session, What, pace::Pacer},
        probe,
    },
    outcome::{Evidence, Notice, Reason},
};

/// A sweep on its way.
pub(super) struct Drive<'a> {
    sweep: &'a Sweep,
    cx: &'a Context,
    hosts: &'a Hosts,
    order: Permutation,
    progress: Progress,
    pub(super) findings: Findings,
    pub(super) packets: u64,
    pub(super) local_drops: u64,
}

/// How far a sweep has come, told a few times a second.
struct Progress {
    done: u64,
    total: u64,
    told: Option<Instant>,
}

/// Probes that may be unanswered at a time.
const MOST_UNANSWERED: u32 = 8192;
/// The same at full speed: silent hosts must not hold up the others.
const MOST_UNANSWERED_AT_MAX: u32 = 65_536;
/// Probes that are handed over at a time.
const CHUNK: usize = 256;
/// Above this many targets, `order: auto` scatters.
const PLAIN_UP_TO: u32 = 256;
/// Probes a second to one /24 or /64.
pub(super) const NETWORK_RATE: f64 = 200.0;
/// TCP connections on their way at a time, where descriptors allow.
const MOST_CONNECTIONS: u64 = 512;
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How long this machine may be out of ports or descriptors before a host is given up.
const RESOURCE_PATIENCE: Duration = Duration::from_secs(5);

impl<'a> Drive<'a> {
    pub(super) fn new(sweep: &'a Sweep, cx: &'a Context, hosts: &'a Hosts) -> Result<Self, Error> {
        let count = hosts.count();
        let plain = match sweep.order {
            Order::Auto => count <= PLAIN_UP_TO,
            Order::Plain => true,
            Order::Random => false,
        };
        let order = if plain {
            Permutation::plain(count)
        } else {
            Permutation::scattered(count, icmp::random_key()?)
        };
        let progress = Progress { done: 0, total: 0, told: None };
        let findings = Findings::new(count);
        Ok(Self { sweep, cx, hosts, order, progress, findings, packets: 0, local_drops: 0 })
    }

    /// One session for each family that there is. Fails where this process may not send ICMP in any of them.
    pub(super) async fn open(&self) -> Result<[Option<Session>; 2], Error> {
        let families = self.hosts.families();
        let both = families == [true, true];
        let mut sessions = [None, None];
        for (v6, session) in [false, true].into_iter().zip(&mut sessions) {
            if !families[usize::from(v6)] {
                continue;
            }
            let mut options = Options::new(self.sweep.timeout.0);
            options.pace = self.pace(both);
            match self.cx.shared().probers.open(v6, options).await {
                Ok(open) => *session = Some(open),
                // Without IPv6 on this machine the IPv4 hosts are swept all the same.
                Err(error) if both && error.reason() == Reason::NoIpv6 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sessions)
    }

    fn pace(&self, halved: bool) -> Pace {
        match self.sweep.rate {
            Rate::Max => Pace::default(),
            Rate::Limited(rate) => {
                let rate = if halved { rate.0 / 2.0 } else { rate.0 };
                Pace { rate: Some(rate), network_rate: Some(NETWORK_RATE) }
            }
        }
    }

    /// Asks by ICMP, until all passes are made or the run is cancelled.
    pub(super) async fn icmp(&mut self, mut sessions: [Option<Session>; 2]) -> Result<(), Error> {
        for _ in 0..self.sweep.passes.0 {
            if self.missing() == 0 || !self.icmp_pass(&mut sessions).await? {
                break;
            }
        }
        for session in sessions.iter().flatten() {
            self.packets += session.counts().packets();
            self.local_drops += session.counts().local_drops();
        }
        Ok(())
    }

    fn missing(&self) -> u32 {
        self.hosts.count() - self.findings.alive()
    }

    /// Asks each host that has not answered; whether the run goes on.
    async fn icmp_pass(&mut self, sessions: &mut [Option<Session>; 2]) -> Result<bool, Error> {
        let most = if self.sweep.rate == Rate::Max { MOST_UNANSWERED_AT_MAX } else { MOST_UNANSWERED };
        self.progress.total += u64::from(self.missing());
        let (mut place, mut unanswered) = (0, 0);
        loop {
            while unanswered < most && place < self.hosts.count() {
                unanswered += self.submit(&mut place, sessions).await?;
            }
            if unanswered == 0 {
                return Ok(true);
            }
            let [v4, v6] = sessions;
            let events = tokio::select! {
                biased;
                () = self.cx.cancelled() => return Ok(false),
                events = next(v4) => events?,
                events = next(v6) => events?,
            };
            for event in events {
                unanswered -= self.take(event);
            }
            self.progress.tell(self.cx);
        }
    }

    /// Hands the next probes over; how many.
    async fn submit(&mut self, place: &mut u32, sessions: &[Option<Session>; 2]) -> Result<u32, Error> {
        let mut chunks = [Vec::with_capacity(CHUNK), Vec::new()];
        while chunks.iter().map(Vec::len).sum::<usize>() < CHUNK && *place < self.hosts.count() {
            let index = self.order.get(*place);
            *place += 1;
            if self.findings.get(index).is_alive() {
                continue;
            }
            let peer = self.hosts.peer(index);
            let family = usize::from(peer.address.is_ipv6());
            if sessions[family].is_some() {
                chunks[family].push(Probe { index, peer });
            } else {
                self.findings.note(index, Finding::dead(Reason::NoIpv6), None);
            }
        }
        let mut count = 0;
        for (session, chunk) in sessions.iter().zip(chunks) {
            if let Some(session) = session.as_ref().filter(|_| !chunk.is_empty()) {
                count += u32::try_from(chunk.len()).unwrap_or(0);
                session.submit(chunk).await?;
            }
        }
        Ok(count)
    }

    /// Notes what became of a probe; 1 where it is its end. A late answer is life, too.
    fn take(&mut self, event: Event) -> u32 {
        let (finding, rtt) = match event.what {
            What::Answered { rtt, .. } => (Finding::alive(Evidence::Echo), Some(rtt)),
            What::Extra => (Finding::alive(Evidence::Echo), None),
            What::Lost(failure) | What::Refused(failure) => (Finding::dead(failure.reason), None),
        };
        self.findings.note(event.index, finding, rtt);
        let end = u32::from(event.what != What::Extra);
        self.progress.done += u64::from(end);
        end
    }

    /// Asks by TCP connections, until all passes are made or the run is cancelled.
    pub(super) async fn tcp(&mut self, port: u16) {
        for _ in 0..self.sweep.passes.0 {
            if self.missing() == 0 || !self.tcp_pass(port).await {
                break;
            }
        }
    }

    async fn tcp_pass(&mut self, port: u16) -> bool {
        self.progress.total += u64::from(self.missing());
        let start = Instant::now();
        let now = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut pacer = Pacer::new(self.pace(false), 0);
        let (mut tasks, most) = (JoinSet::new(), most_connections());
        let mut places = self.order.iter().collect::<Vec<_>>().into_iter().peekable();
        loop {
            let mut wake = None;
            while tasks.len() < most
                && let Some(index) = places.peek().copied()
            {
                let mut address = self.hosts.peer(index).socket_address();
                let at = pacer.next().max(pacer.next_to(address.ip()));
                if self.findings.get(index).is_alive() {
                    places.next();
                } else if at > now() {
                    wake = Some(start + Duration::from_nanos(at));
                    break;
                } else {
                    places.next();
                    pacer.sent(address.ip(), now());
                    address.set_port(port);
                    let timeout = self.sweep.timeout.0;
                    tasks.spawn(async move { (index, connect(address, timeout).await) });
                    self.packets += 1;
                }
            }
            if tasks.is_empty() && wake.is_none() {
                return true;
            }
            tokio::select! {
                biased;
                () = self.cx.cancelled() => return false,
                Some(Ok((index, (finding, rtt)))) = tasks.join_next() => {
                    self.findings.note(index, finding, rtt);
                    self.progress.done += 1;
                }
                () = sleep_until(wake.unwrap_or(start)), if wake.is_some() => {}
            }
            self.progress.tell(self.cx);
        }
    }
}

/// Connects once; a refusal is life. What this machine lacks is waited for, and never the host's fault.
async fn connect(address: SocketAddr, timeout: Duration) -> (Finding, Option<Duration>) {
    let patience = Instant::now() + RESOURCE_PATIENCE;
    loop {
        let start = Instant::now();
        let reason = match probe::tcp(&[address], start + timeout).await {
            Ok(_) => return (Finding::alive(Evidence::TcpOpen), Some(start.elapsed())),
            Err(miss) => miss.reason,
        };
        match reason {
            Reason::Refused => return (Finding::alive(Evidence::TcpRefused), Some(start.elapsed())),
            Reason::Resources if Instant::now() < patience => sleep(Duration::from_millis(50)).await,
            reason => return (Finding::dead(reason), None),
        }
    }
}

/// How many probes of a sweep may be unanswered at a time, whatever its rate; where the method is open, the fewest.
pub(super) fn most_unanswered(method: Method, rate: Rate) -> f64 {
    match (method, rate) {
        (Method::Icmp | Method::Arp, Rate::Max) => f64::from(MOST_UNANSWERED_AT_MAX),
        (Method::Icmp | Method::Arp, Rate::Limited(_)) => f64::from(MOST_UNANSWERED),
        (Method::Auto | Method::Tcp(_), _) => most_connections() as f64,
    }
}

fn most_connections() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((MOST_CONNECTIONS, 0));
    usize::try_from((soft / 4).clamp(1, MOST_CONNECTIONS)).unwrap_or(1)
}

/// What a session tells next; never, where there is none.
async fn next(session: &mut Option<Session>) -> Result<Vec<Event>, Error> {
    match session {
        Some(session) => Ok(session.next().await?),
        None => std::future::pending().await,
    }
}

impl Progress {
    fn tell(&mut self, cx: &Context) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        cx.notice(Notice::Progress { done: self.done, total: self.total, what: "probes" });
    }
}
