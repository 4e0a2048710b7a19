//! The far end of a `pair` as a script in few words: IPv4, ICMP messages as bytes. `responder` says all that there is.

use std::{net::Ipv4Addr, time::Duration};

use netjobs::net::icmp::packet::checksum;

use super::responder::Responder;
use crate::netns::Namespace;

/// An answer of the script.
pub(super) struct Answer {
    /// After this time.
    pub(super) delay: Duration,
    /// From this address.
    pub(super) from: Ipv4Addr,
    /// The ICMP message.
    pub(super) message: Vec<u8>,
}

/// The thread that answers; it ends when this is dropped.
pub(super) struct Scripted {
    _responder: Responder,
}

/// The peer's own address.
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Another address behind the peer.
pub(super) const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

/// An honest reply to a request.
pub(super) fn reply(request: &[u8]) -> Vec<u8> {
    let mut message = request.to_vec();
    message[0] = 0;
    seal(&mut message);
    message
}

/// Sets a right checksum.
pub(super) fn seal(message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// An honest reply after some milliseconds.
pub(super) fn after(milliseconds: u64, request: &[u8]) -> Answer {
    Answer { delay: Duration::from_millis(milliseconds), from: PEER, message: reply(request) }
}

impl Scripted {
    /// Answers each request to `PEER`, counted from 0, as the script says.
    pub(super) fn start(
        peer: &Namespace,
        mut script: impl FnMut(usize, &[u8]) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        let script = move |request: &super::responder::Request| {
            let answers = script(request.number, &request.message).into_iter();
            let build = |answer: Answer| {
                request.answer(answer.message).unsealed().from(&answer.from.to_string()).after(answer.delay)
            };
            answers.map(build).collect()
        };
        Self { _responder: Responder::behind(peer, script) }
    }
}
