//! What people see of `once` and of the verbs.

use serde_json::json;

use super::*;
use crate::{
    outcome::{Cause, Detail, Measure, Reason, Sample, Samples, Unit},
    sink::testing::{self, Paper, job, noon},
};

const PING: &[Measure] = &[
    Measure { name: "loss", unit: Unit::Ratio, own: None, help: "" },
    Measure { name: "rtt_min", unit: Unit::Seconds, own: None, help: "" },
    Measure { name: "rtt_avg", unit: Unit::Seconds, own: None, help: "" },
    Measure { name: "rtt_max", unit: Unit::Seconds, own: None, help: "" },
];

const FORWARD: &[Measure] = &[Measure { name: "sent_bytes", unit: Unit::Bytes, own: None, help: "" }];

fn show(mode: Mode, look: Look, events: impl IntoIterator<Item = Event>) -> (String, String) {
    let (out, err) = (Paper::default(), Paper::default());
    let units = Units::new([("ping", PING), ("sweep", PING), ("forward", FORWARD)]);
    let mut console = Console::new(mode, look, units, out.writer(), err.writer());
    events.into_iter().for_each(|event| console.event(&event));
    console.close();
    (out.text(), err.text())
}

fn verb(events: impl IntoIterator<Item = Event>) -> (String, String) {
    show(Mode::Verb, Look::default(), events)
}

fn finished(kind: &'static str, samples: &[(&'static str, Sample)], detail: impl Into<Detail>) -> Event {
    let mut run = testing::finished(kind, kind, Verdict::Passed);
    run.samples = vec![Samples { family: None, values: samples.to_vec() }];
    run.detail = detail.into();
    Event::RunFinished(Box::new(run))
}

