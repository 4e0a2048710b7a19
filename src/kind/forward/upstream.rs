//! Upstreams: an entry of `to`, what is known of it, and the order in which several are tried.
//!
//! The memory is passive: an upstream that could not be reached is tried last for a while. No probe is sent.

use std::{
    hash::{Hash as _, Hasher as _},
    net::IpAddr,
    str::FromStr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use siphasher::sip::SipHasher13;
use tokio::time::Instant;

use super::{Balance, metrics};
use crate::{
    meter::{Counter, Gauge, Histogram, Meters},
    value::{Endpoint, Wrong},
};

/// An entry of `to`, with its spelling: the label of its series and log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As the file writes it.
    pub text: String,
    /// What it means.
    pub endpoint: Endpoint,
}

/// How long an upstream that could not be reached is tried last.
const SHUNNED: Duration = Duration::from_secs(10);

/// An upstream of a run: one port of an entry.
#[derive(Debug)]
pub(super) struct Target {
    /// As the file writes it.
    pub(super) label: String,
    /// Where it is.
    pub(super) endpoint: Endpoint,
    /// Bytes from clients.
    pub(super) received: Counter,
    /// Bytes to clients.
    pub(super) sent: Counter,
    /// Those of both that the kernel moved without a copy.
    pub(super) spliced: Counter,
    connect_seconds: Histogram,
    up: OnceLock<Gauge>,
    meters: Meters,
    active: AtomicUsize,
    failed: Mutex<Option<Instant>>,
}

/// Counts a connection to a target for as long as it lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Target>);

impl Upstream {
    /// One target a port.
    pub(super) fn targets(&self, meters: &Meters) -> Vec<Arc<Target>> {
        let endpoints = self.endpoint.each();
        let is_range = endpoints.len() > 1;
        let label = |endpoint: &Endpoint| match (endpoint, self.text.rsplit_once(':')) {
            (Endpoint::Tcp(_, ports) | Endpoint::Udp(_, ports), Some((host, _))) if is_range => {
                format!("{host}:{ports}")
            }
            _ => self.text.clone(),
        };
        endpoints
            .into_iter()
            .map(|endpoint| Arc::new(Target::new(label(&endpoint), endpoint, meters)))
            .collect()
    }
}

impl Target {
    fn new(label: String, endpoint: Endpoint, meters: &Meters) -> Self {
        let labels = [label.as_str()];
        Self {
            received: meters.counter(&metrics::RECEIVED_BYTES, &labels),
            sent: meters.counter(&metrics::SENT_BYTES, &labels),
            spliced: meters.counter(&metrics::SPLICED_BYTES, &labels),
            connect_seconds: meters.histogram(&metrics::CONNECT_SECONDS, &labels),
            up: OnceLock::new(),
            meters: meters.clone(),
            active: AtomicUsize::new(0),
            failed: Mutex::default(),
            endpoint,
            label,
        }
    }

    /// It was reached.
    pub(super) fn reached(&self, after: Duration) {
        self.connect_seconds.observe(after.as_secs_f64());
        self.set(1.0, None);
    }

    /// It answered a datagram.
    pub(super) fn answered(&self) {
        self.set(1.0, None);
    }

    /// It was not.
    pub(super) fn failed(&self) {
        self.set(0.0, Some(Instant::now()));
    }

    fn set(&self, up: f64, failed: Option<Instant>) {
        // A finding: it is shown only once there is one.
        self.up.get_or_init(|| self.meters.gauge(&metrics::UPSTREAM_UP, &[&self.label])).set(up);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    fn is_shunned(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < SHUNNED)
    }

    /// Counts a connection.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.active.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The targets that a listener's clients can go to.
#[derive(Debug)]
pub(super) struct Route {
    targets: Vec<Arc<Target>>,
    balance: Balance,
    turn: AtomicUsize,
}

impl Route {
    pub(super) fn new(targets: Vec<Arc<Target>>, balance: Balance) -> Self {
        Self { targets, balance, turn: AtomicUsize::new(0) }
    }

    /// All targets in the order in which they are to be tried for a client.
    pub(super) fn order(&self, client: Option<IpAddr>) -> Vec<Arc<Target>> {
        let mut order = self.targets.clone();
        if let [_] = order[..] {
            return order;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % order.len().max(1);
        match self.balance {
            Balance::First => {}
            Balance::RoundRobin => order.rotate_left(turn),
            Balance::LeastConnections => {
                // Equals take turns.
                order.rotate_left(turn);
                order.sort_by_key(|target| target.active.load(Ordering::Relaxed));
            }
            // Highest random weight: a target that falls out moves only its own clients.
            Balance::SourceHash => {
                order.sort_by_key(|target| std::cmp::Reverse(weight(client, &target.label)));
            }
        }
        order.sort_by_key(|target| target.is_shunned());
        order
    }
}

fn weight(client: Option<IpAddr>, label: &str) -> u64 {
    // Fixed keys: the same on every runner and after every restart.
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    client.hash(&mut hasher);
    label.hash(&mut hasher);
    hasher.finish()
}

impl FromStr for Upstream {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Ok(Self { text: text.to_owned(), endpoint: text.parse()? })
    }
}

impl<'de> serde::Deserialize<'de> for Upstream {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::value::from_text(deserializer, "an endpoint, such as \"db:5432\"")
    }
}

impl schemars::JsonSchema for Upstream {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Endpoint::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Endpoint::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Registry;

    fn route(balance: Balance) -> Route {
        let meters = Registry::new(100).job(&"test".into(), "forward", []);
        let targets = |text: &str| text.parse::<Upstream>().unwrap().targets(&meters);
        Route::new(["a:1", "b:1", "c:1"].into_iter().flat_map(targets).collect(), balance)
    }

    fn first(route: &Route, client: &str) -> String {
        route.order(Some(client.parse().unwrap()))[0].label.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_failed_is_tried_last_for_a_while() {
        let route = route(Balance::First);
        route.targets[0].failed();
        assert_eq!(first(&route, "10.0.0.1"), "b:1");
        tokio::time::advance(SHUNNED).await;
        assert_eq!(first(&route, "10.0.0.1"), "a:1");
    }

    #[tokio::test]
    async fn each_balance_keeps_its_rule() {
        let turns = route(Balance::RoundRobin);
        let seen: Vec<String> = (0..4).map(|_| first(&turns, "10.0.0.1")).collect();
        assert_eq!(seen, ["a:1", "b:1", "c:1", "a:1"]);

        let hashed = route(Balance::SourceHash);
        let of = |client: u8| first(&hashed, &format!("10.0.0.{client}"));
        let before: Vec<String> = (0..100).map(of).collect();
        assert!(["a:1", "b:1", "c:1"].iter().all(|label| before.iter().any(|seen| seen == label)));
        hashed.targets[0].failed();
        let after: Vec<String> = (0..100).map(of).collect();
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || before == "a:1"));

        let fewest = route(Balance::LeastConnections);
        let _busy = (fewest.targets[0].busy(), fewest.targets[2].busy());
        assert_eq!(first(&fewest, "10.0.0.1"), "b:1");
    }

    #[tokio::test]
    async fn a_range_has_a_target_a_port() {
        let meters = Registry::new(100).job(&"test".into(), "forward", []);
        let targets = "tcp://[::1]:8000-8001".parse::<Upstream>().unwrap().targets(&meters);
        let labels: Vec<&str> = targets.iter().map(|target| target.label.as_str()).collect();
        assert_eq!(labels, ["tcp://[::1]:8000", "tcp://[::1]:8001"]);
    }
}
