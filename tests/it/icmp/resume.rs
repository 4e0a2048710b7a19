//! Sweeps that are interrupted and go on, and what sweeps know of hosts after a restart: the built program with `--state`.

use std::{
    collections::BTreeMap,
    fs,
    hash::Hasher as _,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use siphasher::sip::SipHasher13;

use super::pair;
use crate::{
    netns::Namespace,
    program::{end_group, netjobs},
};

/// How long something that is sure to come may take.
const LONG: Duration = Duration::from_mins(1);

/// The program in a namespace, killed when it is dropped.
struct Inside(Child);

impl Inside {
    fn start(namespace: &Namespace, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Self(namespace.run(move || command.spawn().unwrap()))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        end_group(&mut self.0);
    }
}

fn sweep(state: &Path, arguments: &[&str]) -> Command {
    let mut command = netjobs(&["sweep", "--method", "icmp", "--json", "--state", state.to_str().unwrap()]);
    command.args(arguments);
    command
}

/// Runs a command in a namespace to its end.
fn output(namespace: &Namespace, mut command: Command) -> Output {
    namespace.run(move || command.output().unwrap())
}

/// The last record of a run.
#[track_caller]
fn finished(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| panic!("{output:?}"));
    let record: Value = serde_json::from_str(last).unwrap();
    assert_eq!(record["event"], "run_finished", "{text}");
    record
}

/// Where an interrupted sweep stands; its file is read while it is replaced again and again.
#[derive(Debug)]
struct Standing {
    pass: u64,
    left: u64,
    packets: u64,
}

fn standing(state: &Path) -> Option<Standing> {
    let text = fs::read_to_string(state.join("sweep.checkpoint")).ok()?;
    let saved: Value = serde_json::from_str(&text).expect("a file of state is whole at any time");
    let number = |key: &str| saved["value"]["standing"][key].as_u64().unwrap();
    Some(Standing { pass: number("pass"), left: number("left"), packets: number("packets") })
}

/// Waits until a checkpoint is as it should be.
#[track_caller]
fn wait_for(state: &Path, what: impl Fn(&Standing) -> bool) {
    let start = tokio::time::Instant::now();
    while !standing(state).as_ref().is_some_and(&what) {
        assert!(start.elapsed() < LONG, "no such checkpoint: {:?}", standing(state));
        nix::poll::poll(&mut [], 10u16).unwrap();
    }
}

/// Counts echo requests at the peer, by address.
fn count_at(peer: &Namespace) {
    peer.sh("nft add set inet t seen '{ type ipv4_addr; flags dynamic; size 65535; counter; }'");
    peer.sh("nft insert rule inet t i icmp type echo-request update @seen '{ ip daddr }'");
}

fn counted(peer: &Namespace) -> BTreeMap<String, u64> {
    let list: Value = serde_json::from_str(&peer.sh("nft -j list set inet t seen")).unwrap();
    let sets = list["nftables"].as_array().unwrap().iter().find_map(|entry| entry["set"]["elem"].as_array());
    let element = |one: &Value| {
        let one = &one["elem"];
        (one["val"].as_str().unwrap().to_owned(), one["counter"]["packets"].as_u64().unwrap())
    };
    sets.unwrap().iter().map(element).collect()
}

/// Case 53 of the sweep's list: killed at several moments and resumed, none is lost and none asked too often.
#[test]
fn case_53_a_killed_sweep_goes_on_where_it_was() {
    const SET: &[&str] = &["10.99.0.0/20", "--edges", "include", "--rate", "2000/s", "--timeout", "300ms"];
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i ip daddr '&' 0.0.0.1 == 0.0.0.1 icmp type echo-request drop");
    count_at(&peer);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    // In the first pass, once more in it or at its end, and in the second.
    let moments: [fn(&Standing) -> bool; 3] =
        [|_| true, |at| at.pass > 0 || at.left < 1800, |at| at.pass == 1];
    let mut since = 0;
    for moment in moments {
        let mut run = Inside::start(&ours, sweep(state, SET));
        wait_for(state, moment);
        run.signal(Signal::SIGKILL);
        run.0.wait().unwrap();
        since = counted(&peer).values().sum::<u64>() - standing(state).unwrap().packets;
    }
    let output = output(&ours, sweep(state, SET));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("goes on where it was interrupted"), "{said}");
    let samples = &finished(&output)["samples"];
    assert_eq!((&samples["alive"], &samples["dead"]), (&2048.into(), &2048.into()), "{samples}");
    assert!(standing(state).is_none(), "a finished sweep leaves no checkpoint");
    let seen = counted(&peer);
    assert_eq!(seen.len(), 4096);
    let is_alive = |address: &str| !address.ends_with(['1', '3', '5', '7', '9']);
    let (alive, dead): (Vec<_>, Vec<_>) = seen.iter().partition(|(address, _)| is_alive(address));
    // Who was asked after the last checkpoint, or was about to answer, is asked again once each time.
    assert!(alive.iter().all(|(_, count)| (1..=4).contains(*count)), "{alive:?}");
    assert!(dead.iter().all(|(_, count)| (2..=5).contains(*count)), "{dead:?}");
    let again: u64 = alive.iter().map(|(_, count)| *count - 1).sum();
    assert!(again <= since + 100, "{again} of the living were asked again, {since} were asked since");
}

