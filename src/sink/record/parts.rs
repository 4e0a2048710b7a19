//! The parts of records that are more than one word or number, each as it is serialized. Not the records themselves.

use std::sync::Arc;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::Value;

use crate::{
    diagnostic::{Diagnostic, Place, Report, Severity},
    event::{JobRef, Judged},
    outcome::{Detail, HostList, HostRecord, Sample, Samples},
    sink::escape::{Clean, peer, sentence},
};

/// A job's labels as an object.
pub(super) struct Labels<'a>(pub(super) &'a JobRef);

/// Samples under their names; one object a family where the run looked at both.
pub(super) struct Sets<'a>(pub(super) &'a [Samples]);

/// The samples of one family.
struct Set<'a>(&'a Samples);

/// Judged comparisons.
pub(super) struct Expectations<'a>(pub(super) &'a [Judged]);

/// Names of jobs.
pub(super) struct Names<'a>(pub(super) &'a [Arc<str>]);

/// A kind's own record.
pub(super) struct Recorded<'a>(pub(super) &'a Detail);

/// Hosts, each written as it is told.
struct Hosts<'a>(&'a dyn HostList);

/// What is wrong with a set of jobs.
pub(super) struct Mistakes<'a>(pub(super) &'a Report);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.labels.iter())
    }
}

impl Serialize for Sets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for set in self.0 {
            match set.family {
                Some(family) => map.serialize_entry(family, &Set(set))?,
                None => put_samples(&mut map, set)?,
            }
        }
        map.end()
    }
}

impl Serialize for Set<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        put_samples(&mut map, self.0)?;
        map.end()
    }
}

fn put_samples<M: SerializeMap>(map: &mut M, set: &Samples) -> Result<(), M::Error> {
    set.values.iter().try_for_each(|(name, sample)| map.serialize_entry(name, &Measured(sample)))
}

/// One measured value.
struct Measured<'a>(&'a Sample);

impl Serialize for Measured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Sample::Count(count) => serializer.serialize_u64(*count),
            Sample::Number(number) => serializer.serialize_f64(rounded(*number)),
            Sample::Flag(flag) => serializer.serialize_bool(*flag),
            Sample::Word(word) => serializer.serialize_str(word),
        }
    }
}

/// A computed number to nine decimals: the others are the noise of its computation.
pub(super) fn rounded(number: f64) -> f64 {
    // A larger one has fewer decimals as it is.
    if number.abs() < 1e6 { (number * 1e9).round() / 1e9 } else { number }
}

impl Serialize for Expectations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Expectation::of))
    }
}

#[derive(Serialize)]
struct Expectation<'a> {
    name: &'a str,
    family: Option<&'static str>,
    wanted: &'a str,
    measured: Option<Measured<'a>>,
    held: bool,
}

impl<'a> Expectation<'a> {
    fn of(judged: &'a Judged) -> Self {
        let Judged { name, family, wanted, measured, held } = judged;
        Self { name, family: *family, wanted, measured: measured.as_ref().map(Measured), held: *held }
    }
}

impl Serialize for Recorded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Detail::Value(value) => Clean(value).serialize(serializer),
            Detail::Hosts(list) => serializer.collect_map([("hosts", Hosts(&**list))]),
        }
    }
}

impl Serialize for Hosts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut done = Ok(());
        self.0.each(&mut |host| {
            if done.is_ok() {
                done = list.serialize_element(&HostRecord { host: peer(&host.host), ..host });
            }
        });
        done?;
        list.end()
    }
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|name| &**name))
    }
}

impl Serialize for Mistakes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.diagnostics.iter().map(mistake))
    }
}

fn mistake(diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    let (line, column) = place.map(Place::line_column).unzip();
    serde_json::json!({
        "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": place.map(|place| peer(&place.source.name)),
        "line": line,
        "column": column,
        "message": sentence(&diagnostic.message),
        "hint": diagnostic.hint.as_deref().map(sentence),
    })
}