#[test]
fn once_prints_a_line_a_job_what_did_not_hold_and_a_count() {
    let mut broken = testing::finished("raw", "ping", Verdict::Errored);
    broken.reason = Some(Reason::Permission);
    broken.message = Some("open a raw ICMP socket: not permitted \u{1b}[2J".into());
    broken.hint = Some("needs CAP_NET_RAW".into());
    broken.expectations.clear();
    let jobs = ["web", "gateway", "raw", "late", "never"].map(|name| job(name, "ping"));
    let (out, err) = show(
        Mode::Once,
        Look::default(),
        [
            Event::Started { jobs: jobs.to_vec() },
            testing::run("web", "ping", Verdict::Passed),
            testing::run("gateway", "ping", Verdict::Failed),
            Event::RunFinished(Box::new(broken)),
            Event::RunSkipped { job: job("late", "ping"), scheduled: noon(), cause: Cause::Needs, count: 1 },
            testing::run("late", "ping", Verdict::Skipped),
            Event::LeftOut { name: "other".into(), why: "only_on names other hosts".into() },
            Event::Stopped,
        ],
    );
    let wanted = "\
PASS web (ping) 12.5 ms
FAIL gateway (ping): expectation: loss is 25%, wanted <= 5%
  loss: wanted <= 5%, measured 25%
ERROR raw (ping): permission: open a raw ICMP socket: not permitted \\u{1b}[2J
  hint: needs CAP_NET_RAW
SKIP late (ping): needs
5 jobs: 1 passed, 1 failed, 1 errored, 1 skipped, 1 not run
";
    assert_eq!(out, wanted);
    assert_eq!(err, "other left out: only_on names other hosts\n");
}

#[test]
fn colour_is_there_only_where_it_is_wanted() {
    let look = Look { colour: true, ..Look::default() };
    let (out, _) = show(Mode::Once, look, [testing::run("web", "ping", Verdict::Passed)]);
    assert_eq!(out, "\u{1b}[32mPASS\u{1b}[0m web (ping) 12.5 ms\n1 job: 1 passed\n");
}

#[test]
fn ping_prints_a_line_an_answer_and_a_summary() {
    let answer = |sequence, rtt: Option<u64>, reason| {
        let notice = Notice::Answer {
            sequence,
            from: "10.0.2.2".into(),
            rtt: rtt.map(std::time::Duration::from_micros),
            reason,
            note: if rtt.is_some() { "ttl=64".into() } else { String::new() },
        };
        testing::notice(job("ping", "ping"), notice)
    };
    let samples = [
        ("sent", Sample::Count(2)),
        ("received", Sample::Count(1)),
        ("lost", Sample::Count(1)),
        ("duplicates", Sample::Count(0)),
        ("loss", Sample::Number(0.5)),
        ("rtt_min", Sample::Number(0.000_213)),
        ("rtt_avg", Sample::Number(0.000_213)),
        ("rtt_max", Sample::Number(0.000_213)),
        ("ttl", Sample::Count(64)),
    ];
    let (out, _) = verb([
        answer(1, Some(213), None),
        answer(2, None, Some(Reason::Timeout)),
        finished("ping", &samples, serde_json::Value::Null),
    ]);
    let wanted = "\
10.0.2.2: seq 1, 213 µs, ttl=64
10.0.2.2: seq 2, timeout
2 sent, 1 received, 1 lost, 50% loss, rtt min/avg/max 213 µs/213 µs/213 µs, ttl 64
";
    assert_eq!(out, wanted);
}

#[test]
fn a_sweep_shows_its_hosts_once_and_then_what_changed() {
    let samples = [("targets", Sample::Count(2)), ("alive", Sample::Count(1)), ("dead", Sample::Count(1))];
    let run = || finished("sweep", &samples, testing::hosts());
    let (out, err) =
        verb([testing::notices().swap_remove(4), run(), testing::notices().swap_remove(1), run()]);
    let wanted = "\
10.0.2.2\talive\techo\t200 µs
10.0.2.3\tsilent\ttimeout\t-
2 targets, 1 alive, 1 dead
10.0.2.3 alive -> silent (timeout)
2 targets, 1 alive, 1 dead
";
    assert_eq!((out.as_str(), err.as_str()), (wanted, ""));
}

#[test]
fn interfaces_are_a_table_of_name_state_mac_mtu_and_addresses() {
    let detail = json!({ "interfaces": [{
        "name": "eth0", "index": 2, "mac": "02:00:00:00:00:01", "mtu": 1500, "oper_state": "UP",
        "addresses": [
            { "address": "10.0.2.15", "prefix_length": 24 },
            { "address": "fe80::1", "prefix_length": 64 },
        ],
    }] });
    let run =
        || finished("interfaces", &[("count", Sample::Count(1)), ("up", Sample::Count(1))], detail.clone());
    let (out, _) = verb([run()]);
    assert_eq!(out, "eth0\tUP\t02:00:00:00:00:01\t1500\t10.0.2.15/24, fe80::1/64\n1 found, 1 up\n");
    let (framed, _) = show(Mode::Verb, Look { terminal: true, ..Look::default() }, [run()]);
    assert!(framed.contains("addresses") && framed.contains("fe80::1/64"), "{framed}");
}

#[test]
fn a_wait_says_what_it_sees_and_a_service_where_it_is() {
    let (out, _) = verb([testing::notices().swap_remove(3)]);
    assert_eq!(out, "waiting for tcp://db:5432: refused\n");
    let ready = Event::JobReady { job: job("forward", "forward"), addresses: vec!["tcp://[::1]:80".into()] };
    let (out, err) = verb([ready, testing::notices().swap_remove(0), testing::notices().swap_remove(5)]);
    let wanted = "\
forward ready on tcp://[::1]:80
127.0.0.1:40123 -> tcp://127.0.0.1:80 finished: 100 B in, 4.00 KiB out, 12.0 ms
";
    assert_eq!(out, wanted);
    assert_eq!(err, "n (forward): out of descriptors: accepting again in 100 ms\n");
}

#[test]
fn a_service_that_is_to_end_says_how_and_names_no_noughts() {
    let ready = Event::JobReady { job: job("forward", "forward"), addresses: vec!["tcp://[::1]:80".into()] };
    let samples = [("connections", Sample::Count(2)), ("sent_bytes", Sample::Count(4096))];
    let over = finished("forward", &samples, json!({ "dropped_datagrams": 0, "cut_datagrams": 3 }));
    let (out, err) = verb([ready, Event::Stopping, over]);
    assert_eq!(out, "forward ready on tcp://[::1]:80\ncut datagrams: 3\n2 connections, 4.00 KiB sent\n");
    assert_eq!(err, "ending; open connections may finish, a second signal ends them at once\n");
    let (_, err) = verb([finished("ping", &[], json!({})), Event::Stopping]);
    assert_eq!(err, "");
}

#[test]
fn any_record_is_shown_without_knowing_its_kind() {
    let detail = json!({
        "why": "no default route",
        "reasons": ["a", "b"],
        "supported": true,
        "children": [{ "pid": 7, "exit": "0" }],
        "nested": { "x": 1 },
        "none": null,
    });
    let (out, _) = verb([finished("ipv6", &[("supported", Sample::Flag(true))], detail)]);
    assert_eq!(out, "7\t0\nwhy: no default route\nreasons: a, b\nsupported yes\n");
}

#[test]
fn one_of_a_thing_is_not_many_and_a_time_in_a_table_is_a_time() {
    let detail = json!({ "targets": [{ "for": "tcp://db:5432", "rtt_min": 0.012 }] });
    let (out, _) = verb([finished("ping", &[("attempts", Sample::Count(1))], detail)]);
    assert_eq!(out, "tcp://db:5432\t12.0 ms\n1 attempt\n");
}

#[test]
fn both_families_have_a_line_each() {
    let mut run = testing::finished("ping", "ping", Verdict::Passed);
    run.samples = ["ipv4", "ipv6"]
        .map(|family| Samples { family: Some(family), values: vec![("sent", Sample::Count(4))] })
        .to_vec();
    let (out, _) = verb([Event::RunFinished(Box::new(run))]);
    assert_eq!(out, "ipv4: 4 sent\nipv6: 4 sent\n");
}

#[test]
fn a_check_that_fails_says_why_and_one_that_cannot_look_complains_on_stderr() {
    let (out, err) = verb([testing::run("ping", "ping", Verdict::Failed)]);
    assert!(
        out.ends_with("failed: expectation: loss is 25%, wanted <= 5%\n  loss: wanted <= 5%, measured 25%\n")
    );
    assert_eq!(err, "");
    let mut run = testing::finished("ping", "ping", Verdict::Errored);
    run.samples.clear();
    run.hint = Some("needs CAP_NET_RAW".into());
    let (out, err) = verb([Event::RunFinished(Box::new(run))]);
    assert_eq!(out, "");
    assert_eq!(err, "error: expectation: loss is 25%, wanted <= 5%\nhint: needs CAP_NET_RAW\n");
}
