//! Messages with a child that is the built program. Fault case 52 of the list of faults is here where the right child
//! is needed, and beside the kind where it misbehaves.

use std::{fs, os::unix::fs::symlink, path::Path};

use netjobs::{
    context::testing::context,
    kind::ipc::{CHILD, Ipc, Program},
    outcome::{Outcome, Reason, Sample, Verdict},
};
use tokio::time::{Duration, sleep};

fn program() -> Program {
    Program { path: env!("CARGO_BIN_EXE_netjobs").into(), arguments: vec![CHILD.into()] }
}

async fn run(yaml: &str) -> Outcome {
    let spec: Ipc = serde_yaml::from_str(yaml).unwrap();
    let (cx, _) = context(vec![], None);
    spec.run_with(&cx, &program()).await.unwrap()
}

async fn check_passed(yaml: &str, messages: u64) {
    let outcome = run(yaml).await;
    assert_eq!(outcome.verdict, Verdict::Passed, "{yaml}: {outcome:?}");
    let samples = &outcome.samples[0];
    assert_eq!(samples.find("messages"), Some(&Sample::Count(messages)), "{yaml}");
    assert_eq!(samples.find("child_exit"), Some(&Sample::Count(0)), "{yaml}");
    assert!(samples.find("rtt_p95").is_some(), "{yaml}");
}

#[tokio::test]
async fn messages_go_both_ways_over_each_kind_of_socket() {
    check_passed("{}", 10).await;
    check_passed("{ via: socketpair, messages: 100, size: 1B }", 100).await;
    check_passed("{ via: unix_stream, messages: 3, size: 1MiB }", 3).await;
    check_passed("{ via: unix_datagram, messages: 100, size: 1KiB }", 100).await;
}

/// Fault case 52: a 200 KB datagram, and one that no system takes.
#[tokio::test]
async fn case_52_a_datagram_that_is_too_big_is_reported_and_nothing_hangs() {
    check_passed("{ via: unix_datagram, messages: 2, size: 200kB }", 2).await;
    let outcome = run("{ via: unix_datagram, size: 16MiB }").await;
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::TooBig)), "{outcome:?}");
}

/// How many processes there are, zombies included, by the name that they were started under.
fn processes(name: &str) -> usize {
    let is_ours = |process: &Path| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        status.starts_with(&format!("Name:\t{name}\n"))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.filter(|process| is_ours(process)).count()
}

/// Fault case 52: no zombie, also where the run is dropped in the middle.
#[tokio::test]
async fn case_52_a_run_that_is_dropped_leaves_no_child() {
    // A name of its own: other tests have children, too.
    let name = format!("dropped{}", std::process::id());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(&name);
    symlink(env!("CARGO_BIN_EXE_netjobs"), &path).unwrap();
    let child = Program { path, ..program() };
    let spec: Ipc = serde_yaml::from_str("{ via: unix_datagram, messages: 1000000 }").unwrap();
    let (cx, _) = context(vec![], None);
    let seen = |wanted: bool| {
        let name = &name;
        async move {
            while (processes(name) > 0) != wanted {
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::select! {
        ended = spec.run_with(&cx, &child) => panic!("a million messages take longer: {ended:?}"),
        () = seen(true) => {}
    }
    tokio::time::timeout(Duration::from_secs(10), seen(false)).await.expect("a child is left");
}
