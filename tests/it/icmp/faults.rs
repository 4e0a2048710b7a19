//! The network fails below pings, sweeps and waits, and the built program says what it is: loss, delay, damage, dead ends,
//! links and interfaces that come and go, rights that are missing, forgers, another runner beside it.

use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use netjobs::kind::{ping::Ping, sweep::Sweep};
use serde_json::Value;

use super::{
    check, count, number, pair,
    peer::{Answer, OTHER, PEER, Scripted, after, reply, seal},
    run,
};
use crate::{
    falsenet::{find, once},
    netns::Namespace,
    program::{Daemon, Running, netjobs, reachable},
};

/// What the program comes to inside a namespace.
fn ends(world: &Namespace, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = netjobs(arguments);
    said(world.run(move || command.output().unwrap()))
}

fn said(output: Output) -> (Option<i32>, String) {
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

/// Fault case 1: 30 % loss.
#[test]
fn thirty_percent_of_loss_are_measured_and_kill_nobody() {
    let (ours, peer) = pair();
    peer.sh("nft add rule inet t i icmp type echo-request numgen random mod 100 '<' 30 counter drop");
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 4000, interval: 500us, timeout: 1s }");
    let counter = peer.sh("nft list chain inet t i");
    let dropped = counter.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    check(&outcome, &[("sent", 4000), ("lost", dropped.parse().unwrap())]);
    let loss = number(&outcome, "loss");
    assert!((0.27..=0.33).contains(&loss), "{loss}");
    let outcome = run::<Sweep>(&ours, "{ targets: [10.99.0.0/24], passes: 12, rate: max, timeout: 200ms }");
    check(&outcome, &[("targets", 254), ("alive", 254), ("dead", 0)]);
}

/// Fault case 3: a delay of 100 ms with jitter, and each third answer twice.
#[test]
fn delay_jitter_and_duplicates_are_told_apart_and_are_no_loss() {
    let (ours, peer) = pair();
    let _scripted = Scripted::start(&peer, |count, request| {
        // The last answer ends the run: it comes well behind every second copy.
        let delay = if count == 29 { 400 } else { 80 + 10 * (u64::try_from(count).unwrap() * 7 % 5) };
        let copies = if count % 3 == 1 { 2 } else { 1 };
        (0..copies).map(|_| after(delay, request)).collect()
    });
    let outcome = run::<Ping>(&ours, "{ host: 10.9.0.2, count: 30, interval: 5ms, timeout: 2s }");
    check(&outcome, &[("sent", 30), ("received", 30), ("lost", 0), ("duplicates", 10), ("late", 0)]);
    // Neighbours differ by 20 and 30 ms and are sent 5 ms apart: three of five are overtaken by the one behind them.
    assert!(count(&outcome, "reordered") > 0);
    let (least, jitter) = (number(&outcome, "rtt_min"), number(&outcome, "jitter"));
    assert!(least >= 0.080 && (0.010..0.060).contains(&jitter), "{outcome:?}");
    let outcome = run::<Sweep>(&ours, "{ targets: [10.9.0.2], timeout: 1s }");
    check(&outcome, &[("alive", 1), ("dead", 0)]);
}

/// Fault case 4: a payload that was damaged on its way, with the old checksum and with one that is right again.
#[test]
fn a_damaged_answer_never_makes_a_host_alive() {
    let (ours, peer) = pair();
    let _scripted = Scripted::start(&peer, |count, request| {
        let mut message = reply(request);
        let length = message.len();
        message[8 + count * 5 % (length - 8)] ^= 1 << (count % 8);
        if count % 2 == 0 {
            seal(&mut message);
        }
        vec![Answer { message, ..after(0, request) }]
    });
    check_nobody_alive(&ours);
}

/// Pings, sweeps and waits for the peer as a user does; none of them may hear it.
#[track_caller]
fn check_nobody_alive(ours: &Namespace) {
    let (code, text) =
        ends(ours, &["ping", "10.9.0.2", "--count", "8", "--interval", "10ms", "--timeout", "300ms"]);
    assert!(code == Some(1) && text.contains("8 sent, 0 received, 8 lost, 100% loss"), "{code:?} {text}");
    let (_, text) = ends(ours, &["sweep", "10.9.0.2", "--method", "icmp", "--timeout", "200ms"]);
    assert!(text.contains("1 target, 0 alive, 1 dead"), "{text}");
    let (code, text) = ends(ours, &["wait", "icmp://10.9.0.2", "--timeout", "500ms"]);
    assert!(code != Some(0) && text.contains("no answer"), "{code:?} {text}");
}

