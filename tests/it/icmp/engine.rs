//! The prober itself: starved, stopped, with a full queue, without stamps; and how much it can have on its way.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use netjobs::{
    kind::{ping::Ping, sweep::Sweep},
    net::icmp::{Event, Options, Probe, Probers, What},
    outcome::Reason,
};
use nix::sys::signal::Signal;

use super::{check, count, number, pair, responder::Responder, run};
use crate::{
    netns::{Namespace, Running},
    program,
};

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn device(namespace: &Namespace) -> String {
    let text = namespace.sh("ip -o route get 10.9.0.2");
    text.split_whitespace().nth(2).unwrap().to_owned()
}

/// Case 3 of the sweep's list: processes that take all of the machine make a sweep slower and no host dead.
#[test]
fn four_processes_that_take_all_of_the_machine_make_nobody_dead() {
    let (ours, _peer) = pair();
    let hog = || {
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; while :; do :; done"]).stdout(Stdio::piped());
        let mut hog: Running = ours.spawn(command);
        assert_eq!(hog.line(), "started");
        hog
    };
    let _hogs: Vec<_> = (0..4).map(|_| hog()).collect();
    let outcome = run::<Sweep>(&ours, "{ targets: [10.99.0.0/19], edges: include, rate: max, passes: 1 }");
    check(&outcome, &[("targets", 8192), ("alive", 8192), ("dead", 0), ("packets", 8192)]);
}

/// Case 4 of the sweep's list: a sweep that is stopped for 300 ms calls nobody dead and makes no burst of what it missed.
#[test]
fn a_sweep_that_was_stopped_for_a_while_finds_all_and_makes_no_burst() {
    let (ours, peer) = pair();
    peer.sh("nft add counter inet t asked; nft add rule inet t i icmp type echo-request counter name asked");
    let asked = |peer: &Namespace| -> u64 {
        let text = peer.sh("nft list counter inet t asked");
        text.split("packets ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    let yaml = ["sweep", "10.99.0.0/20", "--edges", "include", "--rate", "2000/s", "--passes", "1"];
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    ours.run(move || {
        let mut command = program::netjobs(&yaml);
        command.args(["--timeout", "250ms", "--report", "none", "--json", "--order", "random"]);
        sender.send(program::Running::start(&mut command)).unwrap();
    });
    let mut sweep = receiver.recv().unwrap();
    let bound = now() + Duration::from_secs(10);
    while asked(&peer) < 500 {
        assert!(now() < bound, "the sweep does not begin");
    }
    let id = nix::unistd::Pid::from_raw(sweep.child.id().try_into().unwrap());
    nix::sys::signal::kill(id, Signal::SIGSTOP).unwrap();
    let started = now();
    let before = asked(&peer);
    // Nothing tells when a while has passed but the clock.
    while started.elapsed() < Duration::from_millis(300) {
        assert!(asked(&peer) <= before + 64, "it goes on although it is stopped");
    }
    let (before, resumed) = (asked(&peer), now());
    nix::sys::signal::kill(id, Signal::SIGCONT).unwrap();
    while resumed.elapsed() < Duration::from_millis(100) {
        let (sent, passed) = (asked(&peer) - before, resumed.elapsed());
        // What a timer may be late is made up for, and a batch may be on its way; 600 would be owed.
        let most = 2000.0 * (passed.as_secs_f64() + 0.010) + 64.0;
        assert!((sent as f64) < most, "{sent} packets within {passed:?}");
    }
    let record = sweep.line_with("run_finished");
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let samples = record["samples"].to_string();
    assert_eq!(sweep.wait(), Some(0), "{samples}");
    assert!(samples.contains("\"alive\":4096") && samples.contains("\"dead\":0"), "{samples}");
}

/// Cases 14 and 16 of the sweep's list: what the kernel stamped is named so, and is no longer than what is measured around it.
#[test]
fn round_trips_are_the_kernels_own_and_say_so() {
    let (ours, _peer) = pair();
    for host in ["10.9.0.2", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 20, interval: 5ms }}"));
        check(&outcome, &[("received", 20)]);
        let source =
            outcome.detail.value()["rtt_source"].as_object().unwrap().values().next().unwrap().clone();
        // The first packets after stamps are switched on may lack them.
        assert!(source == "kernel" || source == "mixed", "{source}");
        let peer: IpAddr = host.parse().unwrap();
        let (inside, around) = ours.block_on(move || async move {
            let probers = Probers::default();
            let (mut inside, mut around) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..50 {
                let asked = now();
                let rtt = probers.probe_once(peer.into(), Duration::from_secs(5)).await.unwrap().unwrap();
                let whole = asked.elapsed();
                assert!(rtt <= whole, "{rtt:?} within {whole:?}");
                (inside, around) = (inside + rtt, around + whole);
            }
            (inside, around)
        });
        // The way to the prober and back takes longer than that to the peer.
        assert!(inside * 2 < around, "{inside:?} of {around:?}");
    }
}

