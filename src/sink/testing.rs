//! Hand-made events for the tests of sinks: one of each kind. Not for the program.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    diagnostic::{Place, Report, Source},
    event::{Event, Finished, JobRef, Judged},
    meter::Registry,
    outcome::{Cause, Close, Detail, HostRecord, HostState, Notice, Reason, Sample, Samples, Verdict},
};

/// 2026-11-23 12:00:00 UTC.
pub fn noon() -> Timestamp {
    Timestamp::constant(1_795_435_200, 0)
}

/// A job with one label.
pub fn job(name: &str, kind: &'static str) -> JobRef {
    let labels = BTreeMap::from([("site".to_owned(), "lab".to_owned())]);
    JobRef {
        id: 0,
        name: name.into(),
        kind,
        service: matches!(kind, "forward" | "echo"),
        usual: &[Reason::Timeout],
        labels: Arc::new(labels),
    }
}

/// Puts jobs that come and takes jobs that go, as the engine does with its registry before it tells.
pub fn enrol<'a>(registry: &Arc<Registry>, events: impl IntoIterator<Item = &'a Event>) {
    let add = |job: &JobRef| {
        let labels = job.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        registry.job(&job.name, job.kind, labels);
    };
    for event in events {
        match event {
            Event::Started { jobs } => jobs.iter().for_each(add),
            Event::JobAdded { job } => add(job),
            Event::JobRemoved { job } => registry.remove(&job.name),
            _ => {}
        }
    }
}

/// A run of 12.5 ms that passed or failed.
pub fn finished(name: &str, kind: &'static str, verdict: Verdict) -> Finished {
    let passed = verdict == Verdict::Passed;
    let mut samples = Samples::default();
    samples.count("sent", 4);
    samples.push("loss", Sample::Number(if passed { 0.0 } else { 0.25 }));
    let judged = Judged {
        name: "loss".into(),
        family: None,
        wanted: "<= 5%".into(),
        measured: samples.find("loss").cloned(),
        held: passed,
    };
    Finished {
        job: job(name, kind),
        run_id: format!("{name}@{}", noon()),
        scheduled: noon(),
        started: noon(),
        duration: Duration::from_micros(12_500),
        start_lag: Duration::from_micros(250),
        verdict,
        reason: (!passed).then_some(Reason::Expectation),
        message: (!passed).then(|| "loss is 25%, wanted <= 5%".to_owned()),
        hint: None,
        attempts: 1,
        samples: vec![samples],
        expectations: vec![judged],
        detail: Detail::default(),
    }
}

/// A record of two hosts.
pub fn hosts() -> Detail {
    let alive = HostRecord {
        host: "10.0.2.2".into(),
        state: "alive",
        evidence: Some("echo"),
        rtt: Some(0.0002),
        ..HostRecord::default()
    };
    let silent = HostRecord {
        host: "10.0.2.3".into(),
        state: "silent",
        reason: Some("timeout"),
        ..HostRecord::default()
    };
    Detail::Hosts(Arc::new(vec![alive, silent]))
}

/// A finished run as an event.
pub fn run(name: &str, kind: &'static str, verdict: Verdict) -> Event {
    Event::RunFinished(Box::new(finished(name, kind, verdict)))
}

/// A notice inside a run of `job`.
pub fn notice(job: JobRef, notice: Notice) -> Event {
    Event::Notice { run_id: format!("{}@{}", job.name, noon()).into(), job, notice }
}

