//! Health checks of a forward: the engine tells what they found, and the forward passes its clients on accordingly.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use netjobs::{
    event::Event,
    job::{
        Job,
        load::{Loaded, load_texts},
    },
    kind::Error,
    outcome::{Close, Notice, Outcome, Reason, Samples, Verdict},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::rig::*;
use crate::check::environment;

const PATIENCE: Duration = Duration::from_secs(20);

const PASS: u8 = 0;
const FAIL: u8 = 1;
const ERR: u8 = 2;

/// A forward to two servers, each watched by a check that finds what the test says.
struct Scene {
    listener: SocketAddr,
    servers: Vec<TcpListener>,
    found: [Arc<AtomicU8>; 2],
}

/// A check that finds what the test says.
fn finds(job: Job, found: Arc<AtomicU8>) -> Job {
    let stand = check(job.name.as_str(), move |_| {
        let found = found.load(Ordering::SeqCst);
        Box::pin(async move {
            match found {
                PASS => passed(),
                FAIL => Ok(Outcome::failed(Reason::Refused, "down", Samples::default())),
                _ => Err(Error::Cannot { reason: Reason::Io, message: "cannot look".into(), hint: None }),
            }
        })
    });
    job.with(|job| job.room = stand.room)
}

impl Scene {
    async fn new() -> Self {
        let mut servers = vec![];
        for _ in 0..2 {
            servers.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = free.local_addr().unwrap();
        drop(free);
        Self { listener, servers, found: [Arc::default(), Arc::default()] }
    }

    fn upstream(&self, index: usize) -> String {
        self.servers[index].local_addr().unwrap().to_string()
    }

    /// The jobs; `period` and `idle` are there to be changed.
    fn jobs(&self, period: &str, idle: &str) -> Vec<Job> {
        self.jobs_with("a", period, idle)
    }

    /// The jobs with another name of the first check.
    fn jobs_with(&self, first: &str, period: &str, idle: &str) -> Vec<Job> {
        let (a, b) = (self.upstream(0), self.upstream(1));
        let text = format!(
            "jobs:
  - name: web
    forward:
      listen: {}
      to: ['{a}', '{b}']
      balance: first
      idle_timeout: {idle}
      health: {{ '{a}': {first}, '{b}': b }}
  - {{ name: {first}, every: {period}, ipv6: {{}} }}
  - {{ name: b, every: {period}, ipv6: {{}} }}
",
            self.listener
        );
        let Loaded { jobs, report, .. } = load_texts(&[("jobs.yaml", &text)], &environment());
        assert!(report.diagnostics.is_empty(), "{}", report.render(false));
        let instead = |job: Job| match job.name.as_str() {
            name if name == first => finds(job, self.found[0].clone()),
            "b" => finds(job, self.found[1].clone()),
            _ => job,
        };
        jobs.into_iter().map(instead).collect()
    }

    /// Sets what a check finds, and waits until the forward has said so.
    async fn find(&self, rig: &mut Rig, index: usize, found: u8, wanted: &str) {
        self.found[index].store(found, Ordering::SeqCst);
        let upstream = self.upstream(index);
        let told = rig.until(|event| {
            matches!(event, Event::Notice { notice: Notice::StateChanged { what, to, .. }, .. }
                if *what == upstream && *to == wanted)
        });
        timeout(PATIENCE, told).await.unwrap();
    }

    /// Asserts where the forward's next client goes.
    async fn goes_to(&self, index: usize) {
        let client = TcpStream::connect(self.listener).await.unwrap();
        let accepted = timeout(PATIENCE, self.servers[index].accept()).await;
        drop((client, accepted.expect("the client comes").unwrap()));
    }

    /// Asserts that each of many clients in a row gets to one server or the other.
    async fn all_are_served(&self) {
        for _ in 0..100 {
            let client = TcpStream::connect(self.listener).await.unwrap();
            let accepted = timeout(PATIENCE, async {
                tokio::select! {
                    accepted = self.servers[0].accept() => accepted,
                    accepted = self.servers[1].accept() => accepted,
                }
            });
            drop((client, accepted.await.expect("the client comes").unwrap()));
        }
    }

    fn shows(&self, rig: &Rig, index: usize) -> Option<String> {
        let mut text = String::new();
        rig.shared.registry.render(&mut text);
        let label = format!("upstream=\"{}\"", self.upstream(index));
        let line = text
            .lines()
            .find(|line| line.starts_with("netjobs_forward_upstream_up{") && line.contains(&label));
        line.map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
    }
}

#[tokio::test]
async fn an_upstream_is_in_until_its_check_fails_and_again_at_its_next_pass() {
    let scene = Scene::new().await;
    let mut rig = Rig::daemon(scene.jobs("50ms", "10m"));
    rig.until_ready("web").await;
    scene.goes_to(0).await;
    scene.find(&mut rig, 0, FAIL, "out").await;
    assert_eq!(scene.shows(&rig, 0).as_deref(), Some("0"));
    scene.goes_to(1).await;

    scene.find(&mut rig, 1, FAIL, "out").await;
    // The break may come as early as the connection itself.
    let read = match TcpStream::connect(scene.listener).await {
        Ok(mut client) => timeout(PATIENCE, client.read_u8()).await.unwrap(),
        Err(error) => Err(error),
    };
    assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    let is_close = |event: &Event| {
        matches!(
            event,
            Event::Notice { notice: Notice::ConnectionClosed { close: Close::NoUpstream, .. }, .. }
        )
    };
    timeout(PATIENCE, rig.until(is_close)).await.unwrap();

    scene.find(&mut rig, 0, PASS, "in").await;
    assert_eq!(scene.shows(&rig, 0).as_deref(), Some("1"));
    scene.goes_to(0).await;
    rig.stop_after(secs(0)).await;
}

#[tokio::test]
async fn a_check_that_cannot_look_changes_nothing() {
    let scene = Scene::new().await;
    let mut rig = Rig::daemon(scene.jobs("50ms", "10m"));
    rig.until_ready("web").await;
    let errored = async |rig: &mut Rig| while rig.until_finished("a").await.verdict != Verdict::Errored {};
    scene.found[0].store(ERR, Ordering::SeqCst);
    errored(&mut rig).await;
    scene.goes_to(0).await;
    scene.find(&mut rig, 0, FAIL, "out").await;
    scene.found[0].store(ERR, Ordering::SeqCst);
    errored(&mut rig).await;
    scene.goes_to(1).await;
    let told = |event: &Event| matches!(event, Event::Notice { notice: Notice::StateChanged { .. }, .. });
    let story = rig.stop_after(secs(0)).await;
    assert_eq!(story.count(told), 0, "nothing after it went out");
}

#[tokio::test]
async fn what_a_check_found_outlives_a_reload() {
    let scene = Scene::new().await;
    let mut rig = Rig::daemon(scene.jobs("50ms", "10m"));
    rig.until_ready("web").await;
    scene.find(&mut rig, 0, FAIL, "out").await;
    // From now on it has no news: a run of its own would say the same again.
    scene.found[0].store(ERR, Ordering::SeqCst);
    let summary = rig.reload(scene.jobs("50ms", "20m")).await;
    assert_eq!((&*summary.changed, summary.kept), (&["web".into()][..], 2));
    rig.until_ready("web").await;
    scene.goes_to(1).await;
    let summary = rig.reload(scene.jobs("60ms", "20m")).await;
    assert_eq!((&*summary.changed, summary.kept), (&["a".into(), "b".into()][..], 1));
    scene.goes_to(1).await;
    // The changed check is the one that is heard.
    scene.find(&mut rig, 0, PASS, "in").await;
    scene.goes_to(0).await;
    rig.stop_after(secs(0)).await;
}

#[tokio::test]
async fn a_check_that_is_removed_or_renamed_takes_what_it_found_along() {
    let scene = Scene::new().await;
    let mut rig = Rig::daemon(scene.jobs("50ms", "10m"));
    rig.until_ready("web").await;
    scene.find(&mut rig, 0, FAIL, "out").await;

    let mut without = scene.jobs("50ms", "10m");
    without.retain(|job| job.name.as_str() != "a");
    let (summary, ()) = tokio::join!(rig.reload(without), scene.all_are_served());
    assert_eq!((&*summary.removed, summary.kept), (&["a".into()][..], 2));
    scene.find(&mut rig, 0, FAIL, "in").await;
    scene.goes_to(0).await;

    rig.reload(scene.jobs("50ms", "10m")).await;
    scene.find(&mut rig, 0, FAIL, "out").await;
    scene.goes_to(1).await;
    // The new one cannot look, so it puts nothing out.
    scene.found[0].store(ERR, Ordering::SeqCst);
    let renamed = scene.jobs_with("c", "50ms", "10m");
    let (summary, ()) = tokio::join!(rig.reload(renamed), scene.all_are_served());
    assert_eq!((&*summary.changed, &*summary.added), (&["web".into()][..], &["c".into()][..]));
    rig.until_ready("web").await;
    scene.goes_to(0).await;
    scene.find(&mut rig, 0, FAIL, "out").await;
    scene.goes_to(1).await;
    rig.stop_after(secs(0)).await;
}

#[track_caller]
fn check_warning(job: &str, wanted: &str) {
    let text = format!(
        "jobs:\n  - name: web\n    forward: {{ listen: 1, to: 'a:1', health: {{ 'a:1': up }} }}\n  - {{ name: up, {job} }}\n"
    );
    let report = load_texts(&[("jobs.yaml", &text)], &environment()).report;
    assert!(!report.has_errors());
    let messages: Vec<_> = report.diagnostics.iter().map(|found| found.message.as_str()).collect();
    assert_eq!(messages, [wanted]);
}

#[test]
fn a_check_that_says_little_or_nothing_is_warned_of() {
    let once = "`up` runs only once, at the start: what it finds then holds for ever";
    check_warning("wait: { for: 'a:1' }", once);
    let gone = "`up` is left out, so nothing puts this out: `enabled: false`";
    check_warning("every: 5s, enabled: false, wait: { for: 'a:1' }", gone);
}
