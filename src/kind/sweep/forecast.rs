//! What a sweep would send, before it sends anything: names are counted and not looked up.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    Sweep, drive, fixed, hosts,
    spec::{Edges, Method, Order, Rate},
};
use crate::{
    kind::{
        Error,
        forecast::{Forecast, Surroundings},
    },
    net::interface::{Address, Interface},
    value::{AddressSet, Target, Targets},
};

/// How often the kernel asks for a neighbour's hardware address before it gives up: `mcast_solicit`.
const SOLICITATIONS: u128 = 3;
/// What a fast machine sends at `rate: max`, packets a second.
const FASTEST_MAX: f64 = 100_000.0;
/// At `rate: max`, as many as a /16 has are worth a word.
const MANY: u128 = 65_536;
/// Networks of RFC 1918, 6598, 5735, 4193 and the like: nobody else is bothered there.
const OWN: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "::1/128",
    "2001:db8::/32",
    "fc00::/7",
    "fe80::/10",
];

/// The set as far as it is known without asking anybody.
struct Foreseen {
    set: AddressSet,
    names: u64,
}

pub(super) fn forecast(sweep: &Sweep, around: &Surroundings) -> Result<Forecast, Error> {
    let Foreseen { set, names } = foresee(sweep, around)?;
    let shard = sweep.shard.unwrap_or_default();
    // How many of its own there are among so many of all; addresses come in order, and names behind them.
    let own = |range: std::ops::Range<u128>| shard.count(range.end) - shard.count(range.start);
    let v4 = AddressSet::new(set.ranges().filter(|(first, _)| first.is_ipv4())).count();
    let (ipv4, ipv6) = (own(0..v4), own(v4..set.count()));
    let names = own(set.count()..set.count() + u128::from(names));
    let far = set.without(&AddressSet::new(around.interfaces.iter().flat_map(links)));
    let far =
        far.ranges().filter_map(|(first, last)| Some(own(set.position(first)?..set.position(last)? + 1)));
    let on_link = ipv4 + ipv6 - far.sum::<u128>();
    let method = match sweep.method {
        Method::Auto if around.icmp => Method::Icmp,
        Method::Auto => Method::Tcp(super::FALLBACK_PORT),
        chosen => chosen,
    };
    let names = u64::try_from(names).unwrap_or(u64::MAX);
    let by_connections = matches!(method, Method::Tcp(_)) && !around.raw;
    let twice = asked_twice(sweep, around, on_link);
    let (first, far) = match (method, around.raw) {
        (Method::Arp, _) => (on_link, 0),
        (_, true) => (on_link, ipv4 + ipv6 + u128::from(names) - on_link),
        (_, false) => (SOLICITATIONS * on_link, ipv4 + ipv6 + u128::from(names) - on_link),
    };
    let packets = u128::from(sweep.passes.0) * (first + twice + far);
    let (mut shortest, mut longest) = durations(sweep, method, &set, names);
    let waits = waits(method, around, on_link as f64, sweep.timeout.0);
    longest = longest.saturating_add(super::seconds(waits).saturating_mul(sweep.passes.0));
    if around.raw && on_link > 0 {
        let rate = if let Rate::Limited(rate) = sweep.rate { rate.0 } else { FASTEST_MAX };
        shortest = shortest.saturating_add(super::seconds(twice as f64 / rate));
        // Hosts of links have had their passes before the others are asked.
        let both = if far > 0 { sweep.passes.0 } else { 0 };
        longest = longest.saturating_add(sweep.timeout.0.saturating_mul(both));
    }
    let mut forecast = Forecast {
        ipv4,
        ipv6,
        names,
        on_link,
        packets,
        shortest,
        longest,
        method: method.to_string(),
        open_files: by_connections.then(|| u64::try_from(drive::most_connections()).unwrap_or(u64::MAX)),
        notes: vec![],
    };
    forecast.notes = notes(sweep, around, &set, &forecast);
    Ok(forecast)
}

/// How many seconds hosts of links wait for room in the kernel's neighbour table, in one pass at most.
fn waits(method: Method, around: &Surroundings, on_link: f64, timeout: Duration) -> f64 {
    let resolved = drive::slowest_gate(on_link, (around.neighbours / 4 * 3).max(1) as f64, timeout);
    match (method, around.raw) {
        (Method::Arp, _) | (Method::Icmp | Method::Auto, true) => 0.0,
        (Method::Tcp(_), true) => resolved,
        (_, false) => drive::slowest_unresolved(on_link, timeout).max(resolved),
    }
}

