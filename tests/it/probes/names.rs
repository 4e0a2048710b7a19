//! Names that do not resolve, resolve late, or resolve to one family only, by a name server of the test's own. Fault
//! case 55 of the list of faults, as far as a wait meets it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    sync::{Arc, Mutex},
};

use netjobs::{
    kind::wait::Wait,
    outcome::{Outcome, Verdict},
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use tokio::time::{Duration, Instant};

use super::{run, wait::check_timeout};
use crate::{
    nameserver::{self, Answer},
    netns::Namespace,
    program::{Daemon, netjobs},
};

/// What the name server says of a name, `age` after its first question.
fn answer(name: &str, age: Duration) -> Answer {
    let v4 = || Answer::Addresses(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]);
    match name {
        "fails.test" => Answer::Servfail,
        "silent.test" => Answer::Silence,
        "circle.test" => Answer::Circle,
        "heals.test" if age < Duration::from_millis(700) => Answer::Nxdomain,
        "slow.test" if age < Duration::from_millis(1300) => Answer::Silence,
        "heals.test" | "slow.test" => v4(),
        "six.test" => Answer::Addresses(vec![Ipv6Addr::LOCALHOST.into()]),
        _ => Answer::Nxdomain,
    }
}

fn serve() {
    let first = Mutex::new(HashMap::new());
    nameserver::serve(Arc::new(move |name| {
        let age = first.lock().unwrap().entry(name.to_owned()).or_insert_with(Instant::now).elapsed();
        answer(name, age)
    }));
}

/// A world with a name server of its own, and a service on port 80 of both loopback addresses.
struct World {
    namespace: Namespace,
    _services: [TcpListener; 2],
    _file: tempfile::NamedTempFile,
}

impl World {
    fn new() -> Self {
        Self::with("timeout:1 attempts:2")
    }

    /// One in which programs ask the name server in this way.
    fn with(options: &str) -> Self {
        let namespace = Namespace::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("nameserver 127.0.0.1\noptions {options}\n")).unwrap();
        namespace.run(|| unshare(CloneFlags::CLONE_NEWNS).unwrap());
        let path = file.path().display();
        namespace.sh(&format!("mount --make-rprivate /; mount --bind {path} /etc/resolv.conf"));
        let services = namespace.run(|| {
            serve();
            ["127.0.0.1:80", "[::1]:80"].map(|at| TcpListener::bind(at).unwrap())
        });
        Self { namespace, _services: services, _file: file }
    }

    fn wait(&self, yaml: &'static str) -> (Outcome, Duration) {
        self.namespace.block_on(move || run::<Wait>(yaml))
    }

    #[track_caller]
    fn check_missing(&self, yaml: &'static str, timeout: u64) {
        check_timeout(&self.namespace, yaml, timeout, "dns");
    }

    #[track_caller]
    fn check_passed(&self, yaml: &'static str, at_most: u64) {
        let (outcome, took) = self.wait(yaml);
        assert_eq!(outcome.verdict, Verdict::Passed, "{yaml}: {outcome:?}");
        assert!(took <= Duration::from_millis(at_most), "{yaml} took {took:?}");
    }
}

/// Fault case 55: NXDOMAIN, SERVFAIL, silence, a circle.
#[test]
fn a_name_that_does_not_resolve_is_not_there_yet_and_no_deadline_is_overshot() {
    let world = World::new();
    world.check_missing("{ for: 'nosuch.test:80', timeout: 400ms }", 400);
    world.check_missing("{ for: 'fails.test:80', timeout: 400ms }", 400);
    world.check_missing("{ for: 'circle.test:80', timeout: 400ms }", 400);
    world.check_missing("{ for: 'silent.test:80', timeout: 1500ms }", 1500);
    // That a name is unknown does not prove that the service is down.
    world.check_missing("{ for: 'nosuch.test:80', until: down, timeout: 400ms }", 400);
}

/// Fault case 55: a name that changes, a slow server, AAAA only.
#[test]
fn a_name_that_heals_is_noticed_and_a_slow_server_is_waited_for() {
    let world = World::new();
    world.check_passed("{ for: 'heals.test:80', timeout: 20s }", 1800);
    world.check_passed("{ for: 'slow.test:80', timeout: 20s }", 3500);
    world.check_passed("{ for: 'six.test:80', timeout: 20s }", 500);
    world.check_missing("{ for: 'six.test:80', family: 4, timeout: 400ms }", 400);
}

/// Fault case 55: silence, where a reload and a plan need names to listen on.
#[test]
fn a_reload_that_needs_a_silent_name_server_is_given_up_and_holds_no_other() {
    let world = World::with("timeout:30 attempts:5");
    world.namespace.run(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let job = |name: &str, at: &str| format!("  - {{ name: {name}, echo: {{ listen: '{at}' }} }}\n");
        std::fs::write(file("a.yaml"), format!("jobs:\n{}", job("a", "127.0.0.1:7"))).unwrap();
        let path = folder.path().to_str().unwrap();
        let daemon = Daemon::start(&mut netjobs(&["run", path, "--no-watch", "--web.enable-lifecycle"]));
        let silent = |number| job(&format!("s{number}"), &format!("silent.test:{}", 8000 + number));
        let silent: String = (0..5).map(silent).collect();
        std::fs::write(file("b.yaml"), format!("jobs:\n{silent}{}", job("b", "127.0.0.1:8"))).unwrap();
        for (method, path) in [("POST", "/-/reload"), ("GET", "/api/v1/plan")] {
            let begun = Instant::now();
            let answer = daemon.request(method, path);
            assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
            let why = "resolve what it listens on: name servers were silent for 10 s";
            for number in 0..5 {
                assert!(answer.contains(&format!("job `s{number}`: {why}")), "{answer}");
            }
            assert!(!answer.contains("job `b`"), "{answer}");
        }
        std::fs::remove_file(file("b.yaml")).unwrap();
        assert!(daemon.request("POST", "/-/reload").contains("1 kept"));
        assert_eq!(daemon.process.end(Signal::SIGTERM), Some(0));
    });
}
