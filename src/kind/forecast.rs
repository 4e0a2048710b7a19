//! What a run of a job would send and need, worked out before anything is sent. Numbers and sentences; who prints them is
//! the command line's affair.

use std::{path::Path, time::Duration};

use crate::net::interface::Interface;

/// What a forecast may look at. Nothing is sent for it, not even a look-up of a name.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The machine's interfaces.
    pub interfaces: &'a [Interface],
    /// The folder of the job file, where relative paths start.
    pub base: &'a Path,
    /// Whether this process may send ICMP.
    pub icmp: bool,
    /// Whether this process may open raw sockets.
    pub raw: bool,
    /// How many neighbours the kernel keeps at most, those of IPv4: `gc_thresh3`.
    pub neighbours: u64,
}

/// What one run would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Addresses of IPv4 that are asked.
    pub ipv4: u128,
    /// Those of IPv6.
    pub ipv6: u128,
    /// Names that are looked up when it runs; each counts as one target.
    pub names: u64,
    /// Targets on this machine's own links, which are asked for their hardware address first.
    pub on_link: u128,
    /// The most packets of all sorts.
    pub packets: u128,
    /// How long it takes where everybody answers at once.
    pub shortest: Duration,
    /// How long it takes where nobody answers.
    pub longest: Duration,
    /// How hosts are asked, such as `icmp` or `tcp/443`.
    pub method: String,
    /// The most descriptors at a time; `None` where it takes only a few.
    pub open_files: Option<u64>,
    /// What the author should know, each a sentence without a full stop and what to do about it.
    pub notes: Vec<(String, String)>,
}

impl Forecast {
    /// How many hosts are asked.
    pub fn targets(&self) -> u128 {
        self.ipv4.saturating_add(self.ipv6).saturating_add(self.names.into())
    }
}
