//! The watch of one endpoint: attempt after attempt until it is as wanted, and what was seen meanwhile.
//!
//! The first attempt comes at once. None begins after the deadline, and each is cut at it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Until, Wait, attempt::Means};
use crate::{
    context::Context,
    kind::Error,
    meter::Counter,
    net::probe::Miss,
    outcome::{Notice, Reason},
    value::{Endpoint, Family},
};

/// The word for an endpoint that answers, beside the reasons why one does not.
pub(super) const UP: &str = "up";

/// The bound of an attempt, and the longest pause where nothing answers.
const SECOND: Duration = Duration::from_secs(1);
/// The longest pause after a refusal.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// The shortest pause after another host's refusal over UDP: hosts send one a second (RFC 1812, 4.3.2.8), and silence
/// because of that would look like an answer.
const AFTER_UDP_REFUSAL: Duration = Duration::from_millis(1100);

/// One endpoint and what was seen of it.
#[derive(Debug)]
pub(super) struct Watch {
    /// As the file gives it, one port of a range.
    pub(super) endpoint: Endpoint,
    /// Over which family.
    pub(super) family: Family,
    /// How many attempts were made.
    pub(super) attempts: u64,
    /// The word of what was seen last; empty at first.
    pub(super) state: &'static str,
    /// A sentence of it.
    pub(super) message: String,
    /// The last reason why it did not answer.
    pub(super) last_miss: Option<Reason>,
    /// When it was as wanted.
    pub(super) held_at: Option<Instant>,
}

impl Watch {
    /// A watch that has not seen anything.
    pub(super) fn new(endpoint: Endpoint, family: Family) -> Self {
        Self {
            endpoint,
            family,
            attempts: 0,
            state: "",
            message: "nothing was seen yet".into(),
            last_miss: None,
            held_at: None,
        }
    }