/// What is known of hosts holds across restarts: a host that vanished meanwhile is told as such, and the rest is not told.
#[test]
fn a_host_that_vanished_while_nobody_looked_has_vanished() {
    let (ours, peer) = pair();
    let folder = tempfile::tempdir().unwrap();
    let set = ["10.99.5.1-3", "--timeout", "200ms", "--confirm", "1"];
    let first = finished(&output(&ours, sweep(folder.path(), &set)));
    assert_eq!((&first["samples"]["alive"], &first["samples"]["appeared"]), (&3.into(), &0.into()));
    peer.sh("nft add rule inet t i ip daddr 10.99.5.2 icmp type echo-request drop");
    let second = output(&ours, sweep(folder.path(), &set));
    let samples = finished(&second)["samples"].clone();
    assert_eq!((&samples["alive"], &samples["vanished"]), (&2.into(), &1.into()));
    let text = String::from_utf8_lossy(&second.stdout).into_owned();
    let changed: Vec<_> = text.lines().filter(|line| line.contains("\"host_changed\"")).collect();
    assert_eq!(changed.len(), 1, "{text}");
    assert!(changed[0].contains("10.99.5.2"), "{text}");
    // Another set is another sweep.
    let other = finished(&output(&ours, sweep(folder.path(), &["10.99.5.2-3", "--timeout", "200ms"])));
    assert_eq!(other["samples"]["vanished"], 0);
}

/// Who interrupts a sweep with `--state` is told that it can be gone on with, which holds for an hour and for its own set.
#[test]
fn an_interrupted_sweep_goes_on_within_an_hour_and_another_one_begins_anew() {
    const SAID: &str = "goes on where it was interrupted";
    let (ours, _peer) = pair();
    let folder = tempfile::tempdir().unwrap();
    let set = ["10.99.0.0/22", "--rate", "400/s", "--timeout", "200ms", "--passes", "1", "--report", "none"];
    let mut run = Inside::start(&ours, sweep(folder.path(), &set));
    wait_for(folder.path(), |_| true);
    run.signal(Signal::SIGINT);
    let mut said = String::new();
    run.0.stdout.as_mut().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("interrupted at ") && said.contains("goes on from there"), "{said}");
    let file = folder.path().join("sweep.checkpoint");
    let saved = fs::read_to_string(&file).unwrap();
    let again = |text: &str, targets: &str| {
        fs::write(&file, text).unwrap();
        let set = [targets, "--rate", "max", "--passes", "1", "--report", "none"];
        let output = output(&ours, sweep(folder.path(), &set));
        let goes_on = String::from_utf8_lossy(&output.stdout).contains(SAID);
        (goes_on, finished(&output)["samples"].clone())
    };
    let (goes_on, samples) = again(&saved, "10.99.0.0/23");
    assert_eq!((goes_on, &samples["alive"]), (false, &510.into()));
    let (goes_on, samples) = again(&older(&saved, Duration::from_mins(61)), "10.99.0.0/22");
    assert_eq!((goes_on, &samples["alive"], &samples["packets"]), (false, &1022.into(), &1022.into()));
    let (goes_on, samples) = again(&older(&saved, Duration::from_mins(58)), "10.99.0.0/22");
    assert_eq!((goes_on, &samples["alive"]), (true, &1022.into()));
    // Those of the first part and those of the second.
    assert!((1022..1040).contains(&samples["packets"].as_u64().unwrap()), "{samples}");
}

/// The same file as if it had been saved so much earlier.
fn older(text: &str, by: Duration) -> String {
    let saved = serde_json::from_str::<Value>(text).unwrap()["saved"].as_u64().unwrap();
    let earlier = saved - u64::try_from(by.as_millis()).unwrap();
    let rest = &text["{\"checksum\":\"".len() + 16..];
    let rest = rest.replacen(&format!("\"saved\":{saved}"), &format!("\"saved\":{earlier}"), 1);
    let mut hasher = SipHasher13::new();
    hasher.write(rest.as_bytes());
    format!("{{\"checksum\":\"{:016x}{rest}", hasher.finish())
}
