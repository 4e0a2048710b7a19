//! What the watches of a `wait` come to: one set of samples a family, the cause in `last_reason`, a sentence that names
//! what is still missing.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::watch::{UP, Watch};
use crate::{
    outcome::{Outcome, Reason, Sample, Samples, Verdict, seconds},
    value::Family,
};

/// How many endpoints a sentence names.
const NAMED: usize = 3;

/// The outcome of a wait that is over, or was `cancelled`.
pub(super) fn of(watches: &[Watch], started: Instant, cancelled: bool) -> Outcome {
    let missing: Vec<&Watch> = watches.iter().filter(|watch| watch.held_at.is_none()).collect();
    let mut families: Vec<Family> = watches.iter().map(|watch| watch.family).collect();
    families.dedup();
    let mut outcome = Outcome::passed(Samples::default());
    outcome.samples = families.into_iter().map(|family| samples(watches, family, started)).collect();
    let endpoints: Vec<_> = watches.iter().map(|watch| record(watch, started)).collect();
    outcome.detail = json!({ "endpoints": endpoints }).into();
    if !missing.is_empty() {
        outcome.verdict = Verdict::Failed;
        outcome.reason = Some(if cancelled { Reason::Cancelled } else { Reason::Timeout });
        outcome.message = Some(sentence(&missing, started));
    }
    outcome
}

fn samples(all: &[Watch], family: Family, started: Instant) -> Samples {
    let watches = || all.iter().filter(|watch| watch.family == family);
    let word = match family {
        _ if all.iter().all(|watch| watch.family == family) => None,
        Family::V6 => Some("ipv6"),
        _ => Some("ipv4"),
    };
    let mut samples = Samples { family: word, ..Samples::default() };
    let slowest = watches().max_by_key(|watch| watch.held_at.map_or((1, started), |at| (0, at)));
    let end = slowest.and_then(|watch| watch.held_at).unwrap_or_else(Instant::now);
    samples.count("attempts", watches().map(|watch| watch.attempts).sum());
    samples.push("waited", (end - started).into());
    if let Some(word) = slowest.and_then(last_word) {
        samples.push("last_reason", Sample::Word(word));
    }
    samples
}

/// What stood or stands in the way; `None` where nothing ever did.
fn last_word(watch: &Watch) -> Option<&'static str> {
    match (watch.held_at, watch.last_miss) {
        (None, _) if watch.state == UP => Some(UP),
        (_, Some(reason)) => Some(reason.as_str()),
        _ => None,
    }
}

fn sentence(missing: &[&Watch], started: Instant) -> String {
    let named = |watch: &&Watch| format!("{}: {}", watch.endpoint, watch.message);
    let mut parts: Vec<String> = missing.iter().take(NAMED).map(named).collect();
    if missing.len() > NAMED {
        parts.push(format!("and {} more", missing.len() - NAMED));
    }
    format!("waited {:.1} s; {}", started.elapsed().as_secs_f64(), parts.join("; "))
}

fn record(watch: &Watch, started: Instant) -> Value {
    json!({
        "endpoint": watch.endpoint.to_string(),
        "family": match watch.family { Family::V4 => Some("ipv4"), Family::V6 => Some("ipv6"), _ => None },
        "came": watch.held_at.is_some(),
        "waited": watch.held_at.map(|at| seconds(at - started)),
        "attempts": watch.attempts,
        "last_reason": last_word(watch),
    })
}
