//! The `echo` kind.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
};

/// Sends back what it gets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Echo {}

impl Kind for Echo {
    const SERVICE: bool = true;
    const MAIN: &'static str = "listen";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
