//! Defaults: a job over its file over `netjobs.yaml` of the same folder.

use std::rc::Rc;

use super::node::{Content, Entry, Node, find};
use crate::job::common::{OF_SERVICES, OF_STARTS};

/// The common keys of a job with its defaults, the nearest layer first.
///
/// `labels` merge by key, all else replaces whole; a key that says when a job starts replaces all of them in the
/// layers below; what the job's kind does not take is passed over.
pub(super) fn common(own: Vec<Entry>, layers: &[&[Entry]], service: bool) -> Vec<Entry> {
    let mut merged = own;
    for layer in layers {
        let has_start = merged.iter().any(|entry| OF_STARTS.contains(&&*entry.key));
        for entry in *layer {
            let key = &*entry.key;
            let passed_over = service && !OF_SERVICES.contains(&key) || has_start && OF_STARTS.contains(&key);
            if passed_over {
                continue;
            }
            match merged.iter_mut().find(|known| *known.key == *key) {
                Some(known) if key == "labels" => known.value = union(&known.value, &entry.value),
                Some(_) => {}
                None => merged.push(entry.clone()),
            }
        }
    }
    merged
}

/// Drops the default `timezone` of a job that has no `cron`.
pub(super) fn without_idle_zone(mut merged: Vec<Entry>, own: &[Entry]) -> Vec<Entry> {
    if find(&merged, "cron").is_none() && find(own, "timezone").is_none() {
        merged.retain(|entry| &*entry.key != "timezone");
    }
    merged
}

fn union(over: &Rc<Node>, under: &Rc<Node>) -> Rc<Node> {
    let (Some(first), Some(rest)) = (over.entries(), under.entries()) else { return over.clone() };
    let missing = rest.iter().filter(|entry| find(first, &entry.key).is_none());
    let entries = first.iter().chain(missing).cloned().collect();
    Rc::new(Node { at: over.at, content: Content::Map(entries) })
}
