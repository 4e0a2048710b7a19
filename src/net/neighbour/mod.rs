//! Who is on the same link: ARP requests, neighbour solicitations and echoes that this program sends itself, so that no
//! host takes a place in the kernel's neighbour table. Knows no job and no kind.

#[doc(hidden)]
pub mod arp;
mod ask;
#[doc(hidden)]
pub mod echo;
mod filter;
mod mac;
#[doc(hidden)]
pub mod nd;
mod routes;
mod table;

pub use ask::{Answer, Asker, Question, Said};
pub use mac::Mac;
pub use routes::{Link, Routes, Way};
pub use table::{Table, table};

use crate::net::interface::Interface;

/// What asking needs.
pub(super) const CURE: &str = "allow it to the program, `setcap cap_net_raw+p netjobs`, or in Kubernetes with \
    `securityContext: {capabilities: {add: [NET_RAW]}}`";

/// Reads the routes and entries that were made by hand, for interfaces that were just read.
pub async fn routes(interfaces: &[Interface]) -> Result<Routes, super::Error> {
    let interfaces = interfaces.to_vec();
    let read = tokio::task::spawn_blocking(move || Routes::read(&interfaces)).await;
    read.map_err(std::io::Error::other)
        .flatten()
        .map_err(|source| super::Error::System { operation: "read the routes".into(), source })
}
