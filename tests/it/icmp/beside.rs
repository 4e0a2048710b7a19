//! Beside other tools, at the same time and on the same network: nobody disturbs anybody, and all find the same.

use std::{collections::BTreeSet, process::Command, sync::mpsc};

use netjobs::{
    kind::{ping::Ping, sweep::Sweep},
    outcome::Outcome,
};

use super::{check, number, pair, responder::Responder, run, try_run};
use crate::{netns::Namespace, program::netjobs};

/// Case 26 of the sweep's list: other programs ping the same host at the same time, with identifiers of theirs and of ours. All
/// get their own answers, each once.
#[test]
fn other_pings_at_the_same_time_disturb_nobody() {
    let (ours, _peer) = pair();
    for host in ["10.9.0.2", "fd09::2"] {
        let theirs = ours.file();
        let (done, texts) = mpsc::sync_channel(3);
        for number in 0..3 {
            let (done, namespace) = (done.clone(), theirs.try_clone().unwrap());
            std::thread::spawn(move || {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                let output = match number {
                    0 | 1 => {
                        let identifier = ["77", "78"][number];
                        Command::new("ping").args(["-e", identifier, "-c", "50", "-i", "0.01", host]).output()
                    }
                    // Another runner.
                    _ => netjobs(&["ping", host, "--count", "50", "--interval", "10ms"]).output(),
                };
                done.send((number, String::from_utf8(output.unwrap().stdout).unwrap())).unwrap();
            });
        }
        let ran = try_run::<Ping>(&ours, &format!("{{ host: '{host}', count: 50, interval: 10ms }}"));
        check(
            &ran.result.unwrap(),
            &[("sent", 50), ("received", 50), ("lost", 0), ("duplicates", 0), ("late", 0)],
        );
        for (number, text) in texts.iter().take(3) {
            if number < 2 {
                assert!(text.contains("50 packets transmitted, 50 received, 0% packet loss"), "{text}");
                assert!(!text.contains("DUP"), "{text}");
            } else {
                assert!(text.contains("received 50") || text.contains("50 received"), "{text}");
            }
        }
    }
}

/// Case 26 of the sweep's list: an answer to somebody else's echo that had by chance the identifier and the sequence number of
/// ours is no answer to ours, before it as after it.
#[test]
fn the_answer_to_an_echo_with_our_identifier_is_not_ours() {
    let ours = Namespace::new();
    let _responder = Responder::start(&ours, |request| {
        let theirs = || {
            request.reply().with(|message| {
                for (byte, value) in message[8..].iter_mut().zip(0u8..) {
                    *byte = value;
                }
            })
        };
        vec![theirs(), request.reply().after(20), theirs().after(30)]
    });
    for host in ["10.9.0.2", "fd09::2"] {
        let outcome = run::<Ping>(&ours, &format!("{{ host: '{host}', count: 5, interval: 40ms }}"));
        check(&outcome, &[("received", 5), ("lost", 0), ("duplicates", 0), ("late", 0)]);
        assert!(number(&outcome, "rtt_min") >= 0.020);
    }
}

/// Hosts that the record calls alive.
fn alive(outcome: &Outcome) -> BTreeSet<String> {
    let detail = outcome.detail.value();
    let hosts = detail["hosts"].as_array().unwrap();
    let alive = hosts.iter().filter(|host| host["state"] == "alive");
    alive.map(|host| host["host"].as_str().unwrap().to_owned()).collect()
}

/// Case 7 of the sweep's list: on a checkerboard whose dead hosts are silent, unreachable or forbidden, ours, fping and nmap find
/// the same hosts.
#[test]
fn ours_fping_and_nmap_find_the_same_hosts() {
    let (ours, peer) = pair();
    peer.sh("ip route del local 10.99.0.0/16 dev lo");
    peer.sh("nft add rule inet t i ip daddr \\& 0.0.0.3 == 0.0.0.1 drop; \
             nft add rule inet t i ip daddr \\& 0.0.0.7 == 0.0.0.3 reject with icmp type host-unreachable; \
             nft add rule inet t i ip daddr \\& 0.0.0.7 == 0.0.0.7 reject with icmp type admin-prohibited");
    peer.sh("ip route add local 10.99.0.0/16 dev lo");
    for (network, edges, wanted) in
        [("10.99.7.0/24", "10.99.7.0,10.99.7.255", 127), ("10.99.8.0/22", "10.99.8.0,10.99.11.255", 511)]
    {
        let outcome = run::<Sweep>(
            &ours,
            &format!("{{ targets: [{network}], rate: max, timeout: 300ms, report: all }}"),
        );
        let found = alive(&outcome);
        assert_eq!(found.len(), wanted, "{network}");
        let (_, out, _) = ours.try_sh(&format!("fping -a -q -i 1 -r 1 -t 200 -g {network} 2>/dev/null"));
        assert_eq!(found, out.lines().map(str::to_owned).collect(), "fping {network}");
        let out = ours.sh(&format!(
            "nmap -sn -n -PE -T5 --min-parallelism 64 --max-retries 1 --exclude {edges} -oG - {network}"
        ));
        let words = out.lines().filter(|line| line.ends_with("Status: Up"));
        let theirs = words.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect();
        assert_eq!(found, theirs, "nmap {network}");
    }
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Round trips of the same host as ours, iputils and fping tell them, in turns. Ours are from the kernel's own stamps.
#[test]
fn our_round_trips_are_no_longer_than_those_of_iputils_and_fping() {
    let (ours, _peer) = pair();
    let mut rounds = [vec![], vec![], vec![]];
    let seconds = |text: &str, words: &dyn Fn(&str) -> Vec<f64>| median(words(text)) / 1000.0;
    for _ in 0..7 {
        let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 30, interval: 3ms }");
        rounds[0].push(number(&outcome, "rtt_p50"));
        let text = ours.sh("ping -c 30 -i 0.003 10.9.0.2");
        rounds[1].push(seconds(&text, &|text| {
            let times = text.split("time=").skip(1);
            times.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
        }));
        let text = ours.sh("fping -C 30 -p 3 -q 10.9.0.2 2>&1");
        rounds[2].push(seconds(&text, &|text| {
            text.split(" : ").nth(1).unwrap().split_whitespace().map(|time| time.parse().unwrap()).collect()
        }));
    }
    // The best of each: what a busy machine adds is nobody's.
    let [own, iputils, fping] = rounds.map(|round| round.into_iter().fold(f64::MAX, f64::min));
    assert!(
        own <= iputils + UNOPTIMIZED && own <= fping + UNOPTIMIZED,
        "ours {own} s, iputils {iputils} s, fping {fping} s"
    );
}

/// What a program that is not optimized takes from its clock to the kernel, in seconds.
const UNOPTIMIZED: f64 = 40e-6;
