//! Targets of a sweep as job files write them: ranges, networks, hosts, `@file`, `iface:eth0`.
//!
//! Only the spelling is judged here; names are resolved and files and interfaces read by those who sweep.

mod grammar;
mod set;

use std::{fmt, net::IpAddr, path::PathBuf};

pub use set::AddressSet;

use super::{Host, Wrong, text_value};

/// One entry of `targets` or `exclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `10.0.1-3.2-4`, `10.0.2.*`, `10.0.2.2`: first and last of each octet.
    Octets([(u8, u8); 4]),
    /// `10.0.2.2-10.0.3.9`, `2001:db8::10-2f`, `2001:db8::1`: first and last address, of one family.
    Range(IpAddr, IpAddr),
    /// `10.0.2.0/24`, `2001:db8::/120`: the address as it is written and the prefix length.
    Network(IpAddr, u8),
    /// A host to resolve: a name, or a link-local address with its zone.
    Host(Host),
    /// `@file`: one target a line, `#` starts a comment. A relative path starts at the job file.
    File(PathBuf),
    /// `iface:eth0`: the networks that an interface is connected to.
    Interface(String),
}

/// One entry of `targets` or `exclude` together with its spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// As the file writes it.
    pub text: String,
    /// What it stands for.
    pub target: Target,
}

impl Target {
    /// The addresses that it stands for; `None` where they are known only when it is swept.
    ///
    /// Without `edges`, the first and last address of an IPv4 network of /30 or shorter are left out.
    pub fn addresses(&self, edges: bool) -> Option<Vec<(IpAddr, IpAddr)>> {
        match self {
            Self::Octets(octets) => Some(grammar::intervals(*octets)),
            Self::Range(first, last) => Some(vec![(*first, *last)]),
            Self::Network(address, prefix) => Some(vec![network(*address, *prefix, edges)]),
            Self::Host(_) | Self::File(_) | Self::Interface(_) => None,
        }
    }

    /// The network's right spelling, where its address has bits set beyond the prefix.
    pub fn suggestion(&self) -> Option<String> {
        let Self::Network(address, prefix) = self else { return None };
        let (first, _) = network(*address, *prefix, true);
        (first != *address).then(|| format!("{first}/{prefix}"))
    }
}

/// First and last address of a network, or of its hosts.
pub fn network(address: IpAddr, prefix: u8, edges: bool) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let first = u32::from(address) & !hosts;
            let skipped = u32::from(!edges && prefix <= 30);
            (IpAddr::V4((first + skipped).into()), IpAddr::V4((first + hosts - skipped).into()))
        }
        IpAddr::V6(address) => {
            let hosts = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let first = u128::from(address) & !hosts;
            (IpAddr::V6(first.into()), IpAddr::V6((first + hosts).into()))
        }
    }
}

impl std::str::FromStr for Targets {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        Ok(Self { text: text.to_owned(), target: grammar::parse(text)? })
    }
}

impl fmt::Display for Target {
    /// A spelling that reads back as the same target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(octets) => {
                for (at, (first, last)) in octets.iter().enumerate() {
                    f.write_str(if at > 0 { "." } else { "" })?;
                    match (first, last) {
                        (0, 255) => f.write_str("*")?,
                        (first, last) if first == last => write!(f, "{first}")?,
                        (first, last) => write!(f, "{first}-{last}")?,
                    }
                }
                Ok(())
            }
            // A lone address of IPv4 is read as octets.
            Self::Range(first, last) if first == last && first.is_ipv6() => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Network(address, prefix) => write!(f, "{address}/{prefix}"),
            Self::Host(Host::Scoped(address, zone)) => write!(f, "{address}%{zone}"),
            Self::Host(host) => write!(f, "{host}"),
            Self::File(path) => write!(f, "@{}", path.display()),
            Self::Interface(name) => write!(f, "iface:{name}"),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text_value!(
    Targets,
    "a target, such as \"10.0.2.2-4\"",
    "Hosts of a sweep: addresses, ranges, networks, names, `@file` or `iface:NAME`.",
    [
        "10.0.2.2-4",
        "10.0.2.2-10.0.3.9",
        "10.0.1-3.2-4",
        "10.0.2.*",
        "10.0.2.0/24",
        "2001:db8::10-2f",
        "fe80::1%eth0",
        "db.example.com",
        "@hosts.txt",
        "iface:eth0"
    ]
);
