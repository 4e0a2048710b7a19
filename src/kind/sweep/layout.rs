//! Which hosts a sweep has, and the number of each. Pure but for the names of interfaces; what the entries of a file stand
//! for is found out by `hosts`.

use std::{collections::BTreeMap, net::IpAddr};

use super::spec::Shard;
use crate::{net::icmp::Peer, value::AddressSet};

/// Hosts of a shard by number: addresses in ascending order, then those behind a zone, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    set: AddressSet,
    scoped: Vec<Peer>,
    /// Those behind a zone in ascending order, each with its place.
    places: Vec<(Peer, usize)>,
    shard: Shard,
}

impl Layout {
    /// Addresses, hosts behind zones, and which of both are this shard's.
    pub(super) fn new(set: AddressSet, scoped: Vec<Peer>, shard: Shard) -> Self {
        let mut places: Vec<_> = scoped.iter().copied().zip(0..).collect();
        places.sort_unstable();
        Self { set, scoped, places, shard }
    }

    /// The addresses of all shards.
    pub(super) fn set(&self) -> &AddressSet {
        &self.set
    }

    /// How many there are in all shards.
    pub(super) fn all(&self) -> u128 {
        self.set.count() + self.scoped.len() as u128
    }

    /// Which of them are its own.
    pub(super) fn shard(&self) -> Shard {
        self.shard
    }

    /// How many are its own.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.shard.count(self.all())).unwrap_or(u32::MAX)
    }

    /// The host of a number below the count.
    pub(super) fn peer(&self, number: u32) -> Peer {
        let among_all = self.shard.among_all(number);
        let zoned = || {
            let at = among_all.checked_sub(self.set.count()).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| self.scoped.get(at)).copied()
        };
        let address = self.set.get(among_all).map(Peer::from);
        address.or_else(zoned).unwrap_or(Peer { address: IpAddr::from([0, 0, 0, 0]), scope: 0 })
    }

    /// The number of a host; `None` where it is not one of these.
    pub(super) fn number(&self, peer: Peer) -> Option<u32> {
        let zoned = || {
            let found = self.places.binary_search_by_key(&peer, |(peer, _)| *peer).ok()?;
            Some(self.set.count() + self.places[found].1 as u128)
        };
        // An answer comes from behind an interface, also where the address says enough.
        let among_all = self.set.position(peer.address).or_else(zoned)?;
        self.shard.number(among_all).and_then(|number| u32::try_from(number).ok())
    }

    /// The interfaces of hosts behind a zone, by number, with their names.
    pub(super) fn zones(&self) -> BTreeMap<u32, String> {
        self.scoped.iter().map(|peer| (peer.scope, zone(peer.scope))).collect()
    }

    /// The addresses as ranges, and each host behind a zone as one of its own.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        self.set.ranges().chain(self.scoped.iter().map(|peer| (peer.address, peer.address)))
    }

    /// Which families there are: IPv4, IPv6.
    pub(super) fn families(&self) -> [bool; 2] {
        let v4 = self.set.ranges().any(|(first, _)| first.is_ipv4());
        [v4, !self.scoped.is_empty() || self.set.ranges().any(|(first, _)| first.is_ipv6())]
    }

    /// A text that reads back as the same hosts under the same numbers, such as `1/1 10.0.0.1-10.0.0.9 fe80::1%eth0`.
    pub(super) fn text(&self) -> String {
        let ranges = self.set.ranges().map(|(first, last)| format!("{first}-{last}"));
        let scoped = self.scoped.iter().map(|peer| name(*peer));
        let words: Vec<_> = std::iter::once(self.shard.to_string()).chain(ranges).chain(scoped).collect();
        words.join(" ")
    }

    /// Reads what `text` wrote. A zone whose interface is gone stands for no host, and keeps its number.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let shard = words.next()?.parse().ok()?;
        let (mut ranges, mut scoped) = (vec![], vec![]);
        for word in words {
            if let Some((address, zone)) = word.split_once('%') {
                let index = nix::net::if_::if_nametoindex(zone).ok().or_else(|| zone.parse().ok());
                scoped.push(Peer { address: address.parse().ok()?, scope: index.unwrap_or(u32::MAX) });
            } else {
                let (first, last) = word.split_once('-')?;
                ranges.push((first.parse().ok()?, last.parse().ok()?));
            }
        }
        Some(Self::new(AddressSet::new(ranges), scoped, shard))
    }
}

/// A host as records name it.
pub(super) fn name(peer: Peer) -> String {
    match peer.scope {
        0 => peer.address.to_string(),
        scope => format!("{}%{}", peer.address, zone(scope)),
    }
}

/// The name of an interface; its number where it is gone.
fn zone(scope: u32) -> String {
    let name = nix::net::if_::if_indextoname(scope);
    name.map_or_else(|_| scope.to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_the_number_under_which_it_is_found_also_after_it_was_written_down() {
        let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
        let set = AddressSet::new([range("10.0.0.1", "10.0.0.9"), range("2001:db8::1", "2001:db8::3")]);
        let scoped: Vec<_> =
            ["fe80::9", "fe80::2"].map(|text| Peer { address: text.parse().unwrap(), scope: 1 }).into();
        let mut seen = vec![];
        for shard in ["1/2", "2/2"] {
            let layout = Layout::new(set.clone(), scoped.clone(), shard.parse().unwrap());
            let read = Layout::read(&layout.text()).unwrap();
            assert_eq!((layout.all(), layout.count(), read.text()), (14, 7, layout.text()));
            for number in 0..layout.count() {
                let peer = layout.peer(number);
                assert_eq!((layout.number(peer), read.number(peer)), (Some(number), Some(number)));
                seen.push(peer);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 14);
        let stranger = Peer { address: "fe80::9".parse().unwrap(), scope: 7 };
        assert_eq!(Layout::new(set, scoped, Shard::default()).number(stranger), None);
    }

    #[test]
    fn what_was_not_written_by_it_reads_as_nothing() {
        for text in ["", "x", "1/1 x", "1/1 10.0.0.1", "1/1 10.0.0.1-x", "0/1 10.0.0.1-10.0.0.2", "1/1 x%lo"]
        {
            assert!(Layout::read(text).is_none(), "{text}");
        }
    }
}
