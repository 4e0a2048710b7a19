//! The hosts of one sweep: what the entries stand for now, with names resolved and files and interfaces read.

use std::{io, net::IpAddr, path::Path, time::Duration};

use tokio::{io::AsyncReadExt, time::timeout};

use super::{
    Sweep,
    spec::{Edges, Method},
};
use crate::{
    context::Context,
    kind::Error,
    net::{self, icmp::Peer},
    outcome::Reason,
    value::{AddressSet, Family, Target, Targets, targets::network},
};

/// Hosts by number: addresses in ascending order, then those behind a zone, each once.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    set: AddressSet,
    scoped: Vec<Peer>,
    /// Names that did not resolve, with the sentence why: targets that nothing can be sent to.
    pub(super) unresolved: Vec<(String, String)>,
}

/// What some entries stand for.
#[derive(Debug, Default)]
struct Found {
    ranges: Vec<(IpAddr, IpAddr)>,
    peers: Vec<Peer>,
    /// Names that did not resolve, and why.
    names: Vec<(String, String)>,
}

/// The longest file of targets, in bytes.
const LONGEST_FILE: u64 = 16 << 20;
/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest IPv6 network of an interface that is searched; nobody searches a /64.
const SHORTEST_V6: u8 = 112;

impl Hosts {
    /// Finds out what a sweep's entries stand for now.
    pub(super) async fn collect(sweep: &Sweep, cx: &Context) -> Result<Self, Error> {
        let edges = sweep.edges == Edges::Include;
        let mut wanted = gather(&sweep.targets, edges, cx).await?;
        let unwanted = match &sweep.exclude {
            Some(exclude) => gather(exclude, true, cx).await?,
            None => Found::default(),
        };
        let out = AddressSet::new(unwanted.ranges);
        let set = AddressSet::new(wanted.ranges).without(&out);
        wanted.peers.retain(|peer| !unwanted.peers.contains(peer) && !out.contains(peer.address));
        wanted.peers.sort_unstable();
        wanted.peers.dedup();
        wanted.names.sort_unstable();
        wanted.names.dedup_by(|one, other| one.0 == other.0);
        wanted.names.retain(|(name, _)| !unwanted.names.iter().any(|(out, _)| out == name));
        let hosts = Self { set, scoped: wanted.peers, unresolved: wanted.names };
        hosts.check(sweep)
    }

    fn check(self, sweep: &Sweep) -> Result<Self, Error> {
        let count = self.set.count() + self.scoped.len() as u128;
        if count > u128::from(sweep.max_targets.0) {
            let message = format!("{count} targets are more than `max_targets` ({})", sweep.max_targets.0);
            return Err(cannot(Reason::Resources, message, "write fewer, or raise `max_targets`"));
        }
        if let Some(address) = nobody(&self.set) {
            let message = format!("`{address}` is no single host's");
            return Err(cannot(Reason::Io, message, EXCLUDE_IT));
        }
        match (count, self.unresolved.first()) {
            (0, Some((name, why))) => {
                Err(net::Error::Resolve { host: name.clone(), why: why.clone() }.into())
            }
            (0, None) => Err(cannot(Reason::Io, "no target is left to sweep".into(), "look at `exclude`")),
            _ => Ok(self),
        }
    }

    /// How many can be probed.
    pub(super) fn count(&self) -> u32 {
        let addresses = u32::try_from(self.set.count()).unwrap_or(u32::MAX);
        addresses.saturating_add(u32::try_from(self.scoped.len()).unwrap_or(u32::MAX))
    }

    /// The host of a number below the count.
    pub(super) fn peer(&self, index: u32) -> Peer {
        let zoned = || {
            let at = u128::from(index).checked_sub(self.set.count()).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| self.scoped.get(at)).copied()
        };
        let address = self.set.get(index.into()).map(Peer::from);
        address.or_else(zoned).unwrap_or(Peer { address: IpAddr::from([0, 0, 0, 0]), scope: 0 })
    }

    /// Which families there are: IPv4, IPv6.
    pub(super) fn families(&self) -> [bool; 2] {
        let v4 = self.set.ranges().any(|(first, _)| first.is_ipv4());
        [v4, !self.scoped.is_empty() || self.set.ranges().any(|(first, _)| first.is_ipv6())]
    }

    /// A text that changes with the set, so that an old sweep's memory is known to be another set's.
    pub(super) fn identity(&self, method: Method) -> String {
        let ranges: Vec<_> = self.set.ranges().map(|(first, last)| format!("{first}-{last}")).collect();
        let scoped: Vec<_> = self.scoped.iter().map(|peer| name(*peer)).collect();
        format!("{method} {} {}", ranges.join(","), scoped.join(","))
    }
}

/// A host as records name it.
pub(super) fn name(peer: Peer) -> String {
    match peer.scope {
        0 => peer.address.to_string(),
        scope => match nix::net::if_::if_indextoname(scope) {
            Ok(zone) => format!("{}%{}", peer.address, zone.to_string_lossy()),
            Err(_) => format!("{}%{scope}", peer.address),
        },
    }
}

fn cannot(reason: Reason, message: String, hint: &str) -> Error {
    Error::Cannot { reason, message, hint: Some(hint.to_owned()) }
}