/// Case 16 of the sweep's list: at full speed, too, the kernel's round trip is that of a single ping.
#[test]
fn a_sweep_at_full_speed_does_not_spoil_its_round_trips() {
    let (ours, _peer) = pair();
    let alone = number(&run::<Ping>(&ours, "{ host: 10.99.0.1, count: 50, interval: 2ms }"), "rtt_p50");
    let yaml = "{ targets: [10.99.0.0/20], edges: include, rate: max, passes: 1, report: all }";
    let outcome = run::<Sweep>(&ours, yaml);
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    let mut rtts: Vec<_> = hosts.iter().filter_map(|host| host["rtt"].as_f64()).collect();
    rtts.sort_by(f64::total_cmp);
    assert_eq!(rtts.len(), 4096);
    let median = rtts[2048];
    // A whole batch takes many times as long as one round trip.
    assert!(median < alone * 3.0, "{median} s in the sweep, {alone} s alone");
}

/// Case 14 of the sweep's list: who tells no round trips waives the stamps of its packets, and nobody else goes without.
#[test]
fn a_session_waives_its_own_stamps_and_no_others() {
    const EACH: u32 = 1000;
    let (ours, _peer) = pair();
    for host in ["10.9.0.2", "fd09::2"] {
        let peer: IpAddr = host.parse().unwrap();
        let stamped = ours.block_on(move || async move {
            let probers = Probers::default();
            // So that its link address is known.
            probers.probe_once(peer.into(), Duration::from_secs(5)).await.unwrap().unwrap();
            let options = |is_stamped| Options { is_stamped, ..Options::new(Duration::from_secs(5)) };
            let mut with = probers.open(peer.is_ipv6(), options(true)).await.unwrap();
            let mut without = probers.open(peer.is_ipv6(), options(false)).await.unwrap();
            let echoes = || (0..EACH).map(|index| Probe { index, peer: peer.into() }).collect();
            // They take turns, so that both are in each call.
            tokio::try_join!(with.submit(echoes()), without.submit(echoes())).unwrap();
            let mut counts = [0, 0];
            for (session, count) in [&mut with, &mut without].into_iter().zip(&mut counts) {
                let mut open = EACH;
                while open > 0 {
                    for Event { what, .. } in session.next().await.unwrap() {
                        let What::Answered { is_stamped, .. } = what else { panic!("{host}: {what:?}") };
                        open -= 1;
                        *count += u32::from(is_stamped);
                    }
                }
            }
            counts
        });
        // The first packets after stamps are switched on may lack them.
        assert!(stamped[0] > EACH * 9 / 10, "{host}: {stamped:?}");
        assert_eq!(stamped[1], 0, "{host}");
    }
}

