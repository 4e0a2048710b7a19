//! The built program while it gets a tenth of a processor, in slices as a quota deals them out: late, counted, never wrong.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::story::{Story, pass};
use crate::program::netjobs;

const NAMES: [&str; 3] = ["pings", "waits", "asks"];

/// How long it stands still, and how long it runs then.
const STILL: Duration = Duration::from_millis(90);
const RUNNING: Duration = Duration::from_millis(10);

/// So many slices make six seconds.
const SLICES: usize = 60;

/// Sends back what each client says first; ends with the process.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 64];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let _ = stream.write_all(&buffer[..length]);
        }
    });
    port
}

/// Fault case 44: starved of the processor, with timeouts that are hardly longer than the pauses.
#[test]
fn a_program_that_gets_a_tenth_of_a_processor_is_late_but_counts_all_and_blames_nobody() {
    let port = echo();
    let jobs = format!(
        "jobs:
  - {{ name: pings, every: 1s, ping: {{ host: 127.0.0.1, count: 1, timeout: 250ms }} }}
  - {{ name: waits, every: 1s, wait: {{ for: 'tcp://127.0.0.1:{port}', timeout: 250ms }} }}
  - {{ name: asks, every: 1s, exchange: {{ to: '127.0.0.1:{port}', send: hello, timeout: 250ms }} }}
"
    );
    let mut story = Story::start(&mut netjobs(&["run"]), &jobs);
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, Timestamp::UNIX_EPOCH, 1)));
    for _ in 0..SLICES {
        story.signal(Signal::SIGSTOP);
        pass(STILL);
        story.signal(Signal::SIGCONT);
        pass(RUNNING);
    }
    let freed = Timestamp::now();
    story.until(|story| NAMES.iter().all(|name| story.has_run_since(name, freed, 1)));
    let story = story.end();
    assert!(story.steps.is_empty(), "no clock was set: {:?}", story.steps);
    for name in NAMES {
        let missed = story.check_each_second(name);
        let runs: Vec<_> = story.told(name).iter().filter(|told| told.started.is_some()).collect();
        // The last may have been ended with the daemon.
        let blamed: Vec<_> =
            runs.iter().filter(|run| run.scheduled < freed).filter_map(|run| run.reason.as_ref()).collect();
        eprintln!("{name}: {} runs, {missed} starts left out, {blamed:?}", runs.len());
        assert!(blamed.is_empty(), "{name}: {blamed:?}");
        assert!(runs.len() >= 4, "{name}: {runs:?}");
    }
}
