//! The kinds of job: one room each. A room tries once and says what it found; when to try again is the engine's affair.

#[macro_use]
mod table;

pub mod echo;
pub mod exchange;
pub mod forecast;
pub mod forward;
pub mod interfaces;
pub mod ipc;
pub mod ipv6;
pub mod ping;
mod service;
pub mod sweep;
pub mod wait;

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use forecast::{Forecast, Surroundings};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    context::Context,
    diagnostic::Report,
    net::{self, listen::Listen},
    outcome::{Measure, Metric, Outcome, Reason},
    value::JobName,
};

/// What a kind of job is: its parameters (`Self`), what it measures, and how it runs.
pub trait Kind: DeserializeOwned + JsonSchema + Debug + Send + Sync {
    /// Whether it runs until it is cancelled, rather than once a start.
    const SERVICE: bool = false;
    /// The key that an ad-hoc verb takes as plain words.
    const MAIN: &'static str;
    /// What `expect`, the log and the tables may name.
    const MEASURES: &'static [Measure];
    /// The metric families of its own.
    const METRICS: &'static [&'static Metric];
    /// Why its runs usually fail, at most three: their counters begin at 0, so that the first failure is an increase.
    const USUAL: &'static [Reason] = &[];

    /// Says what the types cannot: paths in the report are below the kind's key.
    fn check(&self, report: &mut Report) {
        let _ = report;
    }

    /// What the engine opens before the run.
    fn listens(&self) -> Vec<Listen> {
        vec![]
    }

    /// Services whose address it wants (`job:NAME`), each with the path of the key that names it: they start first.
    fn refers(&self) -> Vec<(String, &JobName)> {
        vec![]
    }

    /// Checks that it only watches, each with the path of the key that names it.
    fn watches(&self) -> Vec<(String, &JobName)> {
        vec![]
    }

    /// The bound of one attempt, from its parameters; `None` where it has none of its own.
    fn longest(&self) -> Option<Duration> {
        None
    }

    /// How much longer than that a run may take where networks are as no file says; for the default `run_timeout`.
    fn longer(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether `run_timeout` does not apply: a service, or a kind with its own patience.
    fn is_unbounded(&self) -> bool {
        Self::SERVICE
    }

    /// Whether a run cannot do without sending ICMP, which not every process may.
    fn needs_icmp(&self) -> bool {
        false
    }

    /// Whether a run cannot do without `CAP_NET_RAW`.
    fn needs_raw(&self) -> bool {
        false
    }

    /// The most open files that its keys ask for, or why a run would be refused where so many are allowed; `None` where
    /// they ask for no number.
    fn open_files(&self, allowed: u64) -> Option<Result<u64, Error>> {
        let _ = allowed;
        None
    }

    /// What a run would send and need, as far as it can be known without sending anything; `None` where it is not worked
    /// out for the kind.
    fn forecast(&self, around: &Surroundings) -> Result<Option<Forecast>, Error> {
        let _ = around;
        Ok(None)
    }

    /// Looks once. A service returns when it was cancelled and its connections have ended.
    ///
    /// `Ok`: we looked, and this was found. `Err`: we could not look.
    fn run(&self, cx: &Context) -> impl Future<Output = Result<Outcome, Error>> + Send;
}

/// Why a run could not look.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A network operation failed on this machine.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Something else stands in the way.
    #[error("{message}")]
    Cannot {
        /// The closed word for it.
        reason: Reason,
        /// The operation, its object, and what the system says.
        message: String,
        /// What the operator can do about it.
        hint: Option<String>,
    },
}

impl Error {
    /// The closed word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Net(error) => error.reason(),
            Self::Cannot { reason, .. } => *reason,
        }
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Net(error) => error.hint(),
            Self::Cannot { hint, .. } => hint.as_deref(),
        }
    }
}

/// A run of a room, boxed.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Outcome, Error>> + Send + 'a>>;

/// The boxed face of a room: what the engine sees of `Spec`, and of the stand-ins in its tests.
pub trait Room: Debug + Send + Sync {
    /// What all rooms of the kind have in common.
    fn facts(&self) -> &'static Facts;
    /// See [`Kind::check`].
    fn check(&self, report: &mut Report);
    /// See [`Kind::listens`].
    fn listens(&self) -> Vec<Listen>;
    /// See [`Kind::refers`].
    fn refers(&self) -> Vec<(String, &JobName)>;
    /// See [`Kind::watches`].
    fn watches(&self) -> Vec<(String, &JobName)> {
        vec![]
    }
    /// See [`Kind::longest`].
    fn longest(&self) -> Option<Duration>;
    /// See [`Kind::longer`].
    fn longer(&self) -> Duration {
        Duration::ZERO
    }
    /// See [`Kind::is_unbounded`].
    fn is_unbounded(&self) -> bool;
    /// See [`Kind::needs_icmp`].
    fn needs_icmp(&self) -> bool {
        false
    }
    /// See [`Kind::needs_raw`].
    fn needs_raw(&self) -> bool {
        false
    }
    /// See [`Kind::open_files`].
    fn open_files(&self, allowed: u64) -> Option<Result<u64, Error>> {
        let _ = allowed;
        None
    }
    /// See [`Kind::forecast`].
    fn forecast(&self, around: &Surroundings) -> Result<Option<Forecast>, Error> {
        let _ = around;
        Ok(None)
    }
    /// See [`Kind::run`].
    fn run<'a>(&'a self, cx: &'a Context) -> Running<'a>;
}

/// What all jobs of a kind have in common.
#[derive(Debug)]
pub struct Facts {
    /// The key in job files.
    pub name: &'static str,
    /// See [`Kind::SERVICE`].
    pub service: bool,
    /// See [`Kind::MAIN`].
    pub main: &'static str,
    /// See [`Kind::MEASURES`].
    pub measures: &'static [Measure],
    /// See [`Kind::METRICS`].
    pub metrics: &'static [&'static Metric],
    /// See [`Kind::USUAL`].
    pub usual: &'static [Reason],
    /// The JSON schema of its parameters, with their doc comments.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

kinds! {
    forward: forward::Forward,
    echo: echo::Echo,
    exchange: exchange::Exchange,
    ping: ping::Ping,
    sweep: sweep::Sweep,
    wait: wait::Wait,
    interfaces: interfaces::Interfaces,
    ipv6: ipv6::Ipv6,
    ipc: ipc::Ipc,
}
