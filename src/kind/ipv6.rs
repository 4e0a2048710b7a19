//! The `ipv6` kind.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
};

/// Says whether this machine can speak IPv6, and why not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6 {}

impl Kind for Ipv6 {
    const MAIN: &'static str = "reach";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
