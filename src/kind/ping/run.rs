//! One run of a ping: each echo at its time, each answer counted for the echo that it belongs to.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::{Ping, RESENDS, tally::Tally};
use crate::{
    context::Context,
    kind::Error,
    net::{
        self,
        icmp::{Event, Options, Pace, Peer, Probe, Session, Source, What},
    },
    outcome::{Outcome, Reason, Samples},
    value::{Family, Host, family::label},
};

/// Pings once for each family that is asked for.
pub(super) async fn run(ping: &Ping, cx: &Context) -> Result<Outcome, Error> {
    let passes = ping.family.passes();
    let (mut tallies, mut cannot) = (Vec::new(), None);
    for family in passes {
        let tally = match pass(ping, cx, *family).await {
            Ok(tally) => tally,
            Err(error) if passes.len() > 1 => {
                let tally = Tally::failed(ping.label(), *family, &error);
                cannot = Some(error);
                tally
            }
            Err(error) => return Err(error),
        };
        tallies.push(tally);
    }
    match cannot {
        // In neither family could we look.
        Some(error) if tallies.iter().all(|tally| tally.sent == 0) => Err(error),
        _ => Ok(outcome(ping, &tallies)),
    }
}

/// All families' tallies as one outcome; whether `received` is enough is for expectations to say.
fn outcome(ping: &Ping, tallies: &[Tally]) -> Outcome {
    let mut outcome = Outcome::passed(Samples::default());
    outcome.samples = tallies.iter().map(|tally| tally.samples(ping.family == Family::Both)).collect();
    let worst = tallies.iter().max_by_key(|tally| tally.lost + tally.unsent);
    outcome.reason = worst.and_then(Tally::commonest);
    let messages: Vec<_> = tallies.iter().filter_map(Tally::message).collect();
    outcome.detail = detail(tallies).into();
    outcome.message = (!messages.is_empty()).then(|| messages.join("; "));
    outcome
}

/// `rtt_source`, for each family with an answer.
fn detail(tallies: &[Tally]) -> Value {
    let sources = tallies.iter().filter_map(|tally| Some((tally.family(), tally.rtt_source()?)));
    let sources: Map<_, Value> =
        sources.map(|(family, source)| (family.to_owned(), source.as_str().into())).collect();
    if sources.is_empty() { Value::Null } else { json!({ "rtt_source": sources }) }
}

async fn pass(ping: &Ping, cx: &Context, family: Family) -> Result<Tally, Error> {
    // A host with addresses of both families is asked in that of the source.
    let family = match (family, ping.source.as_ref().and_then(Host::address)) {
        (Family::Any, Some(IpAddr::V4(_))) => Family::V4,
        (Family::Any, Some(IpAddr::V6(_))) => Family::V6,
        _ => family,
    };
    let address = tokio::select! {
        found = cx.shared().resolver.lookup(&ping.host, 0, family) => found?[0],
        () = cx.cancelled() => return Ok(Tally::cancelled(ping.label())),
    };
    let source = ping.source.as_ref().map(source).transpose()?;
    if let Some(address) = missing(source) {
        return Err(net::Error::NoAddress { address }.into());
    }
    let options = Options {
        size: ping.size.0.into(),
        timeout: ping.timeout.0,
        ttl: ping.ttl.map(|ttl| ttl.0),
        tos: ping.tos.0,
        df: ping.df.0,
        source,
        is_stamped: true,
        pace: Pace::default(),
        resends: RESENDS,
    };
    let mut session = cx.shared().probers.open(address.is_ipv6(), options).await?;
    let mut tally = Tally::new(ping.label(), label(address.ip()), ping.count.0, cx.meters());
    echo(ping, cx, (source, address), &mut session, &mut tally).await?;
    tally.sent(session.counts().sent());
    Ok(tally)
}

/// Sends each echo at its time and reads what comes, until each has come to its end.
async fn echo(
    ping: &Ping,
    cx: &Context,
    (source, address): (Option<Source>, SocketAddr),
    session: &mut Session,
    tally: &mut Tally,
) -> Result<(), Error> {
    let (mut index, mut next) = (0, Instant::now());
    while !tally.is_complete() {
        tokio::select! {
            biased;
            () = cx.cancelled() => break,
            events = session.next() => {
                for mut event in events? {
                    // The kernel says no more of it than that there is no way from there.
                    if let What::Refused(failure) = &mut event.what && missing(source).is_some() {
                        failure.reason = Reason::NoInterface;
                    }
                    take(cx, address, tally, event);
                }
                tally.sent(session.counts().sent());
            }
            () = reached(next), if index < ping.count.0 => {
                session.submit(vec![Probe { index, peer: Peer::from(address) }]).await?;
                index += 1;
                // After a pause of this machine the rhythm starts anew: no burst makes up for what was missed.
                let late = next.elapsed();
                next = if late > ping.interval.0.max(LATE) { Instant::now() } else { next } + ping.interval.0;
            }
        }
    }
    Ok(())
}

/// Waits for an instant; what is due goes without a timer, which many runs that start at once would hold up.
async fn reached(at: Instant) {
    if Instant::now() < at {
        sleep_until(at).await;
    }
}

fn take(cx: &Context, address: SocketAddr, tally: &mut Tally, event: Event) {
    tally.take(event);
    let (rtt, reason, note) = match event.what {
        What::Answered { rtt, ttl, .. } => (Some(rtt), None, ttl.map(|ttl| format!("ttl={ttl}"))),
        What::Lost(failure) | What::Refused(failure) => {
            (None, Some(failure.reason), failure.offender.map(|offender| format!("says {offender}")))
        }
        What::Extra => return,
    };
    let (sequence, from) = (u64::from(event.index) + 1, address.ip().to_string());
    cx.notice(crate::outcome::Notice::Answer { sequence, from, rtt, reason, note: note.unwrap_or_default() });
}

/// The address or interface to send from.
fn source(host: &Host) -> Result<Source, net::Error> {
    let index = |name: &str| {
        let index = name.parse().ok().or_else(|| if_nametoindex(name).ok());
        index.ok_or_else(|| net::Error::NoInterface { name: name.to_owned() })
    };
    Ok(match host {
        Host::Ip(address) => Source::Address(*address, 0),
        Host::Scoped(address, zone) => Source::Address((*address).into(), index(zone)?),
        Host::Name(name) => Source::Interface(index(name)?),
    })
}

/// The address to send from, if this machine does not have it.
fn missing(source: Option<Source>) -> Option<IpAddr> {
    let Some(Source::Address(address, scope)) = source else { return None };
    let peer = Peer { address, scope };
    (!net::is_here(peer.socket_address())).then_some(address)
}

impl Ping {
    /// The host as the file gives it, for labels and messages.
    fn label(&self) -> String {
        self.host.to_string().trim_matches(['[', ']']).to_owned()
    }
}

/// A timer may be this late without the machine having paused.
const LATE: Duration = Duration::from_millis(50);

impl Tally {
    /// A family in which we could not look, beside another in which we could.
    fn failed(label: String, family: Family, error: &Error) -> Self {
        let family = if family == Family::V6 { "ipv6" } else { "ipv4" };
        let mut tally = Self::unmetered(label, family);
        tally.refuse(error.reason());
        tally.error = Some(error.to_string());
        tally
    }

    fn cancelled(label: String) -> Self {
        let mut tally = Self::unmetered(label, "ipv4");
        tally.refuse(Reason::Cancelled);
        tally
    }
}
