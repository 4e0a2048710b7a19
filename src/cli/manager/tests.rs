//! When the manager gets a sign of life, on tokio's paused clock.

use jiff::{Timestamp, ToSpan};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    context::Shared,
    event::JobRef,
    meter::{Counter, Registry},
    run::{self, Mode, Set, Start, SystemClock},
    sink::testing,
};

/// A manager that wants a sign every 2 s, what it hears, and an engine without jobs.
struct Rig {
    heard: UnixDatagram,
    history: History,
    tasks: TaskTracker,
    engine: tokio::task::JoinHandle<run::Summary>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_nonblocking(true).unwrap();
        let address = Address::new(path.as_os_str()).unwrap();
        let watchdog = period(Some("4000000".into()), None, 1);
        let manager = Manager { address, watchdog, news: Arc::default() };
        let (control, commands) = run::control();
        let start = Start {
            set: Set::default(),
            shared: Shared::new(Registry::new(10)),
            events: tokio::sync::mpsc::channel(100).0,
            dropped: Counter::default(),
            commands,
            loader: None,
            mode: Mode::Daemon,
            grace: Duration::from_secs(30),
            drain_idle: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            runs: None,
        };
        let (tasks, history) = (TaskTracker::new(), History::new());
        let engine = tasks.spawn(run::run(start));
        tasks.spawn(manager.talk(history.clone(), control, CancellationToken::new()));
        Self { heard, history, tasks, engine, _folder: folder }
    }

    /// How many signs of life come in so many seconds.
    async fn signs(&self, seconds: u64) -> usize {
        let mut count = 0;
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            let mut message = [0; 500];
            while let Ok(length) = self.heard.recv(&mut message) {
                count += usize::from(&message[..length] == b"WATCHDOG=1");
            }
        }
        count
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_comes_at_half_the_time_as_long_as_the_engine_turns() {
    let rig = Rig::new();
    let signs = rig.signs(100).await;
    assert!((49..=52).contains(&signs), "{signs}");
    rig.engine.abort();
    // The engine may have turned a second ago, and is given three.
    assert!(rig.signs(6).await <= 2);
    assert_eq!(rig.signs(60).await, 0);
    assert_eq!(rig.tasks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_sign_comes_while_a_job_is_wedged() {
    let rig = Rig::new();
    let job: JobRef = testing::job("stuck", "ping");
    let mut keeper = rig.history.sink();
    keeper.event(&Event::Started { jobs: vec![job.clone()] });
    let start = Timestamp::now();
    for at in [start + 1.second(), start + 2.seconds()] {
        keeper.event(&Event::NextRun { job: job.clone(), at: Some(at) });
    }
    assert!(rig.signs(100).await < 49);
    assert_eq!(rig.signs(60).await, 0);
    keeper.event(&Event::RunStarted { job, run_id: String::new() });
    assert!(rig.signs(10).await >= 4, "it got on");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_behind_hears_no_reload_without_its_end_and_that_the_runner_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let heard = UnixDatagram::bind(&path).unwrap();
    heard.set_nonblocking(true).unwrap();
    let address = Address::new(path.as_os_str()).unwrap();
    let manager = Manager { address, watchdog: None, news: Arc::default() };
    let mut ear = manager.sink(&History::new());
    ear.event(&Event::Started { jobs: vec![] });
    for _ in 0..100 {
        ear.event(&Event::ConfigReading);
        ear.event(&Event::ConfigRejected { report: crate::diagnostic::Report::default() });
    }
    ear.event(&Event::Stopping);
    let mut talk = Talk::new(manager, History::new(), run::control().0);
    let (mut words, mut is_all) = (vec![], false);
    while !is_all {
        is_all = talk.said_all();
        let mut message = [0; 500];
        while let Ok(length) = heard.recv(&mut message) {
            words.push(message[..length].split(|byte| *byte == b'=').next().unwrap().to_vec());
        }
    }
    assert_eq!(words.pop().unwrap(), b"STOPPING");
    assert_eq!(words.remove(0), b"READY");
    assert!(words.len() > 40, "{}", words.len());
    assert!(words.chunks_exact(2).all(|pair| pair == [&b"RELOADING"[..], b"READY"]), "{words:?}");
}

#[test]
fn a_watchdog_of_another_process_is_none() {
    let asked = |limit: &str, pid: Option<&str>| period(Some(limit.into()), pid.map(OsStr::new), 7);
    assert_eq!(asked("3000000", Some("7")), Some(Duration::from_millis(1500)));
    assert_eq!(asked("3000000", None), Some(Duration::from_millis(1500)));
    for (limit, pid) in
        [("3000000", Some("8")), ("3000000", Some("x")), ("0", None), ("x", None), ("-1", None)]
    {
        assert_eq!(asked(limit, pid), None, "{limit} {pid:?}");
    }
}

#[test]
fn a_manager_is_a_path_or_an_abstract_name() {
    for right in ["/run/notify", "@notify"] {
        assert!(Address::new(OsStr::new(right)).is_ok(), "{right}");
    }
    for wrong in
        ["notify", "vsock:2:1234", &format!("/{}", "x".repeat(200)), &format!("@{}", "x".repeat(200))]
    {
        assert!(Address::new(OsStr::new(wrong)).is_err(), "{wrong}");
    }
}
