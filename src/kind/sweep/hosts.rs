//! The hosts of one sweep: what the entries stand for now, with names resolved and files and interfaces read.

use std::{
    fs,
    io::{self, Read as _},
    net::IpAddr,
    ops::Deref,
    path::Path,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::{Sweep, layout::Layout, spec::Edges};
use crate::{
    context::Context,
    kind::Error,
    net::{self, icmp::Peer, interface::Interface},
    outcome::Reason,
    value::{AddressSet, Family, Target, Targets, targets::network},
};

/// The hosts of a sweep, and what stood among its targets and is none.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    layout: Layout,
    /// Targets that nothing can be sent to.
    pub(super) unresolved: Vec<Unresolved>,
}

/// A name that did not resolve, or an address behind an interface that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unresolved {
    /// As the file gives it.
    pub(super) name: String,
    /// A sentence.
    pub(super) why: String,
    /// The closed word for it.
    pub(super) reason: Reason,
}

/// What some entries stand for.
#[derive(Debug, Default)]
struct Found {
    ranges: Vec<(IpAddr, IpAddr)>,
    peers: Vec<Peer>,
    unresolved: Vec<Unresolved>,
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
        wanted.unresolved.sort_unstable();
        wanted.unresolved.dedup_by(|one, other| one.name == other.name);
        wanted.unresolved.retain(|one| unwanted.unresolved.iter().all(|out| out.name != one.name));
        let shard = sweep.shard.unwrap_or_default();
        let layout = Layout::new(set, wanted.peers, shard);
        let hosts = Self { layout, unresolved: wanted.unresolved };
        hosts.check(sweep)
    }

    fn check(mut self, sweep: &Sweep) -> Result<Self, Error> {
        let all = self.all();
        let count = self.shard().count(all);
        if count > u128::from(sweep.max_targets.0) {
            let message = format!("{count} targets are more than `max_targets` ({})", sweep.max_targets.0);
            return Err(cannot(Reason::Resources, message, "write fewer, or raise `max_targets`"));
        }
        if let Some(address) = nobody(self.set()) {
            let message = format!("`{address}` is no single host's");
            return Err(cannot(Reason::Io, message, EXCLUDE_IT));
        }
        match (all, self.unresolved.first()) {
            (0, Some(Unresolved { name, why, reason: Reason::Dns })) => {
                Err(net::Error::Resolve { host: name.clone(), why: why.clone() }.into())
            }
            (0, Some(Unresolved { name, why, reason })) => Err(cannot(
                *reason,
                format!("{name}: {why}"),
                "`ip link` lists the interfaces of this machine",
            )),
            (0, None) => Err(cannot(Reason::Io, "no target is left to sweep".into(), NOTHING_LEFT)),
            _ => {
                // Names are numbered on, so that each is told by one shard.
                let (mut number, shard) = (all, self.shard());
                self.unresolved.retain(|_| {
                    number += 1;
                    shard.number(number - 1).is_some()
                });
                Ok(self)
            }
        }
    }
}

impl Deref for Hosts {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
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
            let path = cx.path(path);
            let read = spawn_blocking(move || read(&path)).await;
            files.extend(
                read.map_err(|error| cannot(Reason::Bug, format!("read a file: {error}"), "report it"))??,
            );
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
            Target::Interface(name) => {
                let interfaces = cx.shared().interfaces.current().await?;
                found.ranges.extend(connected(name, edges, &interfaces)?);
            }
            Target::File(_) => {}
            fixed => found.ranges.extend(fixed.addresses(edges).into_iter().flatten()),
        }
    }
    for look_up in look_ups {
        match look_up.await {
            Ok((host, Ok(Ok(addresses)))) => {
                let peer = Peer::from(addresses[0]);
                if nobody(&AddressSet::new([(peer.address, peer.address)])).is_some() {
                    let why = format!("`{}` is no single host's", peer.address);
                    let name = Target::Host(host).to_string();
                    found.unresolved.push(Unresolved { name, why, reason: Reason::Dns });
                } else {
                    found.add(peer);
                }
            }
            Ok((host, Ok(Err(error)))) => {
                let reason = error.reason();
                let why = match error {
                    net::Error::Resolve { why, .. } => why,
                    other => other.to_string(),
                };
                found.unresolved.push(Unresolved { name: Target::Host(host).to_string(), why, reason });
            }
            Ok((host, Err(_))) => {
                let why = "no answer from the name servers".to_owned();
                found.unresolved.push(Unresolved {
                    name: Target::Host(host).to_string(),
                    why,
                    reason: Reason::Dns,
                });
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

/// One target a line; `#` starts a comment. May block.
pub(super) fn read(path: &Path) -> Result<Vec<Targets>, Error> {
    let failed = |source: io::Error| {
        let reason =
            if source.kind() == io::ErrorKind::PermissionDenied { Reason::Permission } else { Reason::Io };
        let message = format!("read {}: {source}", path.display());
        cannot(reason, message, "name a file that is there and that this process may read")
    };
    // What is no file may have no end, or no beginning.
    let plain = fs::metadata(path).map_err(failed)?.is_file();
    let mut text = String::new();
    if plain {
        let file = fs::File::open(path).map_err(failed)?;
        file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(failed)?;
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
pub(super) fn connected(
    name: &str,
    edges: bool,
    interfaces: &[Interface],
) -> Result<Vec<(IpAddr, IpAddr)>, Error> {
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

/// What to do where nothing is to be swept.
const NOTHING_LEFT: &str = "look at `exclude`, files and interfaces, whose IPv6 networks are searched from /112 on; of a \
    larger one write ranges such as `2001:db8::10-2f`";
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
