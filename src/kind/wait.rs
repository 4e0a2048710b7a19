//! The `wait` kind.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
};

/// Waits until something answers, or stops answering.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {}

impl Kind for Wait {
    const MAIN: &'static str = "for";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
