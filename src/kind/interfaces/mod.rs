//! The `interfaces` kind: lists interfaces, their state and addresses, as the kernel itself gives them (rtnetlink(7)).

mod pattern;

use schemars::JsonSchema;
use serde::Deserialize;

pub use pattern::Pattern;

use super::{Error, Kind};
use crate::{
    context::Context,
    outcome::{Measure, Metric, Outcome, Samples},
    value::{Family, Many},
};

/// Lists interfaces, their state, addresses, networks and IPv6 prefixes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {
    /// Which interfaces: names or globs, such as `eth0` or `[eth*, wlan0]`. An entry that matches none is a failure with
    /// the reason `no_interface`. Default `*`.
    #[serde(default = "all")]
    pub select: Many<Pattern>,
    /// Which addresses are listed and counted: `any`, `4`, `6` or `both`. Default `any`.
    #[serde(default)]
    pub family: Family,
}

fn all() -> Many<Pattern> {
    Pattern::any().into()
}

impl Kind for Interfaces {
    const MAIN: &'static str = "select";
    const MEASURES: &'static [Measure] = &[];
    const METRICS: &'static [&'static Metric] = &[];

    async fn run(&self, _cx: &Context) -> Result<Outcome, Error> {
        Ok(Outcome::passed(Samples::default()))
    }
}
