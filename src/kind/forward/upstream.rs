//! Upstreams: an entry of `to`, what is known of it, and the order in which several are tried.
//!
//! The memory is passive: an upstream that could not be reached is tried last for a while. No probe is sent; what a check of
//! `health` says comes from `health`.

use std::{
    hash::{Hash as _, Hasher as _},
    net::IpAddr,
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use siphasher::sip::SipHasher13;
use tokio::time::Instant;

use super::{Balance, metrics};
use crate::{
    meter::{Counter, Gauge, Histogram, Meters},
    net::hops::Hop,
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
    born: Instant,
    /// When it could not be reached last, in milliseconds since `born`, from 1; 0: it was reached since.
    failed: AtomicU64,
    /// Whether its health check has put it out.
    out: AtomicBool,
}

/// Counts a connection to a target for as long as it lives.
#[derive(Debug)]
pub(super) struct Busy {
    target: Arc<Target>,
    /// Tells how many forwards the connection came through, where it goes on to this process.
    pub(super) hop: Option<Box<Hop>>,
}

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
            born: Instant::now(),
            failed: AtomicU64::new(0),
            out: AtomicBool::new(false),
            endpoint,
            label,
        }
    }

    /// It was reached.
    pub(super) fn reached(&self, after: Duration) {
        self.connect_seconds.observe(after.as_secs_f64());
        self.found(0);
    }

    /// It answered a datagram.
    pub(super) fn answered(&self) {
        self.found(0);
    }

    /// It was not.
    pub(super) fn failed(&self) {
        self.found(
            u64::try_from(self.born.elapsed().as_millis()).map_or(u64::MAX, |age| age.saturating_add(1)),
        );
    }

    /// Its health check says whether it is out. One that comes in again has its failures forgotten.
    pub(super) fn set_out(&self, is_out: bool) {
        self.out.store(is_out, Ordering::Relaxed);
        self.found(if is_out { self.failed.load(Ordering::Relaxed) } else { 0 });
    }

    fn found(&self, failed: u64) {
        self.failed.store(failed, Ordering::Relaxed);
        let is_up = failed == 0 && !self.is_out();
        // A finding: it is shown only once there is one.
        self.up
            .get_or_init(|| self.meters.gauge(&metrics::UPSTREAM_UP, &[&self.label]))
            .set(f64::from(u8::from(is_up)));
    }

    fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    fn is_shunned(&self) -> bool {
        let failed = self.failed.load(Ordering::Relaxed);
        failed != 0 && self.born.elapsed() < SHUNNED + Duration::from_millis(failed - 1)
    }

    /// Counts a connection.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.active.fetch_add(1, Ordering::Relaxed);
        Busy { target: self.clone(), hop: None }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.target.active.fetch_sub(1, Ordering::Relaxed);
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

    /// The targets that are in, in the order in which they are to be tried for a client.
    pub(super) fn order(&self, client: Option<IpAddr>) -> impl Iterator<Item = &Arc<Target>> {
        let (only, several) = match &self.targets[..] {
            [only] => (Some(only), vec![]),
            _ => (None, self.several(client)),
        };
        only.into_iter().chain(several).filter(|target| !target.is_out())
    }

    fn several(&self, client: Option<IpAddr>) -> Vec<&Arc<Target>> {
        // Those that are out or shunned are taken away first, so that the others share their turns evenly.
        let are_in = self.targets.iter().filter(|target| !target.is_out());
        let (mut order, mut shunned): (Vec<_>, Vec<_>) = are_in.partition(|target| !target.is_shunned());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.arrange(&mut order, turn, client);
        self.arrange(&mut shunned, turn, client);
        order.extend(shunned);
        order
    }

    fn arrange(&self, order: &mut [&Arc<Target>], turn: usize, client: Option<IpAddr>) {
        let first = turn % order.len().max(1);
        match self.balance {
            Balance::First => {}
            Balance::RoundRobin => order.rotate_left(first),
            Balance::LeastConnections => {
                // Equals take turns.
                order.rotate_left(first);
                order.sort_by_key(|target| target.active.load(Ordering::Relaxed));
            }
            // Highest random weight: a target that falls out moves only its own clients.
            Balance::SourceHash => {
                order.sort_by_cached_key(|target| std::cmp::Reverse(weight(client, &target.label)));
            }
        }
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
        route.order(Some(client.parse().unwrap())).next().unwrap().label.clone()
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

        hashed.targets[0].set_out(true);
        let after: Vec<String> = (0..100).map(of).collect();
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || before == "a:1"));

        let fewest = route(Balance::LeastConnections);
        let _busy = (fewest.targets[0].busy(), fewest.targets[2].busy());
        assert_eq!(first(&fewest, "10.0.0.1"), "b:1");
    }

    #[tokio::test]
    async fn a_target_that_is_out_is_not_tried_and_the_others_share_its_turns() {
        let turns = route(Balance::RoundRobin);
        turns.targets[0].set_out(true);
        let seen: Vec<String> = (0..4).map(|_| first(&turns, "10.0.0.1")).collect();
        assert_eq!(seen, ["b:1", "c:1", "b:1", "c:1"]);
        turns.targets.iter().for_each(|target| target.set_out(true));
        assert_eq!(turns.order(None).count(), 0);
        turns.targets[2].failed();
        turns.targets[2].set_out(false);
        assert_eq!(first(&turns, "10.0.0.1"), "c:1");
        assert!(!turns.targets[2].is_shunned(), "what its check says is newer");
    }

    #[tokio::test]
    async fn the_others_share_the_turns_of_a_target_that_failed_and_all_are_tried_where_all_did() {
        let turns = route(Balance::RoundRobin);
        turns.targets[0].failed();
        let seen: Vec<String> = (0..4).map(|_| first(&turns, "10.0.0.1")).collect();
        assert_eq!(seen, ["b:1", "c:1", "b:1", "c:1"]);
        turns.targets.iter().for_each(|target| target.failed());
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::SourceHash, Balance::First] {
            let route = Route::new(turns.targets.clone(), balance);
            let mut all: Vec<&str> = route.order(None).map(|target| target.label.as_str()).collect();
            all.sort_unstable();
            assert_eq!(all, ["a:1", "b:1", "c:1"], "{balance:?}");
        }
    }

    #[tokio::test]
    async fn a_range_has_a_target_a_port() {
        let meters = Registry::new(100).job(&"test".into(), "forward", []);
        let targets = "tcp://[::1]:8000-8001".parse::<Upstream>().unwrap().targets(&meters);
        let labels: Vec<&str> = targets.iter().map(|target| target.label.as_str()).collect();
        assert_eq!(labels, ["tcp://[::1]:8000", "tcp://[::1]:8001"]);
    }
}
