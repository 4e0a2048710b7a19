//! Pings and sweeps against real kernels in namespaces. The numbers are those of the cases in `CASES`.

mod ping;

use std::{sync::Arc, time::Duration};

use netjobs::{
    context::{
        Context,
        testing::{Recorder, context},
    },
    kind::{Error, Kind},
    outcome::{Outcome, Sample},
};

use crate::netns::Namespace;

/// Reads a spec from YAML.
#[track_caller]
fn spec<K: Kind>(yaml: &str) -> K {
    serde_yaml::from_str(yaml).unwrap()
}

/// Runs a spec once inside a namespace.
#[track_caller]
fn try_run<K: Kind + 'static>(namespace: &Namespace, yaml: &str) -> (Result<Outcome, Error>, Arc<Recorder>) {
    let spec: K = spec(yaml);
    namespace.block_on(move || async move {
        let (cx, recorder): (Context, _) = context(vec![], Some(Duration::from_secs(60)));
        (spec.run(&cx).await, recorder)
    })
}

#[track_caller]
fn run<K: Kind + 'static>(namespace: &Namespace, yaml: &str) -> Outcome {
    try_run::<K>(namespace, yaml).0.unwrap()
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

/// Two joined namespaces: ours is 10.9.0.1, the peer 10.9.0.2, with fd09::1 and fd09::2.
fn pair() -> (Namespace, Namespace) {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    ours.link(&["10.9.0.1/24", "fd09::1/64"], &peer, &["10.9.0.2/24", "fd09::2/64"]);
    (ours, peer)
}
