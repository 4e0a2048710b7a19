//! Asking by TCP: by SYN where this process may send it raw, see `syn`, else by connections.

use std::{net::SocketAddr, time::Duration};

use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{super::found::Finding, Drive, cursor::until};
use crate::{
    kind::Error,
    net::{icmp::pace::Pacer, probe},
    outcome::{Evidence, Reason},
};

/// TCP connections on their way at a time, where descriptors allow.
const MOST_CONNECTIONS: u64 = 512;
/// How long this machine may be out of ports or descriptors before a host is given up.
const RESOURCE_PATIENCE: Duration = Duration::from_secs(5);

impl Drive<'_> {
    /// Asks by TCP, until all passes are made or the run is cancelled.
    pub(in super::super) async fn tcp(&mut self, port: u16) -> Result<(), Error> {
        match self.askers(port) {
            Ok(askers) => self.syn(askers).await,
            Err(error) if error.reason() == Reason::Permission => self.connections(port).await,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn connections(&mut self, port: u16) {
        while self.has_pass() && self.connect_pass(port).await {
            self.end_pass();
        }
    }

    async fn connect_pass(&mut self, port: u16) -> bool {
        self.begin_pass();
        let start = Instant::now();
        let now = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut pacer = Pacer::new(self.pace(false), 0);
        let (mut tasks, most) = (JoinSet::new(), most_connections());
        loop {
            let mut wake = None;
            while tasks.len() < most
                && let Some(index) = self.peek()
            {
                let mut address = self.hosts.peer(index).socket_address();
                let at = pacer.next().max(pacer.next_to(address.ip()));
                if at > now() {
                    wake = Some(start + Duration::from_nanos(at));
                    break;
                }
                if !self.near.gate.admit(index, Instant::now()) {
                    wake = self.near.gate.was_closed();
                    break;
                }
                self.ask(index);
                pacer.sent(address.ip(), now());
                address.set_port(port);
                let timeout = self.sweep.timeout.0;
                tasks.spawn(async move { (index, connect(address, timeout).await) });
                self.packets += 1;
            }
            if tasks.is_empty() && wake.is_none() {
                return true;
            }
            let due = self.due();
            tokio::select! {
                biased;
                () = self.cx.cancelled() => return false,
                Some(Ok((index, (finding, rtt)))) = tasks.join_next() => {
                    self.note(index, finding, rtt, true);
                }
                () = sleep_until(wake.unwrap_or(start)), if wake.is_some() => {}
                () = until(due) => {}
            }
            self.progress.tell(self.cx, self.findings.alive());
            self.save_if_due(|| (0, 0));
        }
    }
}

/// Connects once; a refusal is life. What this machine lacks is waited for, and never the host's fault.
async fn connect(address: SocketAddr, timeout: Duration) -> (Finding, Option<Duration>) {
    let patience = Instant::now() + RESOURCE_PATIENCE;
    loop {
        let start = Instant::now();
        let reason = match probe::knock(address, start + timeout).await {
            Ok(()) => return (Finding::alive(Evidence::TcpOpen), Some(start.elapsed())),
            Err(miss) => miss.reason,
        };
        match reason {
            Reason::Refused => return (Finding::alive(Evidence::TcpRefused), Some(start.elapsed())),
            Reason::Resources if Instant::now() < patience => sleep(Duration::from_millis(50)).await,
            reason => return (Finding::dead(reason), None),
        }
    }
}

/// As many as the open files allow.
pub(in super::super) fn most_connections() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((MOST_CONNECTIONS, 0));
    usize::try_from((soft / 6).clamp(1, MOST_CONNECTIONS)).unwrap_or(1)
}
