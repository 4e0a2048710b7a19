//! Ctrl-C in the middle of a sweep: what was found is told at once, and nothing is said of who was not asked.

use std::{
    process::Stdio,
    sync::{Arc, mpsc::sync_channel},
    time::{Duration, Instant},
};

use netjobs::{
    context::{Memory, Shared},
    kind::{Kind, sweep::Sweep},
    meter::Registry,
    outcome::{Notice, Outcome},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{check, notices, pair, spec, sweep::context_at};
use crate::{falsenet::world, nameserver::Answer, netns::Namespace, program::netjobs};

/// How long a sweep may go on after the signal, and how much later a debug build beside other tests may be.
const BOUND: Duration = Duration::from_millis(200);
const SLACK: Duration = Duration::from_secs(3);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Starts the program, interrupts it once `begun` has returned, and gives what it printed on stdout and stderr.
#[track_caller]
fn interrupt(namespace: &Namespace, arguments: &[&str], begun: impl FnOnce()) -> (String, String) {
    let mut command = netjobs(arguments);
    if arguments[0] == "setpriv" {
        command = std::process::Command::new("setpriv");
        command.args(&arguments[1..]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = namespace.run(move || command.spawn().unwrap());
    begun();
    let signalled = now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let took = signalled.elapsed();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(130), "{out}{err}");
    assert!(took < BOUND + SLACK, "{took:?} after the signal\n{out}{err}");
    (out, err)
}

/// Waits until so many packets have left a namespace over its link.
fn packets(namespace: &Namespace, count: u32) {
    namespace.sh(&format!(
        "for i in $(seq 1000); do [ $(awk '/ v[ab]/ {{ print $11 }}' /proc/net/dev) -gt {count} ] && exit 0; \
         sleep 0.01; done; cat /proc/net/dev >&2; exit 1"
    ));
}

/// How many packets have left a namespace over its link.
fn sent(namespace: &Namespace) -> u32 {
    namespace.sh("awk '/ v[ab]/ { print $11 }' /proc/net/dev").trim().parse().unwrap()
}

/// `partial: 12 of 65535 hosts were asked, 9 to the end, 1 alive`: the first three numbers of it.
#[track_caller]
fn partial(text: &str) -> [usize; 3] {
    let (_, rest) = text.split_once("partial: ").unwrap_or_else(|| panic!("{text}"));
    let words: Vec<_> = rest.split(' ').collect();
    assert!(rest.contains(" hosts were asked, ") && rest.contains(" to the end, 1 alive"), "{text}");
    [words[0], words[2], words[6]].map(|word| word.parse().unwrap())
}

/// Case 56 of the sweep's list: each way to ask, in the middle of a network of the dead.
#[test]
fn an_interrupted_sweep_tells_at_once_what_it_found_and_how_far_it_came() {
    let program = env!("CARGO_BIN_EXE_netjobs");
    let unprivileged: &[&str] = &["setpriv", "--bounding-set=-net_raw", program];
    for (start, method) in [(&[][..], "icmp"), (&[][..], "tcp/443"), (unprivileged, "tcp/443")] {
        let (ours, _peer) = pair();
        let mut arguments = start.to_vec();
        arguments.extend(["sweep", "10.9.0.2", "10.98.0.0/16", "--method", method]);
        arguments.extend(["--order", "plain", "--timeout", "100ms"]);
        let (out, err) = interrupt(&ours, &arguments, || packets(&ours, 80));
        assert!(out.contains("10.9.0.2\talive\t"), "{method}: {out}{err}");
        assert!(!out.contains("10.98."), "{method}: of who is to be asked again nothing is said: {out}{err}");
        let [asked, all, settled] = partial(&err);
        assert!((40..5000).contains(&asked) && (all, settled) == (65_535, 1), "{method}: {err}");
    }
}

/// Hosts that wait for their turn were not asked, by any method, far away or on a link.
#[test]
fn an_interrupted_sweep_counts_no_host_to_which_nothing_was_sent() {
    let (ours, _peer) = pair();
    for targets in [&["10.98.0.0/16"][..], &["10.98.0.0/16", "10.9.0.0/24"]] {
        for method in ["icmp", "tcp/443"] {
            let mut arguments = vec!["sweep", "10.9.0.2", "--method", method, "--rate", "40/s"];
            arguments.extend(targets);
            let enough = sent(&ours) + 30;
            let (out, err) = interrupt(&ours, &arguments, || packets(&ours, enough));
            let (_, rest) = err.split_once("partial: ").unwrap_or_else(|| panic!("{out}{err}"));
            let asked: u32 = rest.split(' ').next().unwrap().parse().unwrap();
            assert!((20..150).contains(&asked), "{method} {targets:?}: {out}{err}");
        }
    }
}

/// Case 56 of the sweep's list, on a link whose hosts do not answer, and in one pass: who had their time are dead.
#[test]
fn an_interrupted_sweep_of_one_pass_tells_the_dead_that_had_their_time() {
    let (ours, _peer) = pair();
    let arguments =
        ["sweep", "10.9.0.2", "10.98.0.0/16", "--passes", "1", "--order", "plain", "--timeout", "100ms"];
    let (out, err) = interrupt(&ours, &arguments, || packets(&ours, 80));
    let [_, _, settled] = partial(&err);
    let silent = out.lines().filter(|line| line.contains("\tsilent\ttimeout")).count();
    assert!(settled > 10 && silent + 1 == settled, "{out}{err}");
    let enough = sent(&ours) + 20;
    let (out, _) = interrupt(&ours, &["sweep", "10.9.0.0/24", "--rate", "50/s"], || packets(&ours, enough));
    assert!(out.contains("10.9.0.2\talive\tarp"), "{out}");
}

/// Case 56 of the sweep's list, for `once`.
#[test]
fn an_interrupted_once_says_how_far_its_sweep_came() {
    let (ours, _peer) = pair();
    let folder = tempfile::tempdir().unwrap();
    let yaml = "jobs:\n  - name: dead\n    sweep: { targets: [10.9.0.2, 10.98.0.0/16], order: plain, timeout: 100ms }\n";
    std::fs::write(folder.path().join("jobs.yaml"), yaml).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let (out, err) = interrupt(&ours, &["once", &path], || packets(&ours, 80));
    assert!(out.contains("ERROR dead (sweep)"), "{out}{err}");
    partial(&out);
}

/// Case 56 of the sweep's list, while names resolve.
#[test]
fn a_sweep_that_waits_for_a_name_ends_at_once() {
    let (asked, question) = sync_channel(100);
    let namespace = world(Some(Arc::new(move |_: &str| {
        let _ = asked.try_send(());
        Answer::Silence
    })));
    let begun = || question.recv_timeout(Duration::from_secs(10)).unwrap();
    let (_, err) = interrupt(&namespace, &["sweep", "silent.test", "127.0.0.1"], begun);
    assert!(err.contains("partial: no host was asked"), "{err}");
}

#[test]
fn a_file_of_targets_that_is_a_pipe_is_refused_and_holds_nobody_up() {
    let namespace = Namespace::new();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let yaml = format!("{{ targets: '@{}' }}", pipe.display());
    let error = super::try_run::<Sweep>(&namespace, &yaml).result.unwrap_err();
    assert!(error.to_string().contains("is not a file of at most 16 MiB"), "{error}");
}

/// Runs a sweep on a job's memory; `cut`: until so many probes were done.
fn sweep(ours: &Namespace, memory: &Memory, yaml: &str, cut: Option<u64>) -> (Outcome, Vec<Notice>) {
    let (spec, memory): (Sweep, _) = (spec(yaml), memory.clone());
    ours.block_on(move || async move {
        let shared = Shared::new(Registry::new(100));
        let (cx, recorder) = context_at(std::path::Path::new(".").into(), &shared, memory);
        let reached = |notice: &Notice| matches!((notice, cut), (Notice::Progress { done, .. }, Some(cut)) if *done >= cut);
        let watch = async {
            loop {
                if notices(&recorder).iter().any(reached) {
                    cx.stop().cancel.cancel();
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::select! {
            outcome = spec.run(&cx) => outcome.unwrap(),
            () = watch => unreachable!(),
        };
        (outcome, notices(&recorder))
    })
}

#[test]
fn a_sweep_that_was_cut_short_changes_nothing_of_what_is_remembered() {
    let (ours, peer) = pair();
    let memory = Memory::default();
    let yaml = "{ targets: [10.99.5.1-100], timeout: 100ms, passes: 2, rate: 200/s, order: plain }";
    let (first, _) = sweep(&ours, &memory, yaml, None);
    check(&first, &[("alive", 100), ("dead", 0)]);
    peer.sh("nft add rule inet t i ip daddr 10.99.5.1-10.99.5.10 icmp type echo-request drop");
    let (second, said) = sweep(&ours, &memory, yaml, Some(30));
    check(&second, &[("targets", 100), ("dead", 0), ("appeared", 0), ("vanished", 0)]);
    assert!(!said.iter().any(|notice| matches!(notice, Notice::HostChanged { .. })), "{said:?}");
    let (third, _) = sweep(&ours, &memory, yaml, None);
    check(&third, &[("alive", 90), ("dead", 10), ("appeared", 0), ("vanished", 10)]);
}
