//! Asking by ICMP echoes: a session a family, and passes over those that have not answered.

use tokio::time::Instant;

use super::{
    super::{
        found::Finding,
        spec::{Rate, Telling},
    },
    Drive, MOST_UNANSWERED, MOST_UNANSWERED_AT_MAX,
    cursor::until,
};
use crate::{
    kind::Error,
    net::icmp::{Event, Options, Probe, Session, What},
    outcome::{Evidence, Reason},
};

/// Probes that are handed over at a time.
const CHUNK: usize = 256;

impl Drive<'_> {
    /// One session for each family that there is. Fails where this process may not send ICMP in any of them.
    pub(in super::super) async fn open(&self) -> Result<[Option<Session>; 2], Error> {
        let families = self.hosts.families();
        let both = families == [true, true];
        let mut sessions = [None, None];
        for (v6, session) in [false, true].into_iter().zip(&mut sessions) {
            if !families[usize::from(v6)] {
                continue;
            }
            let mut options = Options::new(self.sweep.timeout.0);
            options.pace = self.pace(both);
            // No link is too narrow for a packet this small, and one that is never split needs no number from the kernel.
            options.df = true;
            // Where no round trip is told, none is measured; a later process may tell those of a checkpoint.
            options.is_stamped = self.sweep.report != Telling::None || self.due().is_some();
            match self.cx.shared().probers.open(v6, options).await {
                Ok(open) => *session = Some(open),
                // Without IPv6 on this machine the IPv4 hosts are swept all the same.
                Err(error) if both && error.reason() == Reason::NoIpv6 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sessions)
    }

    /// Asks by ICMP, until all passes are made or the run is cancelled.
    pub(in super::super) async fn icmp(&mut self, mut sessions: [Option<Session>; 2]) -> Result<(), Error> {
        while self.has_pass() && self.icmp_pass(&mut sessions).await? {
            self.end_pass();
        }
        let (packets, local_drops) = counted(&sessions);
        self.packets += packets;
        self.local_drops += local_drops;
        let sent: u64 = sessions.iter().flatten().map(|session| session.counts().sent()).sum();
        self.unsent = self.unsent.saturating_sub(usize::try_from(sent).unwrap_or(usize::MAX));
        Ok(())
    }

    /// Asks each host that has not answered; whether the run goes on.
    async fn icmp_pass(&mut self, sessions: &mut [Option<Session>; 2]) -> Result<bool, Error> {
        let most = if self.sweep.rate == Rate::Max { MOST_UNANSWERED_AT_MAX } else { MOST_UNANSWERED };
        self.begin_pass();
        let mut unanswered = 0;
        loop {
            let mut opens = None;
            while unanswered < most && self.peek().is_some() && opens.is_none() {
                unanswered += self.submit(sessions).await?;
                opens = self.near.gate.was_closed();
            }
            if unanswered == 0 && opens.is_none() {
                return Ok(true);
            }
            let (due, [v4, v6]) = (self.due(), &mut *sessions);
            let events = tokio::select! {
                biased;
                () = self.cx.cancelled() => return Ok(false),
                events = next(v4) => events?,
                events = next(v6) => events?,
                () = until(due.into_iter().chain(opens).min()) => vec![],
            };
            for event in events {
                unanswered -= self.take(event);
            }
            self.progress.tell(self.cx, self.findings.alive());
            self.save_if_due(|| counted(sessions));
        }
    }

    /// Hands the next probes over; how many.
    async fn submit(&mut self, sessions: &[Option<Session>; 2]) -> Result<u32, Error> {
        let mut chunks = [Vec::with_capacity(CHUNK), Vec::new()];
        while chunks.iter().map(Vec::len).sum::<usize>() < CHUNK
            && let Some(index) = self.peek()
            && self.near.gate.admit(index, Instant::now())
        {
            self.ask(index);
            let peer = self.hosts.peer(index);
            let family = usize::from(peer.address.is_ipv6());
            if sessions[family].is_some() {
                chunks[family].push(Probe { index, peer });
            } else {
                self.note(index, Finding::dead(Reason::NoIpv6), None, true);
            }
        }
        let mut count = 0;
        for (session, chunk) in sessions.iter().zip(chunks) {
            if let Some(session) = session.as_ref().filter(|_| !chunk.is_empty()) {
                count += u32::try_from(chunk.len()).unwrap_or(0);
                session.submit(chunk).await?;
            }
        }
        self.unsent += count as usize;
        Ok(count)
    }

    /// Notes what became of a probe; 1 where it is its end. A late answer is life, too.
    fn take(&mut self, event: Event) -> u32 {
        let (finding, rtt) = match event.what {
            What::Answered { rtt, .. } => (Finding::alive(Evidence::Echo), Some(rtt)),
            What::Extra => (Finding::alive(Evidence::Echo), None),
            What::Lost(failure) | What::Refused(failure) => (Finding::dead(failure.reason), None),
        };
        self.unsent -= usize::from(matches!(event.what, What::Refused(_))).min(self.unsent);
        self.note(event.index, finding, rtt, event.what != What::Extra)
    }
}

/// Packets that sessions have sent, and those that this machine lost.
fn counted(sessions: &[Option<Session>; 2]) -> (u64, u64) {
    let counts = sessions.iter().flatten().map(Session::counts);
    counts.fold((0, 0), |sum, counts| (sum.0 + counts.packets(), sum.1 + counts.local_drops()))
}

/// What a session tells next; never, where there is none.
async fn next(session: &mut Option<Session>) -> Result<Vec<Event>, Error> {
    match session {
        Some(session) => Ok(session.next().await?),
        None => std::future::pending().await,
    }
}
