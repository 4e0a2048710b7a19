//! Many hosts: who is alive, what changed, how long it takes, how many packets it costs.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use netjobs::{
    context::{
        Context, Memory, Parts, Shared, Stop,
        testing::{Recorder, context},
    },
    kind::{Kind, sweep::Sweep},
    meter::Registry,
    outcome::{HostState, Notice, Outcome, Reason},
};

use super::{check, count, notices, pair, responder::Responder, run, spec, try_run};
use crate::netns::Namespace;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Hosts that the record calls alive.
pub(super) fn alive(outcome: &Outcome) -> BTreeSet<String> {
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    let alive = hosts.iter().filter(|host| host["state"] == "alive");
    alive.map(|host| host["host"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn three_hosts_of_a_range_are_told_apart() {
    let (ours, peer) = pair();
    peer.sh("ip route del local 10.99.0.0/16 dev lo; ip route add local 10.99.2.2/31 dev lo");
    let yaml = "{ targets: [10.99.2.2-4], timeout: 300ms }";
    let outcome = run::<Sweep>(&ours, yaml);
    check(&outcome, &[("targets", 3), ("alive", 2), ("dead", 1), ("appeared", 0), ("vanished", 0)]);
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    assert_eq!(hosts[0]["host"], "10.99.2.2");
    assert_eq!((&hosts[0]["state"], &hosts[0]["evidence"]), (&"alive".into(), &"echo".into()));
    assert!(hosts[0]["rtt"].as_f64().unwrap() > 0.0);
    assert_eq!(hosts[2]["host"], "10.99.2.4");
    assert_eq!(hosts[2].get("rtt"), None);
    assert!(outcome.message.unwrap().contains("10.99.2.4"));
}

#[test]
fn case_1_a_large_network_all_alive_at_full_speed_loses_nobody() {
    let (ours, _peer) = pair();
    let outcome = run::<Sweep>(&ours, "{ targets: [10.99.0.0/16], edges: include, rate: max, passes: 1 }");
    check(
        &outcome,
        &[("targets", 65536), ("alive", 65536), ("dead", 0), ("local_drops", 0), ("packets", 65536)],
    );
}

#[test]
fn case_2_a_tiny_receive_buffer_loses_packets_and_no_host() {
    let ours = Namespace::new();
    // All first answers come at once, which is too much for the buffer; who is asked again answers at once.
    let mut first = None;
    let _responder = Responder::start(&ours, move |request| {
        let passed = request.at - *first.get_or_insert(request.at);
        let wait = Duration::from_millis(300).saturating_sub(passed);
        vec![request.reply().after(if request.number < 200 { wait } else { Duration::ZERO })]
    });
    let spec: Sweep = spec("{ targets: [10.20.0.1-200], rate: max, passes: 1, timeout: 1s }");
    let outcome = ours.block_on(move || async move {
        let (cx, _) = context(vec![], Some(Duration::from_mins(1)));
        // The kernel makes it as small as any may be: hardly two answers have room together.
        cx.shared().probers.start_with_buffer(false, 1).unwrap();
        spec.run(&cx).await.unwrap()
    });
    check(&outcome, &[("targets", 200), ("alive", 200), ("dead", 0)]);
    assert!(count(&outcome, "local_drops") > 0, "{outcome:?}");
}

#[test]
fn case_5_with_one_packet_of_ten_lost_nine_passes_find_everybody() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i icmp type echo-request numgen inc mod 10 0 drop");
    let yaml = "{ targets: [10.99.0.0/22], edges: include, rate: max, passes: 9, timeout: 300ms }";
    let outcome = run::<Sweep>(&ours, yaml);
    check(&outcome, &[("alive", 1024), ("dead", 0)]);
    assert!(count(&outcome, "packets") <= 1024 * 115 / 100, "{outcome:?}");
}

#[test]
fn case_6_silence_takes_as_long_as_the_plan_says() {
    let (ours, _peer) = pair();
    // Two passes of 200 probes at 200 a second for one /24, and a timeout after each; on a busy machine in one of three tries.
    let mut times = vec![];
    while times.iter().all(|took| *took >= 3.6) {
        assert!(times.len() < 3, "{times:?}");
        let started = now();
        let outcome =
            run::<Sweep>(&ours, "{ targets: [10.98.0.1-200], rate: 1000/s, passes: 2, timeout: 300ms }");
        times.push(started.elapsed().as_secs_f64());
        check(&outcome, &[("targets", 200), ("dead", 200), ("unreachable", 0), ("packets", 400)]);
        assert!(times.iter().all(|took| *took >= 2.4), "{times:?}");
    }
}

#[test]
fn case_7_a_checkerboard_is_found_as_it_is_and_as_fping_finds_it() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i ip daddr '&' 0.0.0.1 == 0.0.0.1 icmp type echo-request drop");
    let yaml = "{ targets: [10.99.7.0/24], edges: include, rate: max, timeout: 300ms, report: all }";
    let found = alive(&run::<Sweep>(&ours, yaml));
    let board: BTreeSet<_> = (0..=255).step_by(2).map(|last| format!("10.99.7.{last}")).collect();
    assert_eq!(found, board);
    // fping leaves the edges out, and fails where some are dead.
    let (_, out, _) = ours.try_sh("fping -a -q -i 1 -r 1 -t 300 -g 10.99.7.0/24 2>/dev/null");
    let theirs: BTreeSet<_> = out.lines().map(str::to_owned).collect();
    let yaml = "{ targets: [10.99.7.0/24], rate: max, timeout: 300ms, report: all }";
    assert_eq!(alive(&run::<Sweep>(&ours, yaml)), theirs);
}

#[test]
fn case_8_a_host_that_comes_up_between_passes_is_alive() {
    let (ours, peer) = pair();
    // The first packet to it is dropped, as if it were not there yet.
    peer.sh("nft add rule inet t i ip daddr 10.99.0.7 icmp type echo-request numgen inc mod 1000 0 drop");
    let outcome = run::<Sweep>(&ours, "{ targets: [10.99.0.7, 10.99.0.8], timeout: 200ms }");
    check(&outcome, &[("alive", 2), ("dead", 0), ("packets", 3)]);
}

#[test]
fn case_32_what_has_no_route_fails_alone_and_the_sweep_goes_on() {
    let (ours, _peer) = pair();
    let outcome =
        run::<Sweep>(&ours, "{ targets: [10.9.0.2, 10.77.0.1, 10.9.0.255], timeout: 300ms, report: all }");
    check(&outcome, &[("targets", 3), ("alive", 1), ("dead", 2), ("unreachable", 2)]);
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    let reasons: Vec<_> = hosts.iter().map(|host| host["reason"].as_str().unwrap_or("")).collect();
    assert_eq!(reasons, ["", "admin_prohibited", "no_route"]);
}

#[test]
fn case_54_sweeps_and_pings_share_one_socket_and_keep_their_rates_apart() {
    let (ours, _peer) = pair();
    let (sweeps, sockets) = ours.block_on(|| async {
        let (cx, _) = context(vec![], Some(Duration::from_mins(1)));
        let yaml = |net| format!("{{ targets: [10.99.{net}.1-100], rate: max, passes: 1 }}");
        let (one, two): (Sweep, Sweep) = (spec(&yaml(1)), spec(&yaml(2)));
        let ping = spec::<netjobs::kind::ping::Ping>("{ host: 10.9.0.2, count: 5, interval: 10ms }");
        let (one, two, ping) = tokio::join!(one.run(&cx), two.run(&cx), ping.run(&cx));
        let sockets = std::fs::read_to_string("/proc/thread-self/net/raw").unwrap().lines().count() - 1;
        (vec![one.unwrap(), two.unwrap(), ping.unwrap()], sockets)
    });
    check(&sweeps[0], &[("alive", 100), ("dead", 0)]);
    check(&sweeps[1], &[("alive", 100), ("dead", 0)]);
    check(&sweeps[2], &[("received", 5), ("duplicates", 0)]);
    assert_eq!(sockets, 1);
}

#[test]
fn case_55_a_name_that_does_not_resolve_is_named_and_fails_alone() {
    let (ours, _peer) = pair();
    let outcome =
        run::<Sweep>(&ours, "{ targets: [no-such-host.invalid, 10.9.0.2], timeout: 300ms, report: all }");
    check(&outcome, &[("targets", 2), ("alive", 1), ("dead", 1)]);
    assert_eq!(outcome.reason, Some(Reason::Dns));
    assert!(outcome.message.unwrap().contains("no-such-host.invalid"));
    let ran = try_run::<Sweep>(&ours, "{ targets: [no-such-host.invalid] }");
    assert_eq!(ran.result.unwrap_err().reason(), Reason::Dns);
}

/// Cancels a sweep after half a second; what it gives comes within 200 ms. On a busy machine it may take three tries: what others
/// add to the time is not ours.
#[track_caller]
pub(super) fn cancelled(ours: &crate::netns::Namespace, yaml: &str) -> Outcome {
    let mut times = vec![];
    while times.len() < 3 {
        let (outcome, took) = cancel(ours, spec(yaml));
        if took < Duration::from_millis(200) {
            return outcome;
        }
        times.push(took);
    }
    panic!("{yaml}: {times:?}");
}

/// Cancels a sweep after half a second, and says how long it took to end.
fn cancel(ours: &crate::netns::Namespace, spec: Sweep) -> (Outcome, Duration) {
    ours.block_on(move || async move {
        let (cx, _) = context(vec![], None);
        let stop = cx.stop().cancel.clone();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            stop.cancel();
            now()
        };
        let (outcome, cancelled) = tokio::join!(spec.run(&cx), cancel);
        (outcome.unwrap(), cancelled.elapsed())
    })
}

