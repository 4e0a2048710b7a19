//! What a ping counts: ends, extras, round trips, reasons. sent = received + lost + in flight, after every event.

use std::{collections::BTreeMap, time::Duration};

use super::{DUPLICATE, LATE, LOST, RECEIVED, RTT, SENT};
use crate::{
    meter::{Counter, Histogram, Meters},
    net::{
        icmp::{Event, What},
        rtt::Rtt,
    },
    outcome::{NETWORK_SECONDS, Reason, RttSource, Sample, Samples},
};

/// The counts of one family.
#[derive(Debug)]
pub(super) struct Tally {
    label: String,
    family: &'static str,
    /// How many echoes there are to be.
    count: u32,
    /// What became of them, up to the last one of which anything is known.
    ends: Vec<End>,
    meters: Series,
    rtt: Rtt,
    /// How many round trips the kernel stamped at both ends.
    stamped: u64,
    previous: Option<Duration>,
    steps: (f64, u32),
    highest: Option<u32>,
    reasons: BTreeMap<Reason, u64>,
    ttl: Option<u8>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    /// Echoes that this machine did not send.
    pub(super) unsent: u64,
    /// Why nothing could be tried in this family.
    pub(super) error: Option<String>,
    duplicates: u64,
    late: u64,
    reordered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Answered,
    Lost,
    Unsent,
}

#[derive(Debug)]
struct Series {
    sent: Counter,
    received: Counter,
    lost: Counter,
    duplicate: Counter,
    late: Counter,
    rtt: Histogram,
}

impl Series {
    fn new(meters: &Meters, labels: &[&str]) -> Self {
        Self {
            sent: meters.counter(&SENT, labels),
            received: meters.counter(&RECEIVED, labels),
            lost: meters.counter(&LOST, labels),
            duplicate: meters.counter(&DUPLICATE, labels),
            late: meters.counter(&LATE, labels),
            rtt: meters.histogram(&RTT, labels),
        }
    }

    /// Counts that no registry shows.
    fn hidden() -> Self {
        let counter = Counter::default;
        let rtt = Histogram::new(NETWORK_SECONDS);
        Self {
            sent: counter(),
            received: counter(),
            lost: counter(),
            duplicate: counter(),
            late: counter(),
            rtt,
        }
    }
}

impl Tally {
    /// Nothing has been sent of `count` echoes.
    pub(super) fn new(label: String, family: &'static str, count: u32, meters: &Meters) -> Self {
        let series = Series::new(meters, &[&label, family]);
        Self { count, ..Self::counting(label, family, series) }
    }

    /// Nothing will be sent.
    pub(super) fn unmetered(label: String, family: &'static str) -> Self {
        Self::counting(label, family, Series::hidden())
    }

    fn counting(label: String, family: &'static str, meters: Series) -> Self {
        Self {
            label,
            family,
            count: 0,
            ends: vec![],
            meters,
            rtt: Rtt::default(),
            stamped: 0,
            previous: None,
            steps: (0.0, 0),
            highest: None,
            reasons: BTreeMap::new(),
            ttl: None,
            sent: 0,
            received: 0,
            lost: 0,
            unsent: 0,
            error: None,
            duplicates: 0,
            late: 0,
            reordered: 0,
        }
    }

    /// Whether each echo has come to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.received + self.lost + self.unsent == u64::from(self.count)
    }

    /// So many have been sent by now.
    pub(super) fn sent(&mut self, sent: u64) {
        self.meters.sent.add(sent - self.sent);
        self.sent = sent;
    }

    /// Notes why nothing could be sent.
    pub(super) fn refuse(&mut self, reason: Reason) {
        *self.reasons.entry(reason).or_default() += 1;
    }

    /// Counts an event; one that names an echo of which we know nothing is left out.
    pub(super) fn take(&mut self, event: Event) {
        if event.index >= self.count {
            return;
        }
        let index = event.index as usize;
        self.ends.resize(self.ends.len().max(index + 1), End::Open);
        let end = &mut self.ends[index];
        match event.what {
            What::Answered { rtt, ttl, is_stamped } => {
                *end = End::Answered;
                self.stamped += u64::from(is_stamped);
                self.answered(event.index, rtt);
                self.ttl = ttl.or(self.ttl);
            }
            What::Lost(failure) => {
                *end = End::Lost;
                self.lost += 1;
                self.meters.lost.inc();
                self.refuse(failure.reason);
            }
            What::Refused(failure) => {
                *end = End::Unsent;
                self.unsent += 1;
                self.refuse(failure.reason);
            }
            What::Extra if *end == End::Answered => {
                self.duplicates += 1;
                self.meters.duplicate.inc();
            }
            What::Extra => {
                self.late += 1;
                self.meters.late.inc();
            }
        }
    }

    fn answered(&mut self, index: u32, rtt: Duration) {
        self.received += 1;
        self.meters.received.inc();
        self.meters.rtt.observe(rtt.as_secs_f64());
        self.rtt.record(rtt);
        if let Some(previous) = self.previous.replace(rtt) {
            self.steps.0 += rtt.abs_diff(previous).as_secs_f64();
            self.steps.1 += 1;
        }
        match self.highest {
            Some(highest) if index < highest => self.reordered += 1,
            _ => self.highest = Some(index),
        }
    }

    /// Where the round trips were measured; `None` without any.
    pub(super) fn rtt_source(&self) -> Option<RttSource> {
        match (self.stamped, self.received) {
            (_, 0) => None,
            (stamped, received) if stamped == received => Some(RttSource::Kernel),
            (0, _) => Some(RttSource::User),
            _ => Some(RttSource::Mixed),
        }
    }

    /// The address family.
    pub(super) fn family(&self) -> &'static str {
        self.family
    }

    /// The commonest reason of what went wrong.
    pub(super) fn commonest(&self) -> Option<Reason> {
        self.reasons.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| *reason)
    }

    /// What went wrong, for people.
    pub(super) fn message(&self) -> Option<String> {
        let reason = self.commonest()?;
        let label = &self.label;
        if let Some(error) = &self.error {
            return Some(format!("{label} ({}): {error}", self.family));
        }
        Some(match (self.unsent, self.lost) {
            (0, 0) => format!("{label} ({}): {reason}", self.family),
            (0, lost) => format!("{lost} of {} echoes to {label} were lost: {reason}", self.sent),
            (unsent, _) => {
                format!("this machine did not send {unsent} of {} echoes to {label}: {reason}", self.count)
            }
        })
    }

    /// All measurements that exist: without an answer there is no round trip, without an end no loss.
    pub(super) fn samples(&self, name_family: bool) -> Samples {
        let mut samples = Samples { family: name_family.then_some(self.family), ..Samples::default() };
        samples.count("sent", self.sent);
        samples.count("received", self.received);
        samples.count("lost", self.lost);
        samples.count("unsent", self.unsent);
        samples.count("duplicates", self.duplicates);
        samples.count("late", self.late);
        samples.count("reordered", self.reordered);
        // Of an interrupted run nobody knows what would have become of those on their way.
        let ended = self.received + self.lost;
        if ended > 0 {
            samples.push("loss", Sample::Number(self.lost as f64 / ended as f64));
        }
        self.rtt.samples(&mut samples);
        if self.steps.1 > 0 {
            samples.push("jitter", Sample::Number(self.steps.0 / f64::from(self.steps.1)));
        }
        if let Some(ttl) = self.ttl {
            samples.count("ttl", ttl.into());
        }
        samples
    }
}

#[cfg(test)]
mod tests;
