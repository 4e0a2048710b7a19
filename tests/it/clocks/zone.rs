//! Zones as a user sees them: a machine without any, one that does not exist, and what `next` says around a change.

use std::{fs, process::Command};

use crate::program::{check, netjobs};

const JOBS: &str = "jobs:
  - { name: nightly, cron: '30 2 * * *', timezone: Europe/Berlin, jitter: 5s, missed: once, ipv6: {} }
  - { name: often, cron: '*/30 1-3 * * *', timezone: Europe/Berlin, ipv6: {} }
  - name: office
    open: { cron: '30 2 * * *', timezone: Europe/Berlin, for: 10h }
    echo: { listen: 127.0.0.1:0 }
";

fn jobs(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.yaml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// Fault case 41: zones are known where the machine has none, and one that nobody knows is an error with its place.
#[test]
fn zones_need_nothing_of_the_machine_and_an_unknown_one_is_an_error() {
    let (_folder, path) = jobs(JOBS);
    let span = ["--from", "2027-03-27T00:00:00Z", "--until", "2027-03-30T00:00:00Z"];
    let usual = check(&[&["next", &path], &span[..]].concat(), 0);
    assert!(usual.contains("+01:00") && usual.contains("+02:00"), "{usual}");
    let script = "mount -t tmpfs none /usr/share/zoneinfo 2>/dev/null || test ! -e /usr/share/zoneinfo; exec \"$0\" \"$@\"";
    let mut bare = Command::new("unshare");
    bare.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_netjobs"), "next", &path]).args(span);
    let odd = [("TZDIR", "/nonexistent"), ("TZ", "Mars/Olympus")];
    for (set, command) in [(false, &mut bare), (true, netjobs(&["next", &path]).args(span))] {
        command.env_remove("TZDIR").env_remove("TZ");
        if set {
            command.envs(odd);
        }
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), usual, "{output:?}");
    }
    let (_folder, path) =
        jobs("jobs:\n  - { name: a, cron: '0 0 * * *', timezone: Mars/Olympus, ipv6: {} }\n");
    let output = netjobs(&["check", &path]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("jobs.yaml:2:45: `Mars/Olympus` is not a time zone"), "{said}");
}

#[test]
fn next_says_which_starts_stand_where_clocks_change() {
    let (_folder, path) = jobs(JOBS);
    let spring = ["--from", "2027-03-27T12:00:00Z", "--until", "2027-03-28T12:00:00Z"];
    let said = check(&[&["next", &path], &spring[..]].concat(), 0);
    assert_eq!(
        said,
        "nightly  each up to 5s later; one run catches up with what was missed
nightly  Sun 2027-03-28 03:00:00.000 +02:00  Europe/Berlin  the clocks skip its time, so it comes when they jump
often    Sun 2027-03-28 01:00:00.000 +01:00  Europe/Berlin
often    Sun 2027-03-28 01:30:00.000 +01:00  Europe/Berlin
often    Sun 2027-03-28 03:00:00.000 +02:00  Europe/Berlin
often    Sun 2027-03-28 03:30:00.000 +02:00  Europe/Berlin
office   opens for 10h
office   Sun 2027-03-28 03:00:00.000 +02:00  Europe/Berlin  the clocks skip its time, so it comes when they jump
"
    );
    let autumn = ["--from", "2027-10-30T12:00:00Z", "--until", "2027-10-31T12:00:00Z"];
    let said = check(&[&["next", &path], &autumn[..]].concat(), 0);
    let twice = |first, second| {
        let count = |text| said.matches(text).count();
        assert_eq!(
            (count("the first of two such times"), count("the second of two")),
            (first, second),
            "{said}"
        );
    };
    // Of the two halves of the hour that comes twice, `often` has both, the others the first.
    twice(4, 2);
    let json = check(&[&["next", "--json", "-n", "1", &path], &spring[..]].concat(), 0);
    let first = r#"{"job_name":"nightly","start":"2027-03-28T03:00:00+02:00"}"#;
    assert_eq!((json.lines().next(), json.lines().count()), (Some(first), 3), "{json}");
}

#[test]
fn explain_says_what_clocks_and_restarts_do_to_a_start() {
    let cron = check(&["explain", "cron"], 0);
    assert!(cron.contains("one that the clocks skip comes") && cron.contains("goes on evenly"), "{cron}");
    let missed = check(&["explain", "missed"], 0);
    assert!(missed.contains("--state") && missed.contains("catches up with one run"), "{missed}");
}