/// Fault cases 9 to 11: host and network unreachable, prohibited, no route at all. Each is told by its name to pings, sweeps
/// and waits of one process, which goes on to look at a host that is there.
#[test]
fn every_dead_end_has_its_reason_and_the_program_lives() {
    let (ours, peer) = pair();
    ours.sh("ip -6 route add fd99::/64 via fd09::2");
    peer.sh("ip -6 route add local fd99::/64 dev lo; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit");
    ours.sh("ping -q -c 1 -W 5 fd99::9");
    let mut jobs = vec![];
    let ends = [
        ("host_unreachable", "10.99.1.1", "icmp type host-unreachable"),
        ("net_unreachable", "10.99.2.1", "icmp type net-unreachable"),
        ("admin_prohibited", "10.99.3.1", "icmp type admin-prohibited"),
        ("host_unreachable", "fd99::1", "icmpv6 type addr-unreachable"),
        ("net_unreachable", "fd99::2", "icmpv6 type no-route"),
        ("admin_prohibited", "fd99::3", "icmpv6 type admin-prohibited"),
        ("no_route", "192.0.2.1", ""),
        ("no_route", "2001:db8::1", ""),
    ];
    for (reason, host, reject) in ends {
        let family = if host.contains(':') { "ip6" } else { "ip" };
        if !reject.is_empty() {
            peer.sh(&format!("nft add rule inet t i {family} daddr {host} reject with {reject}"));
        }
        let (name, host) = (format!("{reason}.{family}"), Value::from(host));
        let wait = format!("icmp://{}", host.as_str().unwrap());
        jobs.extend([
            serde_json::json!({ "name": format!("ping.{name}"),
                "ping": { "host": host, "count": 3, "interval": "10ms", "timeout": "500ms" } }),
            serde_json::json!({ "name": format!("sweep.{name}"),
                "sweep": { "targets": [host], "timeout": "300ms" }, "expect": { "alive": 1 } }),
            serde_json::json!({ "name": format!("wait.{name}"), "wait": { "for": wait, "timeout": "2s" } }),
        ]);
    }
    let kinds = ["ping", "sweep", "wait"];
    let needed: Vec<_> = jobs.iter().map(|job| job["name"].clone()).collect();
    jobs.push(serde_json::json!({ "name": "good", "ping": { "host": "10.9.0.2", "count": 1 } }));
    let runs = once(&ours, &Value::from(jobs));
    for (reason, host, _) in ends {
        let family = if host.contains(':') { "ip6" } else { "ip" };
        for kind in kinds {
            let run = find(&runs, &format!("{kind}.{reason}.{family}"));
            let told = match kind {
                "ping" => run["reason"].as_str() == Some(reason),
                "sweep" => run["detail"]["hosts"][0]["reason"].as_str() == Some(reason),
                _ => run["message"].as_str().is_some_and(|message| message.contains(reason)),
            };
            assert!(told && run["verdict"] == "failed", "{run}");
        }
    }
    assert_eq!((find(&runs, "good")["verdict"].as_str(), runs.len()), (Some("passed"), needed.len() + 1));
}

/// A daemon inside a namespace, and how its runs end.
struct Watched {
    daemon: Daemon,
    /// Runs that started before this moment are of the past.
    since: Timestamp,
}

impl Watched {
    fn start(world: &Namespace, jobs: &str) -> (Self, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jobs.yaml"), jobs).unwrap();
        let mut command = netjobs(&["run", folder.path().to_str().unwrap()]);
        let daemon = world.run(move || Daemon::start(&mut command));
        (Self { daemon, since: Timestamp::now() }, folder)
    }

    /// The next end of a run of this job.
    #[track_caller]
    fn next(&mut self, job: &str) -> Value {
        loop {
            let record = self.daemon.process.line_with("\"run_finished\"");
            let record: Value = serde_json::from_str(&record).unwrap();
            let started: Timestamp = record["started"].as_str().unwrap().parse().unwrap();
            if record["job_name"] == job && started >= self.since {
                return record;
            }
        }
    }

    /// One of the next two runs of this job passes, or does not; gives it.
    #[track_caller]
    fn soon(&mut self, job: &str, passes: bool) -> Value {
        let ended = [self.next(job), self.next(job)];
        let found = ended.iter().find(|run| (run["verdict"] == "passed") == passes);
        found.unwrap_or_else(|| panic!("none of these is the one: {ended:?}")).clone()
    }
}