/// How many hosts of links are asked themselves, too, if their stations answer.
fn asked_twice(sweep: &Sweep, around: &Surroundings, on_link: u128) -> u128 {
    match sweep.method {
        _ if !around.raw => 0,
        Method::Arp => 0,
        Method::Auto | Method::Icmp | Method::Tcp(_) => on_link,
    }
}

fn foresee(sweep: &Sweep, around: &Surroundings) -> Result<Foreseen, Error> {
    let (wanted, mut names) = gather(&sweep.targets, sweep.edges == Edges::Include, around)?;
    let (unwanted, out) = match &sweep.exclude {
        Some(exclude) => gather(exclude, true, around)?,
        None => Default::default(),
    };
    names.retain(|name| !out.contains(name));
    Ok(Foreseen { set: wanted.without(&unwanted), names: names.len() as u64 })
}

fn gather(
    entries: &[Targets],
    edges: bool,
    around: &Surroundings,
) -> Result<(AddressSet, BTreeSet<String>), Error> {
    let mut listed = vec![];
    for entry in entries {
        if let Target::File(path) = &entry.target {
            listed.extend(hosts::read(&around.base.join(path))?);
        }
    }
    let (known, _) = fixed(entries, edges);
    let (from_files, _) = fixed(&listed, edges);
    let (mut ranges, mut names) = (vec![], BTreeSet::new());
    for entry in entries.iter().chain(&listed) {
        match &entry.target {
            Target::Interface(name) => ranges.extend(hosts::connected(name, edges, around.interfaces)?),
            Target::Host(host) => {
                names.insert(host.to_string());
            }
            _ => {}
        }
    }
    Ok((known.union(&from_files).union(&AddressSet::new(ranges)), names))
}

/// The networks that an interface is directly connected to.
fn links(interface: &Interface) -> Vec<(IpAddr, IpAddr)> {
    if !interface.is_up() || interface.has_flag("LOOPBACK") || interface.has_flag("NOARP") {
        return vec![];
    }
    let networks = interface.addresses.iter().map(Address::network);
    networks.map(|net| (net.network(), net.broadcast())).collect()
}

/// The addresses of this machine and of its own links.
fn near(around: &Surroundings) -> AddressSet {
    let own = around.interfaces.iter().flat_map(|interface| &interface.addresses);
    let own = own.map(|address| (address.address, address.address));
    let loopback = [(Ipv4Addr::new(127, 0, 0, 0).into(), Ipv4Addr::new(127, 255, 255, 255).into())];
    AddressSet::new(around.interfaces.iter().flat_map(links).chain(own).chain(loopback))
}

/// The broadcast address of a network that this machine is in; the kernel has it whether it was given one or not.
fn broadcast(address: &Address) -> Option<Ipv4Addr> {
    let (IpAddr::V4(last), 0..=30) = (address.network().broadcast(), address.prefix_length) else {
        return None;
    };
    Some(address.broadcast.unwrap_or(last))
}

/// How long it takes where all answer at once, and where nobody does.
pub(super) fn durations(sweep: &Sweep, method: Method, set: &AddressSet, names: u64) -> (Duration, Duration) {
    let shard = sweep.shard.unwrap_or_default();
    let count = shard.count(set.count() + u128::from(names)) as f64;
    let v4 = set.ranges().any(|(first, _)| first.is_ipv4());
    let both = v4 && set.ranges().any(|(first, _)| !first.is_ipv4());
    // With both families, each session has half of the rate.
    let halves = if both && !matches!(method, Method::Tcp(_)) { 2.0 } else { 1.0 };
    let pass = |at_once: f64, fastest: f64| match sweep.rate {
        Rate::Max => count / fastest.min(at_once),
        Rate::Limited(rate) => {
            let waiting = if sweep.order == Order::Plain { hosts::neighbours(set) } else { 0 };
            let network = shard.count(densest(set).max(waiting)) as f64 / drive::NETWORK_RATE;
            (halves * count / rate.0.min(at_once)).max(network)
        }
    };
    let at_once = drive::most_unanswered(method, sweep.rate) / sweep.timeout.as_secs_f64();
    // Nobody waits for the first.
    let at_once_first = if let Rate::Limited(rate) = sweep.rate { 1.0 / rate.0 } else { 0.0 };
    let seconds = |value: f64| super::seconds((value - at_once_first).max(0.0));
    let passes = f64::from(sweep.passes.0);
    let shortest = seconds(pass(f64::INFINITY, FASTEST_MAX));
    let silent = seconds(passes * pass(at_once, super::bounds::SLOWEST_MAX));
    (shortest, silent.saturating_add(sweep.timeout.0.saturating_mul(sweep.passes.0)))
}

