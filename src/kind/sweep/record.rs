//! The record of a sweep's hosts, made of what the sweep keeps of each: five bytes, and no text before somebody asks.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    drive::Seen,
    found::Findings,
    hosts::{Hosts, Unresolved},
};
use crate::{
    net::neighbour::Mac,
    outcome::{Detail, HostList, HostRecord, HostState, seconds},
};

/// Which hosts are named.
#[derive(Debug)]
pub(super) enum Told {
    /// Every one.
    All,
    /// Those of these numbers, ascending.
    These(Vec<u32>),
}

/// `hosts: [{ host, state, evidence | reason, rtt, mac, duplicates }]`, ascending by address; round trips in seconds.
/// `mac` is there for hosts of this machine's own links, `duplicates` where other stations claim the address, too.
#[derive(Debug)]
struct Record {
    hosts: Hosts,
    /// Names of interfaces as they are now: one may be gone when the record is written.
    zones: BTreeMap<u32, String>,
    findings: Findings,
    seen: BTreeMap<u32, Seen>,
    told: Told,
}

/// The record of what was found.
pub(super) fn detail(hosts: Hosts, findings: Findings, seen: BTreeMap<u32, Seen>, told: Told) -> Detail {
    let zones = hosts.zones();
    Detail::Hosts(Arc::new(Record { hosts, zones, findings, seen, told }))
}

impl HostList for Record {
    fn each(&self, tell: &mut dyn FnMut(HostRecord<'_>)) {
        let count = match &self.told {
            Told::All => {
                (0..self.hosts.count()).filter_map(|index| self.host(index)).for_each(&mut *tell);
                self.hosts.count() as usize
            }
            Told::These(those) => {
                those.iter().filter_map(|index| self.host(*index)).for_each(&mut *tell);
                those.len()
            }
        };
        if count == 0 {
            return;
        }
        for Unresolved { name, reason, .. } in &self.hosts.unresolved {
            let (host, reason) = (name.into(), Some(reason.as_str()));
            tell(HostRecord { host, state: HostState::Silent.as_str(), reason, ..HostRecord::default() });
        }
    }
}

impl Record {
    fn name(&self, index: u32) -> String {
        let peer = self.hosts.peer(index);
        match self.zones.get(&peer.scope) {
            Some(zone) => format!("{}%{zone}", peer.address),
            None => peer.address.to_string(),
        }
    }

    /// `None` where its state is not known.
    fn host(&self, index: u32) -> Option<HostRecord<'_>> {
        let finding = self.findings.get(index);
        let (state, why) = (finding.state()?.as_str(), Some(finding.why()));
        let (evidence, reason) = if finding.is_alive() { (why, None) } else { (None, why) };
        let seen = self.seen.get(&index);
        Some(HostRecord {
            host: self.name(index).into(),
            state,
            evidence,
            reason,
            rtt: self.findings.rtt(index).map(seconds),
            mac: seen.map(|seen| seen.mac.to_string()),
            duplicates: seen.map(|seen| seen.others.iter().map(Mac::to_string).collect()).unwrap_or_default(),
        })
    }
}