/// Fault case 13: a link flaps, here and at the peer. Whatever run was on its way may fail; the one after it passes.
#[test]
fn a_link_that_flaps_is_back_within_a_period() {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    let (here, there) = ours.link(&["10.9.0.1/24"], &peer, &["10.9.0.2/24"]);
    let jobs = "jobs: [{ name: p, every: 500ms, ping: { host: 10.9.0.2, count: 2, interval: 20ms, timeout: 200ms } }]";
    let (mut watched, _folder) = Watched::start(&ours, jobs);
    watched.soon("p", true);
    for (world, link) in [(&ours, here), (&peer, there)] {
        world.sh(&format!("ip link set {link} down"));
        watched.since = Timestamp::now();
        let failed = watched.soon("p", false);
        assert!(
            ["no_route", "timeout", "host_unreachable"].contains(&failed["reason"].as_str().unwrap()),
            "{failed}"
        );
        world.sh(&format!("ip link set {link} up"));
        watched.since = Timestamp::now();
        watched.soon("p", true);
    }
}

const OVER_A_LINK: &str = "
jobs:
  - name: named
    every: 500ms
    ping: { host: 10.9.0.2, source: eth7, count: 2, interval: 20ms, timeout: 200ms }
  - name: swept
    every: 500ms
    sweep: { targets: ['iface:eth7'], exclude: [10.9.0.1, 10.9.0.4-255], timeout: 200ms, method: icmp }
    expect: { alive: 1 }
  - name: other
    every: 500ms
    ping: { host: 127.0.0.1, count: 1 }
";

/// Fault case 14: an interface is renamed, and vanishes; what names it says so, what does not goes on, and all is well
/// once it is back.
#[test]
fn an_interface_that_goes_or_is_renamed_is_missed_by_name_and_found_again() {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    let addresses: [&[&str]; 2] = [&["10.9.0.1/24"], &["10.9.0.2/24"]];
    ours.join(("eth7", addresses[0]), &peer, ("eth8", addresses[1]));
    let (mut watched, _folder) = Watched::start(&ours, OVER_A_LINK);
    let all_pass = |watched: &mut Watched| {
        for job in ["named", "swept", "other"] {
            watched.soon(job, true);
        }
    };
    all_pass(&mut watched);
    let rename = |from: &str, to: &str| {
        ours.sh(&format!("ip link set {from} down; ip link set {from} name {to}; ip link set {to} up"));
    };
    let faults: [[&dyn Fn(); 2]; 2] = [
        [&|| rename("eth7", "lan0"), &|| rename("lan0", "eth7")],
        [&|| drop(ours.sh("ip link del eth7")), &|| {
            ours.join(("eth7", addresses[0]), &peer, ("eth8", addresses[1]));
        }],
    ];
    for [fault, cure] in faults {
        fault();
        watched.since = Timestamp::now();
        for job in ["named", "swept"] {
            // The run that the fault surprised may say how it ended; the next one finds no such interface.
            watched.soon(job, false);
            let missed = watched.next(job);
            assert!(
                missed["reason"] == "no_interface" && missed["message"].to_string().contains("eth7"),
                "{missed}"
            );
        }
        assert_eq!(watched.next("other")["verdict"], "passed");
        cure();
        watched.since = Timestamp::now();
        all_pass(&mut watched);
    }
}

/// Fault case 14: an interface vanishes in the middle of a ping and of a sweep; both say it of what was left, and end.
#[test]
fn an_interface_that_vanishes_in_the_middle_ends_nothing_early() {
    let (ours, peer) = (Namespace::new(), Namespace::new());
    let link = |addresses: [&[&str]; 2]| {
        ours.join(("eth7", addresses[0]), &peer, ("eth8", addresses[1]));
        ours.sh("ip route add 10.99.0.0/16 via 10.9.0.2");
    };
    peer.sh("ip route add local 10.99.0.0/16 dev lo");
    for (arguments, first, left, reason) in [
        (
            "ping 10.9.0.2 --source eth7 --count 20 --interval 50ms --timeout 500ms",
            "seq 3,",
            "seq 20,",
            "no_interface",
        ),
        ("ping 10.9.0.2 --count 20 --interval 50ms --timeout 500ms", "seq 3,", "seq 20,", "no_route"),
        (
            "sweep 10.99.0.0/23 --method icmp --rate 500/s --order plain --report all",
            "",
            "10.99.1.254\t",
            "no_route",
        ),
    ] {
        link([&["10.9.0.1/24"], &["10.9.0.2/24"]]);
        ours.sh("ping -q -c 1 -W 5 10.9.0.2");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut command = netjobs(&arguments);
        let mut running = ours.run(move || Running::start(&mut command));
        if first.is_empty() {
            // A sweep tells at its end: half a second is half of its first pass.
            ours.sh("sleep 0.5");
        } else {
            running.line_with(first);
        }
        ours.sh("ip link del eth7");
        let text = running.rest();
        let last = text.lines().find(|line| line.contains(left)).unwrap_or_else(|| panic!("{text}"));
        assert!(last.contains(reason), "{last}");
        if arguments[0] == "ping" {
            assert!(text.contains(" unsent, 0% loss"), "what was not sent is not told: {text}");
        }
        assert!(running.wait().is_some(), "it did not end by itself");
    }
}