/// How many targets the fullest /24 has, or the fullest /64.
fn densest(set: &AddressSet) -> u128 {
    let (mut most, mut last, mut sum) = (0, None, 0);
    for range in set.ranges() {
        let (shift, first, end) = match range {
            (IpAddr::V4(first), IpAddr::V4(end)) => (8, u32::from(first).into(), u32::from(end).into()),
            (IpAddr::V6(first), IpAddr::V6(end)) => (64, u128::from(first), u128::from(end)),
            _ => continue,
        };
        let (network, ends): (u128, u128) = (first >> shift, end >> shift);
        let here = end.min(first | ((1 << shift) - 1)) - first + 1;
        sum = if last == Some((shift, network)) { sum + here } else { here };
        most = most.max(sum);
        if ends > network {
            most = most.max(if ends - network > 1 { 1 << shift } else { 0 });
            sum = end - (ends << shift) + 1;
            most = most.max(sum);
        }
        last = Some((shift, ends));
    }
    most
}

fn notes(
    sweep: &Sweep,
    around: &Surroundings,
    set: &AddressSet,
    forecast: &Forecast,
) -> Vec<(String, String)> {
    let mut notes: Vec<(String, String)> = vec![];
    let mut say = |message: String, hint: &str| notes.push((message, hint.to_owned()));
    if forecast.targets() > sweep.max_targets.0.into() {
        let (count, most) = (forecast.targets(), sweep.max_targets.0);
        say(
            format!("{count} targets are more than `max_targets` ({most}), so the job will be `errored`"),
            "write fewer, or raise `max_targets`",
        );
    }
    if forecast.targets() == 0 {
        say("no target is left to sweep".into(), "look at `exclude`, files and interfaces");
    }
    if sweep.rate == Rate::Max && forecast.targets() >= MANY {
        say(
            format!("{} targets at `rate: max`, without the cap for each network", forecast.targets()),
            "do so only where all the network between is yours; the default is `1000/s`",
        );
    }
    let interfaces = sweep.targets.iter().filter_map(|entry| match &entry.target {
        Target::Interface(name) => around.interfaces.iter().find(|interface| interface.name == *name),
        _ => None,
    });
    for interface in interfaces.filter(|interface| !interface.is_up()) {
        let message = format!("interface `{}` is down: nothing goes out there", interface.name);
        say(message, "`ip link set dev NAME up` switches it on");
    }
    if sweep.method == Method::Arp && !set.without(&near(around)).is_empty() {
        say(
            "not all targets are on this machine's own links, and `method: arp` asks nobody beyond".into(),
            "write `method: icmp` for such targets, or leave them out",
        );
    }
    let own = OWN.iter().filter_map(|net| net.parse::<Targets>().ok()?.target.addresses(true));
    let public = set.without(&AddressSet::new(own.flatten())).count();
    if public > 0 {
        say(format!("{public} of the targets are public addresses"), "make sure that you may ask them");
    }
    let here = around.interfaces.iter().flat_map(|interface| &interface.addresses);
    let broadcasts = here.filter_map(broadcast).chain([Ipv4Addr::BROADCAST]);
    for address in broadcasts.collect::<BTreeSet<_>>() {
        if set.contains(address.into()) {
            say(format!("{address} is a broadcast address: many may answer for one"), "exclude it");
        }
    }
    if !around.raw && forecast.on_link > drive::MOST_UNRESOLVED as u128 {
        say(
            format!(
                "{} targets are on this machine's own links, where without CAP_NET_RAW {} are asked at a time",
                forecast.on_link,
                drive::MOST_UNRESOLVED
            ),
            "allow it to the program, `setcap cap_net_raw+p netjobs`, and hosts are asked by ARP as fast as others",
        );
    }
    notes
}

#[cfg(test)]
mod tests;
