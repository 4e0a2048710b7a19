//! A network that lies and fails: names that do not resolve, services that refuse, are silent, or accept and say nothing.
//! Each job has a reason of its own, and none goes past its deadline or takes another down. Fault case 55 is here.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use serde_json::Value;

use crate::{
    nameserver::{self, Answer, Script},
    netns::Namespace,
    program::netjobs,
};

/// How much later than its deadline a run may end here, where other tests run beside it. Alone it is 50 ms:
/// `benches/run deadlines` measures that.
const SLACK: f64 = 0.25;

/// A world with a name server of its own; `None`: without any server.
pub(crate) fn world(script: Option<Script>) -> Namespace {
    let namespace = Namespace::new();
    namespace.run(move || {
        // The thread's own mounts, so that the file below is its resolv.conf alone.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = if script.is_some() { "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n" } else { "" };
        fs::write(file.path(), text).unwrap();
        mount(Some(file.path()), "/etc/resolv.conf", nothing, MsFlags::MS_BIND, nothing).unwrap();
        // The mount keeps the file; its name may go.
        drop(file);
        if let Some(script) = script {
            nameserver::serve(script);
        }
    });
    namespace
}

/// Runs jobs once in a world, and gives their `run_finished` records.
pub(crate) fn once(world: &Namespace, jobs: &Value) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("jobs.yaml"), folder.path().join("log.json"));
    fs::write(&file, serde_json::json!({ "jobs": jobs }).to_string()).unwrap();
    let mut command = netjobs(&["once", &file.display().to_string(), "--json", &log.display().to_string()]);
    let output = world.run(move || command.output().unwrap());
    let records = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let finished = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    finished.filter(|record| record["event"] == "run_finished").collect()
}

#[track_caller]
pub(crate) fn find<'a>(runs: &'a [Value], job: &str) -> &'a Value {
    runs.iter().find(|run| run["job_name"] == job).unwrap_or_else(|| panic!("no run of {job} in {runs:?}"))
}

#[track_caller]
fn check(runs: &[Value], job: &str, verdict: &str, reason: &str, within: f64) {
    let run = find(runs, job);
    let said = (run["verdict"].as_str().unwrap(), run["reason"].as_str().unwrap_or_default());
    assert_eq!(said, (verdict, reason), "{run}");
    let duration = run["duration_seconds"].as_f64().unwrap();
    assert!(duration <= within + SLACK, "{job} took {duration} s of {within} s");
}

fn here(_: &str) -> Answer {
    Answer::Addresses(vec![Ipv4Addr::LOCALHOST.into()])
}

/// Each kind of bad answer is a `dns` of the one job that asked, and each good one is used.
#[test]
fn case_55_every_answer_of_a_name_server_ends_its_own_job_alone() {
    let turns = AtomicU8::new(0);
    let many = (0..4000u32).map(|n| IpAddr::from(Ipv4Addr::from(0x7f01_0000 + n))).collect::<Vec<_>>();
    let world = world(Some(Arc::new(move |name| match name {
        "gone.test" => Answer::Nxdomain,
        "failing.test" => Answer::Servfail,
        "silent.test" => Answer::Silence,
        "circle.test" => Answer::Circle,
        "big.test" => Answer::Truncated(many.clone()),
        "six.test" => Answer::Addresses(vec!["::1".parse().unwrap()]),
        "changing.test" => {
            let last = turns.fetch_add(1, Ordering::Relaxed) % 200 + 1;
            Answer::Addresses(vec![Ipv4Addr::new(127, 0, 2, last).into()])
        }
        other => here(other),
    })));
    let exchange = |host: &str| {
        serde_json::json!({ "name": host, "needs": ["echo"],
            "exchange": { "to": format!("{host}:7000"), "send": "hello", "timeout": "1s" } })
    };
    let mut jobs = vec![serde_json::json!({ "name": "echo", "echo": { "listen": "[::]:7000" } })];
    let names = ["good", "gone", "failing", "silent", "circle", "big", "six", "changing"];
    jobs.extend(names.map(|name| exchange(&format!("{name}.test"))));
    let runs = once(&world, &jobs.into());
    for good in ["good.test", "big.test", "six.test", "changing.test"] {
        check(&runs, good, "passed", "", 1.0);
    }
    for bad in ["gone.test", "failing.test", "circle.test"] {
        check(&runs, bad, "failed", "dns", 1.0);
    }
    let silent = find(&runs, "silent.test");
    assert_eq!(silent["verdict"], "failed", "{silent}");
    assert!(silent["duration_seconds"].as_f64().unwrap() <= 1.0 + SLACK, "{silent}");
}

