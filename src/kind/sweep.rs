//! The `sweep` kind.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
};

/// Finds which hosts of a set are alive, and which changed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sweep {}

impl Kind for Sweep {
    const MAIN: &'static str = "targets";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