/// One of each notice.
pub fn notices() -> Vec<Event> {
    let on = |kind, inner| notice(job("n", kind), inner);
    vec![
        on(
            "forward",
            Notice::ConnectionClosed {
                peer: "127.0.0.1:40123".into(),
                upstream: "tcp://127.0.0.1:80".into(),
                close: Close::Finished,
                received_bytes: 100,
                sent_bytes: 4096,
                duration: Duration::from_millis(12),
                engine: "copy",
            },
        ),
        on(
            "sweep",
            Notice::HostChanged {
                host: "10.0.2.3".into(),
                from: Some(HostState::Alive),
                to: HostState::Silent,
                why: "timeout",
                rtt: None,
            },
        ),
        on(
            "ping",
            Notice::Answer {
                sequence: 1,
                from: "10.0.2.2".into(),
                rtt: Some(Duration::from_micros(213)),
                reason: None,
                note: "ttl=64".into(),
            },
        ),
        on(
            "wait",
            Notice::StateChanged {
                what: "tcp://db:5432".into(),
                from: "",
                to: "refused",
                message: "connection refused".into(),
            },
        ),
        on("sweep", Notice::Progress { done: 5, total: 10, what: "probes", alive: Some(3) }),
        on("forward", Notice::Warning { message: "out of descriptors: accepting again in 100 ms".into() }),
        on("sweep", Notice::Remark { message: "goes on where it was interrupted 3 s ago".into() }),
    ]
}

/// A rejected set of job files, with a place.
pub fn rejected() -> Event {
    let source = Source::new("jobs/lan.yaml", "jobs:\n  - nam: x\n");
    let mut report = Report::default();
    report.error("nam", "unknown field `nam`", Some("did you mean `name`?"));
    report.diagnostics[0].place = Some(Place { source, span: 10..13 });
    report.warning("to", "no place", None);
    Event::ConfigRejected { report }
}

/// One of each event, in a likely order.
pub fn all() -> Vec<Event> {
    let (check, service) = (job("gateway", "ping"), job("web", "forward"));
    let mut both = finished("gateway", "ping", Verdict::Failed);
    both.samples[0].family = Some("ipv4");
    both.samples.push(Samples { family: Some("ipv6"), values: both.samples[0].values.clone() });
    both.expectations[0].family = Some("ipv6");
    both.detail = hosts();
    let mut events = vec![
        Event::Started { jobs: vec![check.clone(), service.clone()] },
        Event::JobAdded { job: check.clone() },
        Event::JobAdded { job: service.clone() },
        Event::NextRun { job: check.clone(), at: Some(noon()) },
        Event::RunStarted { job: check.clone(), run_id: format!("gateway@{}", noon()) },
        Event::JobReady { job: service.clone(), addresses: vec!["tcp://127.0.0.1:8800".into()] },
        run("gateway", "ping", Verdict::Passed),
        Event::RunFinished(Box::new(both)),
        run("gateway", "ping", Verdict::Errored),
        run("gateway", "ping", Verdict::Skipped),
        Event::RunSkipped { job: check.clone(), scheduled: noon(), cause: Cause::Overlap, count: 2 },
        Event::RunStuck { job: check.clone(), run_id: format!("gateway@{}", noon()) },
        Event::RunReturned { job: check.clone(), run_id: format!("gateway@{}", noon()) },
        Event::StateChanged {
            job: check.clone(),
            from: Some(Verdict::Passed),
            to: Verdict::Failed,
            reason: Some(Reason::Timeout),
        },
        Event::LeftOut { name: "other".into(), why: "only_on names other hosts".into() },
        Event::ConfigReloaded {
            added: vec!["a".into()],
            removed: vec!["b".into()],
            changed: vec![],
            kept: 7,
        },
        rejected(),
        Event::ClockStepped { seconds: -3600.0 },
    ];
    events.extend(notices());
    events.push(Event::JobRemoved { job: check });
    events.push(Event::Stopped);
    events
}

/// A writer whose text can be read while a sink holds it.
#[derive(Clone, Debug, Default)]
pub struct Paper(Arc<std::sync::Mutex<Vec<u8>>>);

impl Paper {
    /// What was written.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Another hand on the same paper.
    pub fn writer(&self) -> Box<dyn std::io::Write + Send> {
        Box::new(self.clone())
    }
}

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
