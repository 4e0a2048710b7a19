//! A network of a script's own: a TUN device in a test's namespace, behind which one thread reads each packet and answers
//! as it is told. Not a kernel: it knows no routes, no limits of rate and no checksum that it was not given.
//!
//! ```ignore
//! let ours = Namespace::new();
//! let _responder = Responder::start(&ours, |request| match request.number {
//!     0 => vec![],                                                     // silence
//!     1 => vec![request.reply().after(50)],                            // late by 50 ms
//!     2 => vec![request.reply(), request.reply().after(5)],            // doubled
//!     3 => vec![request.reply().from("10.9.0.3")],                     // another source
//!     4 => vec![request.reply().with(|message| message[30] ^= 1)],     // another byte, its checksum right
//!     5 => vec![request.reply().spoil(2, 0x40)],                       // a wrong checksum
//!     6 => vec![request.reply().with(|message| message.truncate(20))], // cut short
//!     7 => vec![request.reply().options()],                            // IP options, an IPv6 extension header
//!     _ => vec![request.error("10.9.0.9", 3, 1, 8)],                   // host unreachable, 8 bytes quoted
//! });
//! ```
//!
//! The namespace is 10.9.0.1 and `fd09::1`, and the script is everybody else: each packet of either family goes to it.
//! The script sees echo requests; `Responder::all` shows it every packet. Times are exact to some ten microseconds as far
//! as the machine has a core to spare; what is due is never sent too early. `Link` joins two namespaces by a bad line.

mod device;
mod link;
mod packet;
#[cfg(test)]
mod tests;
mod tun;

use std::time::{Duration, Instant};

pub(super) use link::{Chance, Line, Link};
pub(super) use packet::{Answer, Request};
use tun::{Device, Loop};

use crate::netns::Namespace;

/// The thread that answers; it ends, and its device with it, when this is dropped.
pub(super) struct Responder {
    _loop: Loop,
}

impl Responder {
    /// Makes a namespace without links a host whose whole network is the script, which is asked for each echo request.
    pub(super) fn start(
        ours: &Namespace,
        script: impl FnMut(&Request) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        Self::all(ours, echo_requests(script))
    }

    /// The same, but the script is asked for every packet that is whole; its number is that among all.
    pub(super) fn all(
        ours: &Namespace,
        script: impl FnMut(&Request) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        let device = Device::open(ours, &["10.9.0.1/24", "fd09::1/64"]);
        ours.sh(&format!("ip route add default dev {0}; ip -6 route add default dev {0}", device.name()));
        Self::run(device, script)
    }

    /// Makes a script of the address 10.9.0.2 of the far end of a `pair`, whose kernel hands packets on to it.
    pub(super) fn behind(
        peer: &Namespace,
        script: impl FnMut(&Request) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        let device = Device::open(peer, &[]);
        // The kernel still answers for the address on the link, and believes any source.
        peer.sh(&format!(
            "link=$(ip -o addr show to 10.9.0.2 | awk '{{ print $2; exit }}'); \
             ip addr del 10.9.0.2/24 dev $link; ip addr add 10.9.0.254/24 dev $link; ip route add 10.9.0.2 dev {0}; \
             cd /proc/sys/net/ipv4; echo 1 > conf/$link/proxy_arp; echo 0 > neigh/$link/proxy_delay; \
             for device in all {0}; do echo 0 > conf/$device/rp_filter; done",
            device.name()
        ));
        Self::run(device, echo_requests(script))
    }

    fn run(device: Device, mut script: impl FnMut(&Request) -> Vec<Answer> + Send + 'static) -> Self {
        let mut number = 0;
        let react = move |_, packet: &[u8], at: Instant| {
            let Some(mut request) = Request::read(packet, at) else { return vec![] };
            request.number = number;
            number += 1;
            script(&request).into_iter().map(|answer| (answer.delay, 0, answer.build())).collect()
        };
        Self { _loop: Loop::start(vec![device], react) }
    }
}

/// A script that is asked for echo requests alone, which are numbered from 0.
fn echo_requests(
    mut script: impl FnMut(&Request) -> Vec<Answer> + Send + 'static,
) -> impl FnMut(&Request) -> Vec<Answer> + Send + 'static {
    let mut number = 0;
    move |request| {
        if !request.is_echo() {
            return vec![];
        }
        let request = Request { number, ..request.clone() };
        number += 1;
        script(&request)
    }
}

/// Milliseconds or any other time.
pub(super) trait IntoDelay {
    fn delay(self) -> Duration;
}

impl IntoDelay for u64 {
    fn delay(self) -> Duration {
        Duration::from_millis(self)
    }
}

impl IntoDelay for Duration {
    fn delay(self) -> Duration {
        self
    }
}
