//! One ICMP echo to any of a host's addresses, one after the other. The sending and the checks are `net::icmp`'s.

use std::{net::SocketAddr, time::Duration};

use tokio::time::Instant;

use super::Miss;
use crate::{
    net::{
        Error,
        icmp::{Failure, Probers},
    },
    outcome::Reason,
};

/// The most that an echo is given up before its attempt is.
const HEARING: Duration = Duration::from_millis(50);

/// Asks the addresses in turn, each for its share of the time left. `Err`: this process may not send ICMP.
pub async fn icmp(
    probers: &Probers,
    addresses: &[SocketAddr],
    until: Instant,
) -> Result<Result<(), Miss>, Error> {
    let mut told: Option<Miss> = None;
    for (at, address) in (0..).zip(addresses) {
        let left = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_sub(at).max(1);
        let share = until.saturating_duration_since(Instant::now()) / left;
        // An error is told when the echo is given up: a little earlier than the attempt is, so that it is heard.
        let patience = share.saturating_sub((share / 10).min(HEARING));
        let miss = match probers.probe_once((*address).into(), patience).await {
            Ok(Ok(_)) => return Ok(Ok(())),
            Ok(Err(failure)) => miss(*address, failure),
            Err(error) if error.reason() == Reason::Permission => return Err(error),
            Err(error) => error.into(),
        };
        // That this machine has no way to one address tells less than silence from another.
        told = match told {
            Some(old) if matches!(miss.reason, Reason::NoRoute | Reason::NoIpv6) => Some(old),
            _ => Some(miss),
        };
    }
    Ok(Err(told.unwrap_or_else(|| Miss::new(Reason::Dns, "no address"))))
}

fn miss(to: SocketAddr, failure: Failure) -> Miss {
    let to = to.ip();
    match (failure.reason, failure.offender) {
        (Reason::Timeout, _) => Miss::new(Reason::Timeout, format!("echo {to}: no answer")),
        (reason, Some(offender)) => Miss::new(reason, format!("echo {to}: {reason}, says {offender}")),
        (reason, None) => Miss::new(reason, format!("echo {to}: {reason}")),
    }
}
