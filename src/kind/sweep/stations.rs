//! What the stations behind hosts give away: an address that two of them claim, and one that answers for many addresses.

use std::collections::BTreeMap;

use super::{drive::Seen, hosts::Hosts, layout::name};
use crate::net::neighbour::Mac;

/// So many addresses of one station are worth a word.
const MANY: usize = 8;
/// How many addresses and stations a sentence names.
const NAMED: usize = 5;

/// A sentence for each kind of oddity that there is.
pub(super) fn oddities(hosts: &Hosts, seen: &BTreeMap<u32, Seen>) -> Vec<String> {
    let mut sentences = vec![];
    let claimed: Vec<_> = seen.iter().filter(|(_, seen)| !seen.others.is_empty()).collect();
    if !claimed.is_empty() {
        let named = claimed.iter().take(NAMED).map(|(index, seen)| {
            let others = seen.others.iter().map(|other| format!(" and {other}"));
            format!("{} ({}{})", name(hosts.peer(**index)), seen.mac, others.collect::<String>())
        });
        let named = list(named, claimed.len());
        sentences.push(format!("more than one station answers for the same address: {named}"));
    }
    let mut stations = BTreeMap::<Mac, usize>::new();
    for seen in seen.values() {
        *stations.entry(seen.mac).or_default() += 1;
    }
    let mut many: Vec<_> = stations.into_iter().filter(|(_, count)| *count >= MANY).collect();
    many.sort_by_key(|(mac, count)| (std::cmp::Reverse(*count), *mac));
    if !many.is_empty() {
        let named = many.iter().take(NAMED).map(|(mac, count)| format!("{mac} for {count}"));
        let named = list(named, many.len());
        sentences.push(format!(
            "one station answers for many addresses, a router that does so for others (proxy ARP) or one host: {named}"
        ));
    }
    sentences
}

fn list(named: impl Iterator<Item = String>, count: usize) -> String {
    let named: Vec<_> = named.collect();
    let more = if count > named.len() { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}
