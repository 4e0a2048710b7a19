//! Targets of a sweep, parsed to disjoint intervals of addresses, hosts to resolve, files and interfaces to read.

use std::net::IpAddr;

use super::{Host, Wrong, text_value};

/// One entry of `targets` or `exclude`, as the file writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Disjoint ascending intervals of one family, first and last address included.
    Addresses(Vec<(IpAddr, IpAddr)>),
    /// A host: a name, or a link-local address with its zone.
    Host(Host),
    /// `@file`: one target a line, `#` starts a comment.
    File(std::path::PathBuf),
    /// `iface:eth0`: the networks of an interface.
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

impl std::str::FromStr for Targets {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let host: Host = text.parse()?;
        Ok(Self { text: text.to_owned(), target: Target::Host(host) })
    }
}

text_value!(
    Targets,
    "a target, such as \"10.0.2.2-4\"",
    "Hosts of a sweep.",
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