/// Runs the program as a user who may nothing but what is named.
fn as_nobody(world: &Namespace, program: &str, rights: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(rights)
        .arg(program)
        .args(arguments);
    command.env("NO_COLOR", "1");
    said(world.run(move || command.output().unwrap()))
}

/// Fault case 47: without `CAP_NET_RAW` each kind that needs it says the cure and ends with 77; with it, and without
/// `CAP_NET_ADMIN` or any other right, all is well.
#[test]
fn a_missing_right_is_told_with_its_cure_and_no_more_is_asked_for_than_that_one() {
    let (ours, _peer) = pair();
    let (_folder, program) = reachable();
    let raw = ["--ambient-caps=+net_raw", "--inh-caps=+net_raw"];
    for arguments in [
        &["ping", "10.9.0.2", "--count", "1"][..],
        &["sweep", "10.9.0.2", "--method", "icmp"],
        &["wait", "icmp://10.9.0.2", "--timeout", "2s"],
    ] {
        let (code, text) = as_nobody(&ours, &program, &[], arguments);
        for word in ["setcap cap_net_raw+p", "net.ipv4.ping_group_range", "securityContext"] {
            assert!(text.contains(word), "{arguments:?}: {text}");
        }
        assert_eq!(code, Some(77), "{arguments:?}: {text}");
        let (code, text) = as_nobody(&ours, &program, &raw, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
    }
}

/// Fault case 53: forged answers. Each request is answered twenty times: from another host, with other bytes, cut, lengthened,
/// by itself, and with a payload that was right for the request before.
#[test]
fn forgers_make_nobody_alive() {
    let (ours, peer) = pair();
    let mut before = vec![0; 64];
    let _scripted = Scripted::start(&peer, move |count, request| {
        let forge = |number: usize| {
            let mut message = reply(request);
            match number % 5 {
                0 => return Answer { from: OTHER, ..after(0, request) },
                1 => message[8 + (count + number) % 56] ^= 0x10,
                2 => message.truncate(24 + number),
                3 => message.extend([0; 4]),
                _ => {
                    let length = message.len().min(before.len());
                    message[8..length].copy_from_slice(&before[8..length]);
                }
            }
            seal(&mut message);
            Answer { from: PEER, message, ..after(0, request) }
        };
        let mut answers: Vec<_> = (0..20).map(forge).collect();
        answers.push(Answer { from: PEER, message: request.to_vec(), ..after(0, request) });
        before = request.to_vec();
        answers
    });
    check_nobody_alive(&ours);
    // The forger answers for these, too.
    peer.sh("ip route del local 10.99.0.0/16 dev lo; \
             ip route add 10.99.0.0/16 dev $(ip -o route show 10.9.0.2 | sed 's/.*dev \\([^ ]*\\).*/\\1/')");
    let (_, text) =
        ends(&ours, &["sweep", "10.99.0.0/24", "--timeout", "200ms", "--rate", "max", "--method", "icmp"]);
    assert!(text.contains("254 targets, 0 alive, 254 dead"), "{text}");
}

/// Fault case 54: two runners at once, with raw sockets and with ping sockets. Each hears the other's answers, and credits none.
#[test]
fn two_runners_beside_each_other_find_all_and_credit_nothing_of_the_other() {
    let (ours, _peer) = pair();
    ours.sh("echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range");
    let (folder, program) = reachable();
    let jobs = "
jobs:
  - name: swept
    sweep: { targets: [10.99.0.0/22], rate: max, method: icmp, timeout: 2s, report: none }
  - name: pinged
    ping: { host: 10.9.0.2, count: 300, interval: 2ms, timeout: 2s }
";
    std::fs::write(folder.path().join("jobs.yaml"), jobs).unwrap();
    let file = folder.path().join("jobs.yaml").display().to_string();
    for user in ["0", "65534"] {
        let start = |_| {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]);
            command.args([&program, "once", &file, "--json", "-"]).env("NO_COLOR", "1");
            command.stdout(Stdio::piped());
            ours.run(move || command.spawn().unwrap())
        };
        let runners: Vec<_> = (0..2).map(start).collect();
        for runner in runners {
            let output = runner.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let runs: Vec<_> = records.filter(|record| record["event"] == "run_finished").collect();
            let swept = &find(&runs, "swept")["samples"];
            assert!(swept["alive"] == 1022 && swept["dead"] == 0, "as {user}: {swept}");
            let pinged = &find(&runs, "pinged")["samples"];
            for (name, wanted) in
                [("sent", 300), ("received", 300), ("duplicates", 0), ("late", 0), ("reordered", 0)]
            {
                assert_eq!(pinged[name], wanted, "as {user}, {name}: {pinged}");
            }
        }
    }
}
