//! Pings and sweeps against real kernels in namespaces. A test that is named after a case covers that case of the list
//! in which truth, time, forgery, errors, rights and grammar are numbered.

mod beside;
mod engine;
mod errors;
mod faults;
mod forgery;
mod interrupt;
mod onlink;
mod peer;
mod ping;
mod plan;
mod responder;
mod resume;
mod rights;
mod soak;
mod sweep;
mod tcp;
mod times;
mod together;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use netjobs::{
    context::{
        Context,
        testing::{Recorder, context},
    },
    kind::{Error, Kind},
    outcome::{Notice, Outcome, Sample},
};

use crate::netns::Namespace;

/// What a run gave, and what can be asked afterwards.
struct Ran {
    result: Result<Outcome, Error>,
    recorder: Arc<Recorder>,
    /// Packets that were no reply to any probe.
    foreign: u64,
}

/// Reads a spec from YAML.
#[track_caller]
fn spec<K: Kind>(yaml: &str) -> K {
    serde_yaml::from_str(yaml).unwrap()
}

/// Runs a spec once inside a namespace.
fn try_run<K: Kind + 'static>(namespace: &Namespace, yaml: &str) -> Ran {
    let spec: K = spec(yaml);
    namespace.block_on(move || async move {
        let (cx, recorder): (Context, _) = context(vec![], Some(Duration::from_mins(1)));
        let result = spec.run(&cx).await;
        let probers = &cx.shared().probers;
        Ran { result, recorder, foreign: probers.foreign(false) + probers.foreign(true) }
    })
}

#[track_caller]
fn run<K: Kind + 'static>(namespace: &Namespace, yaml: &str) -> Outcome {
    try_run::<K>(namespace, yaml).result.unwrap()
}

#[track_caller]
fn count(outcome: &Outcome, name: &str) -> u64 {
    match outcome.samples[0].find(name) {
        Some(Sample::Count(count)) => *count,
        other => panic!("{name}: {other:?} in {outcome:?}"),
    }
}

#[track_caller]
fn number(outcome: &Outcome, name: &str) -> f64 {
    match outcome.samples[0].find(name) {
        Some(Sample::Number(number)) => *number,
        other => panic!("{name}: {other:?} in {outcome:?}"),
    }
}

/// Asserts several counts at once.
#[track_caller]
fn check(outcome: &Outcome, counts: &[(&str, u64)]) {
    let found: Vec<_> = counts.iter().map(|(name, _)| (*name, count(outcome, name))).collect();
    assert_eq!(found, counts, "{:?}", outcome.message);
}

/// The notices of a run.
fn notices(recorder: &Recorder) -> Vec<Notice> {
    let notices: &Mutex<Vec<Notice>> = &recorder.notices;
    notices.lock().unwrap().clone()
}

/// Two joined namespaces: ours is 10.9.0.1 and `fd09::1`, the peer 10.9.0.2 and `fd09::2`. 10.99.0.0/16 lives in the peer.
fn pair() -> (Namespace, Namespace) {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    ours.link(&["10.9.0.1/24", "fd09::1/64"], &peer, &["10.9.0.2/24", "fd09::2/64"]);
    ours.sh("ip route add 10.99.0.0/16 via 10.9.0.2; ip route add 10.98.0.0/16 via 10.9.0.2");
    peer.sh("ip route add local 10.99.0.0/16 dev lo; ip route add blackhole 10.98.0.0/16");
    peer.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; \
             echo 10000 > /proc/sys/net/ipv4/icmp_msgs_burst; echo 10000 > /proc/sys/net/ipv4/icmp_msgs_per_sec");
    peer.sh("nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; }'");
    ours.sh("ping -q -c 1 -W 5 10.9.0.2");
    (ours, peer)
}