    /// Returns when the endpoint is as wanted, or at the deadline.
    pub(super) async fn keep(
        &mut self,
        spec: &Wait,
        cx: &Context,
        means: &Means<'_>,
        counter: &Counter,
        deadline: Instant,
    ) -> Result<(), Error> {
        let (mut streak, mut pause) = (0, *spec.interval);
        loop {
            let started = Instant::now();
            self.attempts += 1;
            counter.inc();
            let seen = self.look(cx, means, deadline).await?;
            // A miss that the deadline cut short says nothing new.
            let cut = seen.is_err() && Instant::now() >= deadline;
            if !cut || self.state.is_empty() {
                self.tell(cx, &seen);
            }
            if !cut && holds(spec.until, &seen) {
                streak += 1;
            } else {
                streak = 0;
            }
            if streak >= spec.successes.0 {
                self.held_at = Some(Instant::now());
                return Ok(());
            }
            pause = self.next_pause(*spec.interval, pause, &seen);
            let next = (started + pause).min(deadline);
            sleep_until(next).await;
            if next == deadline || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// One attempt. Names may take longer than it to be looked up: a slow name server is waited for.
    async fn look(
        &mut self,
        cx: &Context,
        means: &Means<'_>,
        deadline: Instant,
    ) -> Result<Result<(), Miss>, Error> {
        let bound = || (Instant::now() + SECOND).min(deadline);
        let (endpoint, family) = (self.endpoint.clone(), self.family);
        let lookup = means.resolve(cx, &endpoint, family);
        tokio::pin!(lookup);
        let resolved = tokio::select! {
            biased;
            resolved = &mut lookup => resolved,
            () = sleep_until(bound()) => {
                self.tell(cx, &Err(Miss::new(Reason::Dns, "no answer from the name servers")));
                lookup.await
            }
        };
        match resolved {
            Ok(target) => means.attempt(&target, bound()).await,
            Err(miss) => Ok(Err(miss)),
        }
    }

    fn tell(&mut self, cx: &Context, seen: &Result<(), Miss>) {
        let (state, message) = match seen {
            Ok(()) => (UP, "it answers"),
            Err(miss) => {
                self.last_miss = Some(miss.reason);
                (miss.reason.as_str(), miss.message.as_str())
            }
        };
        message.clone_into(&mut self.message);
        if state != self.state {
            let from = std::mem::replace(&mut self.state, state);
            let (what, message) = (self.endpoint.to_string(), message.to_owned());
            cx.notice(Notice::StateChanged { what, from, to: state, message });
        }
    }

    /// From the start of one attempt to the start of the next.
    fn next_pause(&self, interval: Duration, last: Duration, seen: &Result<(), Miss>) -> Duration {
        match seen {
            Err(miss) if miss.reason == Reason::PortUnreachable && !self.is_loopback() => {
                interval.max(AFTER_UDP_REFUSAL)
            }
            Err(miss) if miss.is_refusal() => interval.min(AFTER_REFUSAL),
            Err(miss) if miss.is_silence() => (last.max(interval) * 2).min(SECOND.max(interval)),
            _ => interval,
        }
    }

    fn is_loopback(&self) -> bool {
        use crate::value::Host;
        match &self.endpoint {
            Endpoint::Udp(Host::Ip(address), _) => address.is_loopback(),
            Endpoint::Udp(Host::Name(name), _) => name == "localhost",
            // A service of this very process.
            Endpoint::Job(_) => true,
            _ => false,
        }
    }
}

/// Whether what was seen is what is waited for. That a service is down is proved by its absence only, not by a name that
/// does not resolve nor by want of something on this machine.
fn holds(until: Until, seen: &Result<(), Miss>) -> bool {
    match (until, seen) {
        (Until::Up, Ok(())) => true,
        (Until::Down, Err(miss)) => miss.is_finding(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    #[track_caller]
    fn check_pause(endpoint: &str, interval: Duration, last: Duration, reason: Reason, wanted: Duration) {
        let watch = Watch::new(endpoint.parse().unwrap(), Family::Any);
        let seen = Err(Miss::new(reason, "-"));
        assert_eq!(watch.next_pause(interval, last, &seen), wanted);
    }

    #[test]
    fn a_refusal_is_tried_again_soon_and_silence_ever_later() {
        check_pause("h:1", TENTH, SECOND, Reason::Refused, TENTH);
        check_pause("h:1", 20 * TENTH, SECOND, Reason::Refused, TENTH);
        check_pause("h:1", TENTH / 10, SECOND, Reason::Refused, TENTH / 10);
        check_pause("h:1", TENTH, TENTH, Reason::ConnectTimeout, 2 * TENTH);
        check_pause("h:1", TENTH, 8 * TENTH, Reason::Dns, SECOND);
        check_pause("h:1", 50 * TENTH, 50 * TENTH, Reason::Dns, 50 * TENTH);
        check_pause("h:1", TENTH, SECOND, Reason::HttpStatus, TENTH);
    }

    #[test]
    fn other_hosts_refuse_udp_once_a_second() {
        check_pause("udp://10.0.0.1:1", TENTH, TENTH, Reason::PortUnreachable, AFTER_UDP_REFUSAL);
        check_pause("udp://127.0.0.1:1", TENTH, TENTH, Reason::PortUnreachable, TENTH);
    }

    #[test]
    fn a_name_that_does_not_resolve_proves_nothing_down() {
        let seen = |reason| Err(Miss::new(reason, "-"));
        assert!(holds(Until::Down, &seen(Reason::Refused)));
        assert!(holds(Until::Down, &seen(Reason::ConnectTimeout)));
        assert!(!holds(Until::Down, &seen(Reason::Dns)));
        assert!(!holds(Until::Down, &seen(Reason::Resources)));
        assert!(!holds(Until::Down, &Ok(())));
        assert!(!holds(Until::Up, &seen(Reason::Refused)));
    }
}
