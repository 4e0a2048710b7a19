//! When answers come, against a script whose times are exact: in time, late, overtaken, doubled; and when probes go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    net::IpAddr,
    process::Stdio,
    sync::mpsc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use netjobs::{
    kind::ping::Ping,
    outcome::{Notice, Reason},
};
use serde_json::Value;

use super::{check, count, notices, number, responder::Responder, run, try_run};
use crate::{netns::Namespace, program::netjobs};

const HOSTS: [&str; 2] = ["10.9.0.2", "fd09::2"];
/// In milliseconds, against a timeout of two seconds: the script itself may be a second late on a busy machine.
const DELAYS: [u64; 8] = [2100, 900, 0, 1, 50, 0, 1, 50];

/// How much longer than its delay the best round trip may be.
const EXACT: Duration = Duration::from_micros(100);

/// Cases 9 and 10 of the sweep's list: each answer falls into its class, those in time tell the time that the script took, and a
/// late one is counted late and not as the next one. A busy machine may be late itself: the best of several is exact.
#[test]
fn scripted_delays_fall_into_their_classes_and_are_told_to_a_tenth_of_a_millisecond() {
    let ours = Namespace::new();
    let _responder =
        Responder::start(&ours, |request| vec![request.reply().after(DELAYS[request.number % 8])]);
    for host in HOSTS {
        let mut best = BTreeMap::new();
        let is_exact = |best: &BTreeMap<u64, Duration>| best.values().all(|over| *over < EXACT);
        for _ in 0..12 {
            check_classes(&ours, host, &mut best);
            if is_exact(&best) {
                break;
            }
        }
        assert!(best.len() == 4 && is_exact(&best), "{host}: longer than the delay by {best:?}");
    }
}

/// Pings once, and notes the least that a round trip was longer than its delay.
fn check_classes(ours: &Namespace, host: &str, best: &mut BTreeMap<u64, Duration>) {
    let ran = try_run::<Ping>(ours, &format!("{{ host: '{host}', count: 80, interval: 5ms, timeout: 2s }}"));
    let outcome = ran.result.unwrap();
    check(&outcome, &[("sent", 80), ("received", 70), ("lost", 10), ("duplicates", 0)]);
    // The last of them come when the run is over.
    assert!((5..=10).contains(&count(&outcome, "late")), "{outcome:?}");
    let mut answers = 0;
    for notice in notices(&ran.recorder) {
        let Notice::Answer { sequence, rtt, reason, .. } = notice else { continue };
        answers += 1;
        let at = usize::try_from(sequence - 1).unwrap() % 8;
        match rtt {
            Some(rtt) => {
                let delay = Duration::from_millis(DELAYS[at]);
                assert!(rtt >= delay && at > 0, "{sequence}: {rtt:?} for {delay:?}");
                let least = best.entry(DELAYS[at]).or_insert(Duration::MAX);
                *least = (*least).min(rtt.checked_sub(delay).unwrap());
            }
            None => assert_eq!((at, reason), (0, Some(Reason::Timeout)), "{sequence}"),
        }
    }
    assert_eq!(answers, 80);
}

/// Case 11 of the sweep's list: an answer that was overtaken is reordered.
#[test]
fn an_answer_that_was_overtaken_is_reordered() {
    let ours = Namespace::new();
    let _responder =
        Responder::start(&ours, |request| vec![request.reply().after([1000, 0][request.number % 2])]);
    for host in HOSTS {
        let outcome =
            run::<Ping>(&ours, &format!("{{ host: '{host}', count: 2, interval: 20ms, timeout: 5s }}"));
        check(&outcome, &[("sent", 2), ("received", 2), ("reordered", 1), ("late", 0), ("duplicates", 0)]);
    }
}

/// Case 12 of the sweep's list: an answer that comes thrice is one answer and two duplicates, and never a negative loss.
#[test]
fn doubled_answers_never_make_a_negative_loss() {
    let ours = Namespace::new();
    let _responder =
        Responder::start(&ours, |request| [0, 5, 10].map(|delay| request.reply().after(delay)).into());
    for host in HOSTS {
        let yaml = format!("{{ host: '{host}', count: 4, interval: 50ms, timeout: 2s }}");
        let outcome = run::<Ping>(&ours, &yaml);
        check(&outcome, &[("sent", 4), ("received", 4), ("lost", 0), ("late", 0)]);
        // The copies of the last answer come after the run.
        assert!(count(&outcome, "duplicates") >= 6, "{outcome:?}");
        assert!(number(&outcome, "loss").abs() < f64::EPSILON);
    }
}

/// Case 17 of the sweep's list: a thousand jobs at one a second are to start evenly spread over it, and each sends one echo a
/// second and no more; how late a busy machine is with them is not judged.
#[test]
fn a_thousand_jobs_spread_over_their_second() {
    let ours = Namespace::new();
    let (sender, arrivals) = mpsc::sync_channel::<(Instant, IpAddr)>(100_000);
    let _responder = Responder::start(&ours, move |request| {
        sender.send((request.at, request.to)).unwrap();
        vec![request.reply()]
    });
    let mut yaml = "jobs:\n".to_owned();
    for job in 0..1000 {
        let host = format!("10.99.{}.{}", job / 250, job % 250);
        let _ = writeln!(yaml, "  - {{ name: '{host}', every: 1s, ping: {{ host: {host}, count: 1 }} }}");
    }
    let folder = tempfile::tempdir().unwrap();
    let [file, log] = ["many.yaml", "log"].map(|name| folder.path().join(name));
    fs::write(&file, yaml).unwrap();
    let mut command = netjobs(&["run", file.to_str().unwrap()]);
    command.stdout(File::create(&log).unwrap()).stderr(Stdio::null());
    let _running = ours.spawn(command);
    let mut echoes: BTreeSet<IpAddr> = BTreeSet::new();
    let mut starts = BTreeMap::new();
    let (mut first, mut looked, mut total) = (None, 1, 0);
    loop {
        let (at, host) = arrivals.recv_timeout(Duration::from_secs(20)).expect("the jobs do not start");
        echoes.insert(host);
        total += 1;
        let seconds = at.duration_since(*first.get_or_insert(at)).as_secs();
        if seconds > looked {
            looked = seconds;
            if starts.len() < 1000 {
                starts = read_starts(&fs::read_to_string(&log).unwrap());
            }
            let missing = 1000 - starts.keys().filter(|host| echoes.contains(*host)).count();
            if missing == 0 {
                check_even(&starts);
                break;
            }
            assert!(seconds < 25, "{missing} jobs have not sent an echo");
        }
    }
    assert!(total <= 1000 * (looked + 2), "{total} echoes in {looked} seconds");
}

/// Asserts that each tenth of a second has about a tenth of the starts.
#[track_caller]
fn check_even(starts: &BTreeMap<IpAddr, i32>) {
    let mut tenths = [0; 10];
    for start in starts.values() {
        tenths[usize::try_from(start / 100).unwrap()] += 1;
    }
    assert!(
        tenths.iter().all(|jobs| (60..=140).contains(jobs)),
        "starts in each tenth of a second: {tenths:?}"
    );
}

/// The millisecond of its second at which each job is to start, as the log says.
fn read_starts(log: &str) -> BTreeMap<IpAddr, i32> {
    let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let finished = records.filter(|record| record["event"] == "run_finished");
    let start = |record: Value| {
        let scheduled: Timestamp = record["scheduled"].as_str().unwrap().parse().unwrap();
        (record["job_name"].as_str().unwrap().parse().unwrap(), scheduled.subsec_millisecond())
    };
    finished.map(start).collect()
}
