//! Asking by SYN over raw sockets: an asker a family, and passes over those that have not answered.

use tokio::time::Instant;

use super::{
    super::{found::Finding, spec::Rate},
    Drive, MOST_UNANSWERED, MOST_UNANSWERED_AT_MAX,
    cursor::until,
};
use crate::{
    net::{
        self,
        syn::{Asker, Event, What},
    },
    outcome::{Evidence, Reason},
};

/// Askers of both families.
pub(super) type Askers = [Option<Asker>; 2];

/// Hosts that may wait at an asker: enough to choose among their networks.
const MOST_WAITING: usize = 256;

impl Drive<'_> {
    /// One asker for each family that there is. Fails where this process may not open raw sockets.
    pub(super) fn askers(&self, port: u16) -> Result<Askers, net::Error> {
        let families = self.hosts.families();
        let both = families == [true, true];
        let mut askers = [None, None];
        for (v6, asker) in [false, true].into_iter().zip(&mut askers) {
            if !families[usize::from(v6)] {
                continue;
            }
            match Asker::open(v6, port, self.sweep.timeout.0, self.pace(both)) {
                Ok(open) => *asker = Some(open),
                // Without IPv6 on this machine the IPv4 hosts are swept all the same.
                Err(error) if both && error.reason() == Reason::NoIpv6 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(askers)
    }

    /// Asks by SYN, until all passes are made or the run is cancelled.
    pub(super) async fn syn(&mut self, mut askers: Askers) {
        while self.has_pass() && self.syn_pass(&mut askers).await {
            self.end_pass();
        }
        let (packets, local_drops) = counted(&askers);
        self.packets += packets;
        self.local_drops += local_drops;
        self.unsent = askers.iter().flatten().map(Asker::waiting).sum();
    }

    /// Asks each host that has not answered; whether the run goes on.
    async fn syn_pass(&mut self, askers: &mut Askers) -> bool {
        let most = if self.sweep.rate == Rate::Max { MOST_UNANSWERED_AT_MAX } else { MOST_UNANSWERED };
        self.begin_pass();
        let mut unanswered = 0;
        loop {
            while unanswered < most
                && askers.iter().flatten().all(|asker| asker.waiting() < MOST_WAITING)
                && let Some(index) = self.peek()
                && self.near.gate.admit(index, Instant::now())
            {
                unanswered += self.hand_over(index, askers);
            }
            let opens = self.near.gate.was_closed();
            if unanswered == 0 && opens.is_none() {
                return true;
            }
            let (due, [v4, v6]) = (self.due(), &mut *askers);
            let events = tokio::select! {
                biased;
                () = self.cx.cancelled() => return false,
                events = next(v4) => events,
                events = next(v6) => events,
                () = until(due.into_iter().chain(opens).min()) => vec![],
            };
            for event in events {
                unanswered -= self.take_answer(event);
            }
            self.progress.tell(self.cx, self.findings.alive());
            self.save_if_due(|| counted(askers));
        }
    }

    /// Hands a host over to its asker; 1 where it is asked.
    fn hand_over(&mut self, index: u32, askers: &mut Askers) -> u32 {
        self.ask(index);
        let (peer, pass) = (self.hosts.peer(index), self.pass());
        let Some(asker) = &mut askers[usize::from(peer.address.is_ipv6())] else {
            self.note(index, Finding::dead(Reason::NoIpv6), None, true);
            return 0;
        };
        asker.submit(peer, pass);
        1
    }

    /// Notes what became of a host; 1 where it is the end of its asking. A late answer is life, too.
    fn take_answer(&mut self, Event { peer, what }: Event) -> u32 {
        let alive = |is_open| Finding::alive(if is_open { Evidence::TcpOpen } else { Evidence::TcpRefused });
        let (finding, rtt) = match what {
            What::Answered { is_open, rtt } => (alive(is_open), Some(rtt)),
            What::Extra { is_open } => (alive(is_open), None),
            What::Lost(failure) | What::Refused(failure) => (Finding::dead(failure.reason), None),
        };
        let is_end = !matches!(what, What::Extra { .. });
        match self.hosts.number(peer) {
            Some(index) => self.note(index, finding, rtt, is_end),
            None => u32::from(is_end),
        }
    }
}

/// Packets that askers have sent, and those that this machine lost.
fn counted(askers: &Askers) -> (u64, u64) {
    let counts = askers.iter().flatten().map(Asker::counts);
    counts.fold((0, 0), |sum, counts| (sum.0 + counts.packets, sum.1 + counts.local_drops))
}

/// What an asker tells next; never, where there is none.
async fn next(asker: &mut Option<Asker>) -> Vec<Event> {
    match asker {
        Some(asker) => asker.next().await,
        None => std::future::pending().await,
    }
}
