//! A kind's own record: a JSON value, or so many hosts that they are told one by one and never stand in memory as values.

use std::{borrow::Cow, fmt::Debug, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};

/// What a kind records of a run.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Anything that is short; `Null` where there is nothing.
    Value(Value),
    /// `{"hosts": […]}`.
    Hosts(Arc<dyn HostList>),
}

/// Hosts that are told in their order, each time they are asked for.
pub trait HostList: Debug + Send + Sync {
    /// Tells each.
    fn each(&self, tell: &mut dyn FnMut(HostRecord<'_>));
}

/// What is recorded of one host; fields that it lacks are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HostRecord<'a> {
    /// Its address, or its name as the file gives it.
    pub host: Cow<'a, str>,
    /// A `HostState`.
    pub state: &'static str,
    /// What its life rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'static str>,
    /// Why it is not alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Its round trip, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Its station, where it is on a link of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Other stations that claim its address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<String>,
}

impl HostList for Vec<HostRecord<'static>> {
    fn each(&self, tell: &mut dyn FnMut(HostRecord<'_>)) {
        self.iter().cloned().for_each(tell);
    }
}

impl Detail {
    /// The whole as one value, for who looks at a few things in it.
    pub fn value(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Hosts(list) => {
                let mut hosts = vec![];
                list.each(&mut |host| hosts.push(serde_json::to_value(host).unwrap_or_default()));
                json!({ "hosts": hosts })
            }
        }
    }
}

impl Default for Detail {
    fn default() -> Self {
        Self::Value(Value::Null)
    }
}

impl From<Value> for Detail {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}
