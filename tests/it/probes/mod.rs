//! Waits, interfaces, IPv6 and children, against real kernels, services and name servers.

mod interfaces;
mod ipc;
mod ipv6;
mod names;
#[cfg(feature = "tls")]
mod tls;
mod wait;

use netjobs::{
    context::testing::context,
    kind::Kind,
    outcome::{Outcome, Sample},
};
use tokio::time::{Duration, Instant};

/// A run of a kind with these parameters, and how long it took.
async fn run<K: Kind>(yaml: &str) -> (Outcome, Duration) {
    let spec: K = serde_yaml::from_str(yaml).unwrap();
    let (cx, _) = context(vec![], None);
    let started = Instant::now();
    let outcome = spec.run(&cx).await.unwrap();
    (outcome, started.elapsed())
}

/// A sample of a run that has one set of them.
#[track_caller]
fn sample<'a>(outcome: &'a Outcome, name: &str) -> &'a Sample {
    outcome.samples[0].find(name).unwrap_or_else(|| panic!("no `{name}` in {outcome:?}"))
}