#[test]
fn case_56_a_cancelled_sweep_gives_what_it_has_at_once() {
    let (ours, _peer) = pair();
    let yaml = "{ targets: [10.9.0.1-2, 10.98.0.1-200], rate: 50/s, passes: 1, timeout: 20s }";
    let outcome = cancelled(&ours, yaml);
    check(&outcome, &[("targets", 202), ("alive", 2), ("dead", 0)]);
}

#[test]
fn a_tcp_sweep_finds_the_open_and_the_refusing() {
    let (ours, peer) = pair();
    let listener = peer.run(|| std::net::TcpListener::bind("10.99.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let yaml =
        format!("{{ targets: [10.99.0.1-3, 10.98.0.1], method: tcp/{port}, timeout: 300ms, report: all }}");
    let outcome = run::<Sweep>(&ours, &yaml);
    check(&outcome, &[("targets", 4), ("alive", 3), ("dead", 1), ("packets", 5)]);
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    let words: Vec<_> =
        hosts.iter().map(|host| host.get("evidence").or(host.get("reason")).unwrap()).collect();
    assert_eq!(words, ["connect_timeout", "tcp_open", "tcp_refused", "tcp_refused"]);
}

#[test]
fn names_files_interfaces_and_excludes_make_the_set() {
    let (ours, _peer) = pair();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hosts.txt"), "# ours\n10.99.0.1-3  # three\n\n10.99.0.2\n").unwrap();
    let device = ours.sh("ip -o route get 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/'");
    let base: Arc<Path> = folder.path().into();
    let yaml = format!(
        "{{ targets: ['@hosts.txt', 'iface:{}', localhost, 10.99.0.9], exclude: [10.9.0.4/30, 10.9.0.8/29, \
         10.9.0.16/28, 10.9.0.32/27, 10.9.0.64/26, 10.9.0.128/25], rate: max, passes: 1, timeout: 300ms }}",
        device.trim()
    );
    let run = move |yaml: &str| {
        let (spec, base): (Sweep, _) = (spec(yaml), base.clone());
        ours.block_on(move || async move {
            spec.run(&context_at(base, &Shared::new(Registry::new(10)), Memory::default()).0).await
        })
    };
    // Three of the file, .1 to .3 of the interface, localhost, and .9.
    let outcome = run(&yaml).unwrap();
    check(&outcome, &[("targets", 8), ("alive", 7), ("dead", 1)]);
    std::fs::write(folder.path().join("bad.txt"), "10.99.0.1\n10.99.0.999\n").unwrap();
    let error = run("{ targets: ['@bad.txt'] }").unwrap_err();
    assert!(error.to_string().contains("bad.txt:2: `999` is more than 255"), "{error}");
    let missing = run("{ targets: ['@missing.txt'] }").unwrap_err();
    assert!(missing.to_string().contains("missing.txt"));
    assert_eq!(missing.reason(), Reason::Io, "a file that is not there refuses nothing");
    assert_eq!(run("{ targets: ['iface:nosuch0'] }").unwrap_err().reason(), Reason::NoInterface);
}

/// A context of a job with what its earlier runs kept.
pub(super) fn context_at(base: Arc<Path>, shared: &Arc<Shared>, memory: Memory) -> (Context, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let name: Arc<str> = "test".into();
    let parts = Parts {
        meters: shared.registry.job(&name, "sweep", []),
        shared: shared.clone(),
        memory,
        name,
        stop: Stop::default(),
        deadline: None,
        listeners: vec![],
        observer: recorder.clone(),
        base,
        ad_hoc: false,
    };
    (Context::new(parts), recorder)
}

#[test]
fn changes_are_told_once_they_are_confirmed_and_counted_in_the_metrics() {
    let (ours, peer) = pair();
    let (shared, memory) = (Shared::new(Registry::new(100)), Memory::default());
    let sweep = |yaml: &str| {
        let (spec, shared, memory): (Sweep, _, _) = (spec(yaml), shared.clone(), memory.clone());
        ours.block_on(move || async move {
            let (cx, recorder) = context_at(Path::new(".").into(), &shared, memory);
            (spec.run(&cx).await.unwrap(), notices(&recorder))
        })
    };
    let yaml = "{ targets: [10.99.5.1-2], timeout: 100ms, passes: 1, confirm: 2 }";
    let (first, said) = sweep(yaml);
    check(&first, &[("alive", 2), ("appeared", 0), ("vanished", 0)]);
    assert_eq!(
        said.iter().filter(|notice| matches!(notice, Notice::HostChanged { from: None, .. })).count(),
        2
    );
    peer.sh("nft add rule inet t i ip daddr 10.99.5.1 icmp type echo-request drop");
    let (second, said) = sweep(yaml);
    check(&second, &[("alive", 1), ("dead", 1), ("vanished", 0)]);
    assert!(!said.iter().any(|notice| matches!(notice, Notice::HostChanged { .. })), "{said:?}");
    let (third, said) = sweep(yaml);
    check(&third, &[("alive", 1), ("dead", 1), ("vanished", 1)]);
    let vanished = said.iter().filter(|notice| {
        matches!(notice, Notice::HostChanged { host, from: Some(HostState::Alive), to: HostState::Silent, why: "timeout", .. } if host == "10.99.5.1")
    });
    assert_eq!(vanished.count(), 1, "{said:?}");
    assert_eq!(third.detail.value()["hosts"].as_array().unwrap().len(), 1);
    let (fourth, _) = sweep(yaml);
    check(&fourth, &[("vanished", 0)]);
    let mut text = String::new();
    shared.registry.render(&mut text);
    for line in [
        "netjobs_sweep_changes_total{job_name=\"test\",kind=\"sweep\",to=\"dead\"} 1",
        "netjobs_sweep_changes_total{job_name=\"test\",kind=\"sweep\",to=\"alive\"} 0",
        "netjobs_sweep_hosts{job_name=\"test\",kind=\"sweep\",state=\"alive\"} 1",
        "netjobs_sweep_packets_total{job_name=\"test\",kind=\"sweep\"} 8",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