/// Opens a session, sends probes to a host each, and gives what became of them, bounded by a time.
fn probe(
    namespace: &Namespace,
    hosts: u32,
    each: u32,
    timeout: u64,
    buffer: Option<usize>,
) -> (BTreeMap<&'static str, u32>, Duration) {
    namespace.block_on(move || async move {
        let probers = Probers::default();
        if let Some(bytes) = buffer {
            probers.start_with_buffer(false, bytes).unwrap();
        }
        let mut session = probers.open(false, Options::new(Duration::from_millis(timeout))).await.unwrap();
        let host = |at: u32| IpAddr::from((0x0a63_0000 + at % hosts).to_be_bytes());
        let (all, started) = (hosts * each, now());
        let (mut next, mut open, mut ends) = (0, 0, BTreeMap::new());
        while open > 0 || next < all {
            while open < 8192 && next < all {
                let chunk: Vec<_> = (next..(next + 512).min(all))
                    .map(|index| Probe { index, peer: host(index).into() })
                    .collect();
                next += u32::try_from(chunk.len()).unwrap();
                open += u32::try_from(chunk.len()).unwrap();
                session.submit(chunk).await.unwrap();
            }
            for Event { what, .. } in session.next().await.unwrap() {
                let word = match what {
                    What::Answered { .. } => "answered",
                    What::Lost(failure) | What::Refused(failure) => failure.reason.as_str(),
                    What::Extra => "extra",
                };
                open -= u32::from(word != "extra");
                *ends.entry(word).or_default() += 1;
            }
        }
        (ends, started.elapsed())
    })
}

/// Case 57 of the sweep's list: many thousands of probes to one host are told apart, and so are those to as many hosts.
#[test]
fn many_thousands_of_probes_to_one_host_and_to_as_many_are_all_answered() {
    let (ours, _peer) = pair();
    let (ends, _) = probe(&ours, 1, 66_000, 5000, None);
    assert_eq!(ends, [("answered", 66_000)].into());
    let (ends, took) = probe(&ours, 10_000, 1, 5000, None);
    assert_eq!(ends, [("answered", 10_000)].into());
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// Cases 9 and 16 of the sweep's list where the kernel counts packets for their stamps: each is credited to its own probe, also
/// behind probes that were not sent.
#[test]
fn round_trips_are_true_where_the_kernel_counts_its_stamps() {
    for (v6, host, nowhere) in [(false, "10.9.0.2", "10.77.0.1"), (true, "fd09::2", "fd77::1")] {
        let ours = Namespace::new();
        let _responder = Responder::start(&ours, |request| vec![request.reply().after(20)]);
        ours.sh(&format!("ip route add unreachable {nowhere}"));
        let [host, nowhere] = [host, nowhere].map(|host| host.parse::<IpAddr>().unwrap());
        let stamped = ours.block_on(move || async move {
            let probers = Probers::default();
            probers.start_counting(v6).unwrap();
            let mut session = probers.open(v6, Options::new(Duration::from_secs(5))).await.unwrap();
            let mut stamped = 0;
            for round in 0..10 {
                let probe = |at: u32| {
                    let peer = if at == 0 && round % 2 == 1 { nowhere } else { host };
                    Probe { index: round * 10 + at, peer: peer.into() }
                };
                session.submit((0..10).map(probe).collect()).await.unwrap();
                let mut ends = 0;
                while ends < 10 {
                    for Event { index, what } in session.next().await.unwrap() {
                        ends += 1;
                        match what {
                            What::Answered { rtt, is_stamped, .. } => {
                                assert!(rtt >= Duration::from_millis(20), "{index}: {rtt:?}");
                                stamped += u32::from(is_stamped);
                            }
                            what => assert!(index % 20 == 10 && matches!(what, What::Refused(_)), "{what:?}"),
                        }
                    }
                }
            }
            stamped
        });
        // The first packets after stamps are switched on may lack them.
        assert!(stamped > 80, "{stamped} of 95 are stamped");
    }
}

/// Case 2 of the sweep's list: also with a receive buffer of 8 KiB all are found at full speed, each time.
#[test]
fn a_tiny_receive_buffer_slows_a_sweep_down_and_loses_nobody() {
    let (ours, _peer) = pair();
    for _ in 0..20 {
        let (ends, took) = probe(&ours, 4096, 1, 300, Some(8 << 10));
        assert_eq!(ends, [("answered", 4096)].into());
        // Some seconds of it are the others' on a busy machine.
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}

/// Case 2 of the sweep's list, where replies come in one burst: what a full buffer dropped is seen as a loss of this machine's in
/// both families, and sent again.
#[test]
fn what_a_tiny_receive_buffer_lost_is_sent_again_in_both_families() {
    let ours = Namespace::new();
    // They are answered together, at the end of each fifth of a second.
    let start = now();
    let _responder = Responder::start(&ours, move |request| {
        let passed = u64::try_from((request.at - start).as_millis()).unwrap();
        vec![request.reply().after(200 - passed % 200)]
    });
    for v6 in [false, true] {
        let (ends, packets, drops) = ours.block_on(move || async move {
            let probers = Probers::default();
            probers.start_with_buffer(v6, 8 << 10).unwrap();
            let mut session = probers.open(v6, Options::new(Duration::from_secs(1))).await.unwrap();
            let peer: IpAddr = if v6 { "fd09::2" } else { "10.9.0.2" }.parse().unwrap();
            session.submit((0..200).map(|index| Probe { index, peer: peer.into() }).collect()).await.unwrap();
            let mut ends: BTreeMap<_, u32> = BTreeMap::new();
            while ends.values().sum::<u32>() < 200 {
                for event in session.next().await.unwrap() {
                    let answered = matches!(event.what, What::Answered { .. });
                    *ends.entry(answered).or_default() += u32::from(event.what != What::Extra);
                }
            }
            (ends, session.counts().packets(), session.counts().local_drops())
        });
        assert_eq!(ends, [(true, 200)].into(), "IPv6: {v6}");
        assert!(packets > 200 && drops > 0, "IPv6: {v6}, {packets} packets, {drops} drops");
    }
}

/// Who floods the buffer with answers that are none makes us lose some, and ask again; but not for ever.
#[test]
fn a_flood_of_forged_answers_makes_nobody_ask_more_than_four_times_as_often() {
    const PROBES: u32 = 20;
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        // The filter in front of the buffer lets them in: the tag of the prober is right, the rest is not.
        (0..400).map(|_| request.reply().with(|message| message[8] ^= 1).after(5)).collect()
    });
    let (ends, packets, drops) = ours.block_on(|| async {
        let probers = Probers::default();
        probers.start_with_buffer(false, 8 << 10).unwrap();
        let mut session = probers.open(false, Options::new(Duration::from_millis(40))).await.unwrap();
        let peer: IpAddr = [10, 9, 0, 2].into();
        session.submit((0..PROBES).map(|index| Probe { index, peer: peer.into() }).collect()).await.unwrap();
        let mut ends = vec![];
        while ends.len() < PROBES as usize {
            ends.extend(session.next().await.unwrap().into_iter().map(|event| event.what));
        }
        (ends, session.counts().packets(), session.counts().local_drops())
    });
    assert!(ends.iter().all(|what| matches!(what, What::Lost(_))), "{ends:?}");
    assert!(drops > 0 && packets > u64::from(PROBES), "{packets} packets, {drops} drops");
    assert!(packets <= u64::from(4 * PROBES + 30), "{packets} packets");
}

