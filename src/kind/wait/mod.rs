//! The `wait` kind: waits until something answers, or stops answering. One attempt is `net::probe`'s, the patience is
//! here: the first attempt comes at once, each is a new connection, and the timeout is never overshot.

mod attempt;
mod check;
mod http;
mod outcome;
mod watch;

use std::{convert::Infallible, future::poll_fn, pin::Pin, task::Poll, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

pub use http::{Http, Status};

use self::{attempt::Means, watch::Watch};
use super::{Error, Kind};
use crate::{
    context::Context,
    diagnostic::Report,
    outcome::{Measure, Metric, Notice, Outcome, Reason, Unit},
    value::{AtLeastOne, Endpoint, Family, JobName, Many, Timespan},
};

/// Waits until something answers, or stops answering.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// What to wait for: an endpoint, or a list of which every one must come. `tcp://db:5432` (or `db:5432`) is there
    /// once it accepts a connection, `unix:///run/x.sock` likewise; `http://…` and `https://…` once they answer as `http`
    /// says; `icmp://host` once it answers an echo; `job:NAME` once that service's address does. `udp://host:port`
    /// gets an empty datagram: it is down where the host refuses it, and counts as up where it answers or where no
    /// refusal comes within half a second (50 ms on loopback), since UDP cannot prove more. A name that does not resolve
    /// is not there yet.
    pub r#for: Many<Endpoint>,
    /// `up`: wait until it answers. `down`: until it no longer does; a name that does not resolve proves nothing
    /// and is waited on. Default `up`.
    #[serde(default)]
    pub until: Until,
    /// The longest wait; after it the job has failed with the reason `timeout`. Default `120s`.
    #[serde(default = "timeout")]
    pub timeout: Timespan,
    /// The pause from one attempt to the next. Where nothing answers it grows to `1s`; a refusal is tried again after
    /// 100 ms at the latest, one of UDP by another host after 1.1 s, since hosts refuse no faster. An attempt is given
    /// up after 1 s. Default `100ms`.
    #[serde(default = "interval")]
    pub interval: Timespan,
    /// How many attempts in a row must find it so. Default 1.
    #[serde(default = "successes")]
    pub successes: AtLeastOne,
    /// What an `http://` or `https://` endpoint must answer, such as `{ status: 200, body: ready }`.
    pub http: Option<Http>,
    /// Which address family to use: `any`, `4`, `6`, or `both` (each must come). Default `any`.
    #[serde(default)]
    pub family: Family,
}

/// What a `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It answers.
    #[default]
    Up,
    /// It no longer answers.
    Down,
}

fn timeout() -> Timespan {
    Timespan::secs(120)
}

fn interval() -> Timespan {
    Timespan::millis(100)
}

fn successes() -> AtLeastOne {
    AtLeastOne(1)
}

impl Kind for Wait {
    const MAIN: &'static str = "for";
    const MEASURES: &'static [Measure] = &[
        Measure { name: "attempts", unit: Unit::Count, own: None, help: "Attempts at all endpoints." },
        Measure {
            name: "waited",
            unit: Unit::Seconds,
            own: None,
            help: "Until the last endpoint was as wanted.",
        },
        Measure {
            name: "last_reason",
            unit: Unit::Word,
            own: None,
            help: "Why the last endpoint did not answer, `up` where `until: down` still waits; none where nothing was amiss.",
        },
    ];
    const METRICS: &'static [&'static Metric] = &[&ATTEMPTS, &SECONDS];
    const USUAL: &'static [Reason] = &[Reason::Timeout];

    fn check(&self, report: &mut Report) {
        check::check(self, report);
    }

    fn refers(&self) -> Vec<(String, &JobName)> {
        let named = self.r#for.iter().enumerate();
        named.filter_map(|(at, endpoint)| Some((self.path(at), endpoint.job()?))).collect()
    }

    fn needs_icmp(&self) -> bool {
        self.r#for.iter().any(|endpoint| matches!(endpoint, Endpoint::Icmp(_)))
    }

    fn longest(&self) -> Option<Duration> {
        Some(*self.timeout)
    }

    fn is_unbounded(&self) -> bool {
        true
    }

    async fn run(&self, cx: &Context) -> Result<Outcome, Error> {
        let started = Instant::now();
        let deadline = started + *self.timeout;
        let usual = Http::default();
        let means = Means::new(self, self.http.as_ref().unwrap_or(&usual), cx).await?;
        let mut watches = self.watches();
        let kept = tokio::select! {
            // The extra time is for attempts that are cut at the deadline itself to say what they saw.
            kept = timeout_at(deadline + SLACK, self.keep_all(&mut watches, cx, &means, deadline)) => kept,
            () = cx.cancelled() => return Ok(outcome::of(&watches, started, true)),
            never = tick(cx, started, *self.timeout), if cx.is_ad_hoc() => match never {},
        };
        if let Ok(done) = kept {
            done?;
        }
        let outcome = outcome::of(&watches, started, false);
        cx.meters().histogram(&SECONDS, &[]).observe(started.elapsed().as_secs_f64());
        Ok(outcome)
    }
}

impl Wait {
    /// The path of an entry of `for`, which may stand without a list.
    fn path(&self, at: usize) -> String {
        if self.r#for.len() == 1 { "for".to_owned() } else { format!("for[{at}]") }
    }

    /// One watch an endpoint, a port of a range, and a family.
    fn watches(&self) -> Vec<Watch> {
        let endpoints = || self.r#for.iter().flat_map(Endpoint::each);
        let over =
            |family: &Family| endpoints().map(|endpoint| Watch::new(endpoint, *family)).collect::<Vec<_>>();
        self.family.passes().iter().flat_map(over).collect()
    }

    /// Keeps all watches side by side, until each is done or one cannot look.
    async fn keep_all(
        &self,
        watches: &mut [Watch],
        cx: &Context,
        means: &Means<'_>,
        deadline: Instant,
    ) -> Result<(), Error> {
        type Keeping<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;
        let counter = cx.meters().counter(&ATTEMPTS, &[]);
        let mut running: Vec<Keeping<'_>> = vec![];
        for watch in watches {
            running.push(Box::pin(watch.keep(self, cx, means, &counter, deadline)));
        }
        poll_fn(|task| {
            let mut wrong = None;
            running.retain_mut(|keeping| match keeping.as_mut().poll(task) {
                Poll::Pending => true,
                Poll::Ready(done) => {
                    wrong = wrong.take().or(done.err());
                    false
                }
            });
            match wrong {
                Some(error) => Poll::Ready(Err(error)),
                None if running.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// Says each second how long the wait has lasted.
async fn tick(cx: &Context, started: Instant, timeout: Duration) -> Infallible {
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    loop {
        clock.tick().await;
        let done = started.elapsed().as_secs();
        cx.notice(Notice::Progress { done, total: timeout.as_secs(), what: "seconds", alive: None });
    }
}

/// What a run may take beyond its timeout, to take down what its last attempts saw.
const SLACK: Duration = Duration::from_millis(20);

/// A wait takes from a round trip to many minutes.
const BOUNDS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

const ATTEMPTS: Metric =
    Metric::counter("netjobs_wait_attempts_total", &[], "Attempts to find an endpoint as wanted.");
const SECONDS: Metric =
    Metric::histogram("netjobs_wait_seconds", &[], BOUNDS, "How long a wait lasted, whatever it came to.");

#[cfg(test)]
mod tests;
