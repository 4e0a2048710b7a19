//! A run of an exchange: for each family one connection, `count` messages, and what they came to.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    Exchange, RTT_SECONDS,
    answer::Wanted,
    line::{Line, Passed},
};
use crate::{
    context::Context,
    kind::Error,
    meter::Histogram,
    net::{dial::Failure, rtt::Rtt},
    outcome::{Notice, Outcome, Reason, Sample, Samples, Verdict},
    value::{Endpoint, Family, Host, Payload},
};

/// What one family's pass has come to so far.
#[derive(Default)]
struct Tally {
    sent_bytes: u64,
    received_bytes: u64,
    connect_time: Option<Duration>,
    rtt: Rtt,
    failures: Vec<Failure>,
}

/// Runs all passes; the outcome holds one set of samples for each.
pub(super) async fn run(spec: &Exchange, cx: &Context) -> Result<Outcome, Error> {
    let send = bytes(&spec.send);
    let histogram = cx.meters().histogram(&RTT_SECONDS, &[]);
    let mut outcome = Outcome::passed(Samples::default());
    outcome.samples.clear();
    let mut failures = vec![];
    for family in spec.family.passes() {
        let mut tally = Tally::default();
        let is_cancelled = tokio::select! {
            biased;
            () = talk(spec, *family, &send, &histogram, &mut tally, cx) => false,
            () = cx.cancelled() => true,
        };
        if is_cancelled {
            tally.failures.push(Failure::told(Reason::Cancelled, "the run was ended".into()));
        }
        outcome.samples.push(tally.samples(spec.family, *family));
        failures.append(&mut tally.failures);
    }
    if let Some(failure) = commonest(&failures) {
        if matches!(failure.reason, Reason::Resources | Reason::Permission) {
            let Failure { reason, message, .. } = failure.clone();
            return Err(Error::Cannot { reason, message, hint: None });
        }
        outcome.verdict = Verdict::Failed;
        outcome.reason = Some(failure.reason);
        outcome.message = Some(format!("{}: {}", spec.to, failure.message));
    }
    Ok(outcome)
}

/// One pass. A stream that failed is of no more use; after a lost datagram the next one is tried.
async fn talk(
    spec: &Exchange,
    family: Family,
    send: &[u8],
    histogram: &Histogram,
    tally: &mut Tally,
    cx: &Context,
) {
    let to = match aim(&spec.to, family, cx) {
        Ok(to) => to,
        Err(failure) => return tally.failures.push(failure),
    };
    let wanted = Wanted::new(&spec.want, send);
    let mut line = None;
    for sequence in 1..=u64::from(spec.count.0) {
        if sequence > 1 {
            sleep(spec.interval.0).await;
        }
        let mut connected = match line.take() {
            Some(connected) => connected,
            None => match connect(spec, &to, family, tally, cx).await {
                Ok(connected) => connected,
                Err(failure) => {
                    notice(cx, sequence, &to, &Err(failure.clone()));
                    return tally.failures.push(failure);
                }
            },
        };
        let started = Instant::now();
        let mut passed = Passed::default();
        let asked = connected.ask(send, &wanted, spec.timeout, &mut passed).await;
        let rtt = started.elapsed();
        let length = passed.answer.len();
        tally.sent_bytes += passed.sent as u64;
        tally.received_bytes += length as u64;
        notice(cx, sequence, &to, &asked.as_ref().map(|()| (rtt, length)).map_err(Clone::clone));
        match asked {
            Ok(()) => {
                tally.rtt.record(rtt);
                histogram.observe(rtt.as_secs_f64());
                line = Some(connected);
            }
            Err(failure) => {
                tally.failures.push(failure);
                // The next datagram goes from a new socket, so that a late answer is not taken for its own.
                if !connected.is_datagram() {
                    return;
                }
            }
        }
    }
}

async fn connect(
    spec: &Exchange,
    to: &Endpoint,
    family: Family,
    tally: &mut Tally,
    cx: &Context,
) -> Result<Line, Failure> {
    let started = Instant::now();
    let line = Line::connect(to, family, spec.timeout, cx).await?;
    if !line.is_datagram() {
        tally.connect_time = Some(started.elapsed());
    }
    Ok(line)
}

fn notice(cx: &Context, sequence: u64, to: &Endpoint, asked: &Result<(Duration, usize), Failure>) {
    let (rtt, reason, note) = match asked {
        Ok((rtt, length)) => (Some(*rtt), None, format!("bytes={length}")),
        Err(failure) => (None, Some(failure.reason), String::new()),
    };
    cx.notice(Notice::Answer { sequence, from: to.to_string(), rtt, reason, note });
}

/// Whom to ask: a service's address where the file names a job.
fn aim(to: &Endpoint, family: Family, cx: &Context) -> Result<Endpoint, Failure> {
    let Endpoint::Job(name) = to else { return Ok(to.clone()) };
    let address = cx.address_of(name.as_str());
    let address = address.ok_or_else(|| Failure::told(Reason::Refused, "the service is not ready".into()))?;
    Ok(match address {
        Endpoint::Tcp(host, ports) => Endpoint::Tcp(reachable(host, family), ports),
        Endpoint::Udp(host, ports) => Endpoint::Udp(reachable(host, family), ports),
        other => other,
    })
}

/// The loopback address under which a listener on all addresses is reached.
fn reachable(host: Host, family: Family) -> Host {
    match host {
        Host::Ip(ip) if ip.is_unspecified() && (ip.is_ipv4() || family == Family::V4) => {
            Host::Ip(Ipv4Addr::LOCALHOST.into())
        }
        Host::Ip(ip) if ip.is_unspecified() => Host::Ip(Ipv6Addr::LOCALHOST.into()),
        other => other,
    }
}

/// The failure whose reason is the commonest; the first of those.
fn commonest(failures: &[Failure]) -> Option<&Failure> {
    let mut counts = BTreeMap::new();
    for failure in failures {
        *counts.entry(failure.reason).or_insert(0u32) += 1;
    }
    let most = counts.values().max().copied()?;
    failures.iter().find(|failure| counts[&failure.reason] == most)
}

impl Tally {
    fn samples(&self, asked: Family, family: Family) -> Samples {
        let label = match (asked, family) {
            (Family::Both, Family::V4) => Some("ipv4"),
            (Family::Both, Family::V6) => Some("ipv6"),
            _ => None,
        };
        let mut samples = Samples { family: label, ..Samples::default() };
        samples.count("sent_bytes", self.sent_bytes);
        samples.count("received_bytes", self.received_bytes);
        if let Some(time) = self.connect_time {
            samples.push("connect_time", Sample::from(time));
        }
        self.rtt.samples(&mut samples);
        samples
    }
}

/// The bytes of a payload; random ones are new each time.
fn bytes(payload: &Payload) -> Vec<u8> {
    let size = match payload {
        Payload::Bytes(bytes) => return bytes.clone(),
        Payload::Random(size) => usize::try_from(*size).unwrap_or(usize::MAX),
    };
    // Splitmix64 from a seed of the system: random enough to tell answers apart, and no secret.
    let mut state = RandomState::new().build_hasher().finish();
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ word >> 31).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
