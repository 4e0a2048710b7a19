//! Happy eyeballs (RFC 8305): families interleaved, attempts 250 ms apart, the first connection wins, losers are cancelled.

use std::{
    collections::VecDeque, future::poll_fn, io, net::SocketAddr, pin::Pin, task::Poll, time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{Failure, Options, Source, attempt, no_address, no_way_from, tcp_once, usable};
use crate::outcome::Reason;

/// RFC 8305's connection attempt delay.
const APART: Duration = Duration::from_millis(250);

type Attempt<'a> = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send + 'a>>;

/// Connects to the first of these addresses that answers, and says which it was.
pub async fn tcp(addresses: &[SocketAddr], options: &Options) -> Result<(TcpStream, SocketAddr), Failure> {
    let source = options.source.as_ref();
    if let [address] = addresses {
        // The usual upstream: one attempt, one timer, nothing to choose.
        return match source {
            Some(Source::Address(from)) if from.is_ipv4() != address.is_ipv4() => Err(no_way_from(*from)),
            _ => tcp_once(*address, options).await.map(|stream| (stream, *address)),
        };
    }
    let mut waiting = interleave(&usable(addresses, source)?);
    let first = *waiting.front().ok_or_else(no_address)?;
    let deadline = Instant::now() + options.timeout;
    let mut going: Vec<Attempt<'_>> = vec![];
    let mut next = Instant::now();
    let mut failures: Vec<Failure> = vec![];
    loop {
        if let Some(address) = waiting.front().copied()
            && (going.is_empty() || Instant::now() >= next)
        {
            waiting.pop_front();
            going.push(Box::pin(async move { (address, attempt(address, source).await) }));
            next = Instant::now() + APART;
        }
        tokio::select! {
            biased;
            (address, result) = finished(&mut going), if !going.is_empty() => match result {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => {
                    failures.push(Failure::new(address, &error));
                    // A failure frees the next attempt at once.
                    next = Instant::now();
                }
            },
            () = sleep_until(deadline) => return Err(Failure::late(first, options.timeout)),
            () = sleep_until(next), if !waiting.is_empty() => {}
        }
        if going.is_empty() && waiting.is_empty() {
            return Err(commonest(failures));
        }
    }
}

/// Waits for any attempt to end and takes it out.
async fn finished(going: &mut Vec<Attempt<'_>>) -> (SocketAddr, io::Result<TcpStream>) {
    poll_fn(|cx| {
        for index in 0..going.len() {
            if let Poll::Ready(result) = going[index].as_mut().poll(cx) {
                drop(going.swap_remove(index));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}

/// The families in turn, beginning with the first address's.
fn interleave(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (ours, theirs): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first_is_v4);
    let mut theirs = theirs.into_iter();
    let mut mixed = VecDeque::new();
    for address in ours {
        mixed.push_back(address);
        mixed.extend(theirs.next());
    }
    mixed.extend(theirs);
    mixed
}

/// The failure that says most: an answer of the peer's before a lack of a way.
fn commonest(failures: Vec<Failure>) -> Failure {
    let count = failures.len();
    let told = failures.into_iter().min_by_key(|failure| match failure.reason {
        // That address has not been asked yet.
        _ if failure.is_short => 0,
        Reason::Refused => 1,
        Reason::Reset => 2,
        Reason::AdminProhibited => 3,
        Reason::ConnectTimeout => 4,
        Reason::HostUnreachable => 5,
        Reason::NoRoute => 7,
        Reason::NoIpv6 => 8,
        _ => 6,
    });
    let mut told = told.unwrap_or_else(no_address);
    if count > 1 {
        told.message = format!("{} (and {} more)", told.message, count - 1);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mixed = interleave(&[parse("[::1]:1"), parse("[::2]:1"), parse("10.0.0.1:1"), parse("[::3]:1")]);
        let mixed: Vec<String> = mixed.iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
    }
}