async fn gather(entries: &[Targets], edges: bool, cx: &Context) -> Result<Found, Error> {
    let (mut found, mut look_ups) = (Found::default(), vec![]);
    let mut files = vec![];
    for entry in entries {
        if let Target::File(path) = &entry.target {
            files.extend(read(&cx.path(path)).await?);
        }
    }
    for entry in entries.iter().chain(&files) {
        match &entry.target {
            Target::Host(host) => {
                let (host, shared) = (host.clone(), cx.shared().clone());
                look_ups.push(cx.spawn(async move {
                    let found = timeout(PATIENCE, shared.resolver.lookup(&host, 0, Family::Any)).await;
                    (host, found)
                }));
            }
            Target::Interface(name) => found.ranges.extend(connected(name, edges, cx).await?),
            Target::File(_) => {}
            fixed => found.ranges.extend(fixed.addresses(edges).into_iter().flatten()),
        }
    }
    for look_up in look_ups {
        match look_up.await {
            Ok((_, Ok(Ok(addresses)))) => found.add(Peer::from(addresses[0])),
            Ok((host, Ok(Err(error)))) => {
                let why = match error {
                    net::Error::Resolve { why, .. } => why,
                    other => other.to_string(),
                };
                found.names.push((host.to_string(), why));
            }
            Ok((host, Err(_))) => {
                found.names.push((host.to_string(), "no answer from the name servers".to_owned()));
            }
            Err(error) => return Err(cannot(Reason::Bug, format!("look a name up: {error}"), "report it")),
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, peer: Peer) {
        match peer.scope {
            0 => self.ranges.push((peer.address, peer.address)),
            _ => self.peers.push(peer),
        }
    }
}

/// One target a line; `#` starts a comment.
async fn read(path: &Path) -> Result<Vec<Targets>, Error> {
    let failed = |source: io::Error| {
        let reason =
            if source.kind() == io::ErrorKind::PermissionDenied { Reason::Permission } else { Reason::Io };
        let message = format!("read {}: {source}", path.display());
        cannot(reason, message, "name a file that is there and that this process may read")
    };
    // A pipe that nobody writes to would be waited for.
    let mut options = tokio::fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open(path).await.map_err(failed)?;
    let plain = file.metadata().await.map_err(failed)?.is_file();
    let mut text = String::new();
    if plain {
        file.take(LONGEST_FILE + 1).read_to_string(&mut text).await.map_err(failed)?;
    }
    if !plain || text.len() as u64 > LONGEST_FILE {
        let message = format!("{} is not a file of at most 16 MiB", path.display());
        return Err(cannot(Reason::Io, message, "write one target a line"));
    }
    let mut entries = vec![];
    for (line, content) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let word = content.split('#').next().unwrap_or_default().trim();
        if word.is_empty() {
            continue;
        }
        let place = format!("{}:{}", path.display(), line + 1);
        let entry: Targets = word.parse().map_err(|wrong: crate::value::Wrong| Error::Cannot {
            reason: Reason::Io,
            message: format!("{place}: {}", wrong.message),
            hint: wrong.hint,
        })?;
        if matches!(entry.target, Target::File(_)) {
            let message = format!("{place}: a file of targets names another file");
            return Err(cannot(Reason::Io, message, "write its targets here"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The networks that an interface is connected to; those of IPv6 only where they can be searched.
async fn connected(name: &str, edges: bool, cx: &Context) -> Result<Vec<(IpAddr, IpAddr)>, Error> {
    let interfaces = cx.shared().interfaces.current().await?;
    let interface = interfaces.iter().find(|interface| interface.name == name);
    let interface = interface.ok_or_else(|| net::Error::NoInterface { name: name.to_owned() })?;
    let networks = interface.addresses.iter().map(crate::net::interface::Address::network);
    let searched = networks.filter(|net| net.addr().is_ipv4() || net.prefix_len() >= SHORTEST_V6);
    Ok(searched.map(|net| network(net.addr(), net.prefix_len(), edges)).collect())
}

/// An address of a set that no single host has: unspecified, multicast or broadcast.
pub(super) fn nobody(set: &AddressSet) -> Option<IpAddr> {
    let groups = [
        (IpAddr::from([0; 4]), IpAddr::from([0; 4])),
        (IpAddr::from([224, 0, 0, 0]), IpAddr::from([239, 255, 255, 255])),
        (IpAddr::from([255; 4]), IpAddr::from([255; 4])),
        (IpAddr::from([0u8; 16]), IpAddr::from([0u8; 16])),
        network(IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8, true),
    ];
    let hosts = set.without(&AddressSet::new(groups));
    set.without(&hosts).get(0)
}

/// What to do about such an address.
pub(super) const EXCLUDE_IT: &str =
    "leave it out, such as with `exclude: [0.0.0.0, 224.0.0.0/4, 255.255.255.255]`";

/// How many addresses of a set have another one before them in their /24; addresses of IPv6 are not counted.
pub(super) fn neighbours(set: &AddressSet) -> u128 {
    let (mut networks, mut previous) = (0, None);
    let v4 = set.ranges().filter_map(|range| match range {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some((u32::from(first), u32::from(last))),
        _ => None,
    });
    let mut count = 0;
    for (first, last) in v4 {
        count += u128::from(last - first) + 1;
        networks += u128::from((last >> 8) - (first >> 8)) + u128::from(previous != Some(first >> 8));
        previous = Some(last >> 8);
    }
    count - networks
}