#[test]
fn case_55_without_any_name_server_names_fail_at_once_and_addresses_work() {
    let world = world(None);
    let runs = once(
        &world,
        &serde_json::json!([
            { "name": "echo", "echo": { "listen": "127.0.0.1:7000" } },
            { "name": "name", "exchange": { "to": "db.test:7000", "send": "x", "timeout": "2s" } },
            { "name": "address", "needs": ["echo"], "exchange": { "to": "127.0.0.1:7000", "send": "x" } },
            { "name": "listener", "echo": { "listen": "db.test:7001" } },
        ]),
    );
    check(&runs, "name", "failed", "dns", 2.0);
    check(&runs, "listener", "errored", "dns", 2.0);
    assert!(find(&runs, "listener")["hint"].as_str().unwrap().contains("write an address"), "{runs:?}");
    check(&runs, "address", "passed", "", 2.0);
}

#[test]
fn one_name_that_does_not_resolve_leaves_the_other_ninety_nine_running() {
    let world = world(Some(Arc::new(|name| if name == "gone.test" { Answer::Nxdomain } else { here(name) })));
    let job = |number: u32| {
        let host = if number == 42 { "gone.test".to_owned() } else { format!("127.0.0.{number}") };
        serde_json::json!({ "name": format!("target-{number}"), "ping": { "host": host, "count": 1, "timeout": "2s" } })
    };
    let runs = once(&world, &(1..=100).map(job).collect());
    assert_eq!(runs.len(), 100);
    assert_eq!(runs.iter().filter(|run| run["verdict"] == "passed").count(), 99, "{runs:?}");
    let gone = find(&runs, "target-42");
    assert_eq!((gone["reason"].as_str(), gone["verdict"] == "passed"), (Some("dns"), false), "{gone}");
}

/// Refused, silent, and a service that accepts and says nothing: three reasons, three deadlines kept.
#[test]
fn a_silent_a_refusing_and_a_mute_service_each_have_their_reason_and_keep_the_deadline() {
    let world = world(None);
    world.sh("nft add table inet t && nft 'add chain inet t i { type filter hook input priority 0 ; }' && \
         nft add rule inet t i tcp dport 7001 drop");
    let _mute = world.run(|| TcpListener::bind("127.0.0.1:7002").unwrap());
    let exchange = |name: &str, port: u16| {
        serde_json::json!({ "name": name, "exchange":
            { "to": format!("127.0.0.1:{port}"), "send": "hello", "timeout": "700ms" } })
    };
    let wait = |name: &str, port: u16| serde_json::json!({ "name": name, "wait": { "for": format!("http://127.0.0.1:{port}/"), "timeout": "700ms" } });
    let jobs = [
        exchange("silent", 7001),
        exchange("mute", 7002),
        exchange("refusing", 7003),
        wait("wait-silent", 7001),
        wait("wait-mute", 7002),
        wait("wait-refusing", 7003),
    ];
    let runs = once(&world, &jobs.into_iter().collect());
    let patience = Duration::from_millis(700).as_secs_f64();
    check(&runs, "silent", "failed", "connect_timeout", patience);
    check(&runs, "mute", "failed", "timeout", patience);
    check(&runs, "refusing", "failed", "refused", 0.0);
    for (job, cause) in
        [("wait-silent", "connect_timeout"), ("wait-mute", "timeout"), ("wait-refusing", "refused")]
    {
        check(&runs, job, "failed", "timeout", patience);
        assert_eq!(find(&runs, job)["samples"]["last_reason"], cause);
    }
}
