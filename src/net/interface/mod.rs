//! The machine's interfaces with their state and addresses, as `ip addr` and `ip link` show them. Reads only.
//!
//! One snapshot serves all who ask within a second, so that many jobs cost no more than one.

mod read;
mod route;
mod words;

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

pub use read::read;
pub use route::has_default_route;

use super::Error;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number; stays when it is renamed.
    pub index: u32,
    /// Its hardware address as `ip` prints it: colons, or an IP address for tunnels; `None` where it has none.
    pub mac: Option<String>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Names of its flags as `ip` prints them, in its order: `UP`, `LOWER_UP`, `NO-CARRIER`, ….
    pub flags: Vec<String>,
    /// The kernel's word for its operational state: `UP`, `DOWN`, `UNKNOWN`, `LOWERLAYERDOWN`, ….
    pub oper_state: &'static str,
    /// Bits a second; `None` where there is no such thing or it is not known.
    pub speed: Option<u64>,
    /// In the kernel's order.
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's own address.
    pub address: IpAddr,
    /// The other end's address, where the kernel has another one.
    pub peer: Option<IpAddr>,
    /// The length of the interface's own mask.
    pub prefix_length: u8,
    /// The broadcast address, where the kernel has one.
    pub broadcast: Option<Ipv4Addr>,
    /// How far it is valid: `global`, `site`, `link`, `host`, or a number.
    pub scope: String,
    /// `IFA_F_…` bits.
    pub flags: u32,
}

/// When an IPv6 address is not used yet, or no longer, or never: `IFA_F_…` of `linux/if_addr.h`.
mod bits {
    pub(super) const DAD_FAILED: u32 = 0x08;
    pub(super) const DEPRECATED: u32 = 0x20;
    pub(super) const TENTATIVE: u32 = 0x40;
}

impl Interface {
    /// Whether it is switched on (administratively).
    pub fn is_up(&self) -> bool {
        self.has_flag("UP")
    }

    /// Whether it has a flag of this name.
    pub fn has_flag(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag == name)
    }
}

impl Address {
    /// The network that it is in: of the other end where there is one.
    pub fn network(&self) -> IpNet {
        let base = self.peer.unwrap_or(self.address);
        IpNet::new(base, self.prefix_length).map_or_else(|_| base.into(), |net| net.trunc())
    }

    /// Whether the kernel still looks for another owner.
    pub fn is_tentative(&self) -> bool {
        self.flags & bits::TENTATIVE != 0
    }

    /// Whether its preferred lifetime is over.
    pub fn is_deprecated(&self) -> bool {
        self.flags & bits::DEPRECATED != 0
    }

    /// Whether somebody else owns it.
    pub fn is_duplicate(&self) -> bool {
        self.flags & bits::DAD_FAILED != 0
    }
}

/// How long a snapshot serves.
const FRESH: Duration = Duration::from_secs(1);

/// The last snapshot.
#[derive(Debug, Default)]
pub struct Snapshots {
    last: Mutex<Option<(Instant, Arc<[Interface]>)>>,
}

impl Snapshots {
    /// All interfaces in the order of their index, at most a second old; those who ask meanwhile wait for the same. The
    /// kernel answers at once: a thread for calls that block would cost more than the reading.
    pub async fn current(&self) -> Result<Arc<[Interface]>, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, interfaces)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(interfaces.clone());
        }
        let interfaces: Arc<[Interface]> =
            read().map_err(|source| failed("read the interfaces", source))?.into();
        *last = Some((Instant::now(), interfaces.clone()));
        Ok(interfaces)
    }
}

/// Whether packets to anywhere have a way out.
pub async fn default_route(v6: bool) -> Result<bool, Error> {
    // There may be a million of them.
    let read = spawn_blocking(move || has_default_route(v6)).await;
    read.map_err(io::Error::other).flatten().map_err(|source| failed("read the routes", source))
}

fn failed(operation: &str, source: io::Error) -> Error {
    Error::System { operation: operation.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(address: &str, peer: Option<&str>, prefix_length: u8) -> Address {
        Address {
            address: address.parse().unwrap(),
            peer: peer.map(|peer| peer.parse().unwrap()),
            prefix_length,
            broadcast: None,
            scope: "global".into(),
            flags: 0,
        }
    }

    #[test]
    fn the_network_comes_from_the_interfaces_own_mask() {
        assert_eq!(address("10.1.2.3", None, 20).network().to_string(), "10.1.0.0/20");
        assert_eq!(address("10.1.2.3", Some("10.9.9.9"), 32).network().to_string(), "10.9.9.9/32");
        assert_eq!(address("2001:db8::1:2", None, 112).network().to_string(), "2001:db8::1:0/112");
    }

    #[tokio::test]
    async fn those_who_ask_within_a_second_share_one_snapshot() {
        let snapshots = Snapshots::default();
        let (one, two) = tokio::join!(snapshots.current(), snapshots.current());
        assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_later_the_machine_is_looked_at_again() {
        let snapshots = Snapshots::default();
        let one = snapshots.current().await.unwrap();
        tokio::time::advance(FRESH).await;
        assert!(!Arc::ptr_eq(&one, &snapshots.current().await.unwrap()));
    }
}