/// Case 36 of the sweep's list: a queue that is full now and then slows a sweep down and makes nobody dead.
#[test]
fn a_link_that_is_full_slows_down_and_makes_nobody_dead() {
    let (ours, _peer) = pair();
    let device = device(&ours);
    ours.sh(&format!("tc qdisc add dev {device} root tbf rate 8mbit burst 3000 limit 6000"));
    let outcome = run::<Sweep>(&ours, "{ targets: [10.99.0.0/22], edges: include, rate: max, passes: 1 }");
    check(&outcome, &[("targets", 1024), ("alive", 1024), ("dead", 0), ("packets", 1024)]);
}

/// Case 36 of the sweep's list: a kernel that never takes a packet ends a probe with the reason, and not with the run.
#[test]
fn a_link_that_is_full_for_ever_ends_probes_with_the_reason() {
    let (ours, _peer) = pair();
    let device = device(&ours);
    // A packet is larger than all that this queue ever holds.
    ours.sh(&format!("tc qdisc add dev {device} root bfifo limit 10"));
    let started = now();
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 3, interval: 10ms, timeout: 300ms }");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    check(&outcome, &[("sent", 0), ("received", 0), ("lost", 0)]);
    assert_eq!(outcome.reason, Some(Reason::Resources));
    let outcome = run::<Sweep>(&ours, "{ targets: [10.99.0.0/24], rate: max, passes: 1 }");
    assert_eq!((count(&outcome, "alive"), count(&outcome, "dead")), (0, 0));
}
