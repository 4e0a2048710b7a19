//! What a sweep tells: samples, series, notices of changed hosts. The record of hosts is `record`'s.

use std::collections::BTreeMap;

use super::{
    CHANGES, HOSTS, LOCAL_DROPS, PACKETS, Sweep,
    drive::Drive,
    found::Findings,
    hosts::{Hosts, Unresolved},
    layout::name,
    memory::{Change, Memory},
    record::Told,
    spec::{Method, Telling},
    stations,
};
use crate::{
    context::Context,
    outcome::{HostState, Notice, Outcome, Reason, Samples},
};

/// Up to this many hosts, the first sweep names the dead as well as the living.
const NAME_ALL_UP_TO: usize = 4096;
/// An ad-hoc sweep prints each host up to this many.
const PRINT_ALL_UP_TO: usize = 256;
/// How many dead hosts a message names.
const NAMED: usize = 5;

/// The counts of a sweep.
#[derive(Debug, Default)]
struct Counts {
    alive: u64,
    silent: u64,
    unreachable: u64,
    appeared: u64,
    vanished: u64,
}

/// Makes the outcome but for its record, tells sinks and memory, and says which hosts the record names.
pub(super) async fn outcome(
    sweep: &Sweep,
    cx: &Context,
    hosts: &Hosts,
    drive: &Drive<'_>,
    method: Method,
) -> (Outcome, Told) {
    let findings = &drive.findings;
    let found = findings.iter().map(|(index, finding)| (index, finding.state()));
    let (changes, memory) = Memory::update(cx.recall(), method, hosts, found, sweep.confirm.0);
    let counts = count(findings, hosts, &changes);
    if sweep.report != Telling::None {
        notice(cx, hosts, findings, &changes).await;
    }
    // Only now: who is cut off while it tells tells again next time.
    cx.keep(&memory);
    meter(cx, &counts, drive);
    let mut samples = Samples::default();
    samples.count("targets", u64::from(hosts.count()) + hosts.unresolved.len() as u64);
    samples.count("alive", counts.alive);
    samples.count("dead", counts.silent + counts.unreachable);
    samples.count("unreachable", counts.unreachable);
    samples.count("appeared", counts.appeared);
    samples.count("vanished", counts.vanished);
    samples.count("local_drops", drive.local_drops);
    samples.count("packets", drive.packets);
    for message in stations::oddities(hosts, &drive.near.seen) {
        cx.notice(Notice::Warning { message });
    }
    let told = told(sweep, cx, hosts, &changes);
    let mut outcome = Outcome::passed(samples);
    (outcome.reason, outcome.message) = summary(cx, hosts, drive);
    (outcome, told)
}

/// The outcome of a sweep that was ended before it knew its hosts.
pub(super) fn nothing() -> Outcome {
    let message = "partial: no host was asked, the targets were still being looked up";
    Outcome { message: Some(message.to_owned()), ..Outcome::passed(Samples::default()) }
}

fn count(findings: &Findings, hosts: &Hosts, changes: &[Change]) -> Counts {
    // A name that does not resolve is a host that nothing was heard of.
    let mut counts = Counts { silent: hosts.unresolved.len() as u64, ..Counts::default() };
    for (_, finding) in findings.iter() {
        match finding.state() {
            Some(HostState::Alive) => counts.alive += 1,
            Some(HostState::Silent) => counts.silent += 1,
            Some(HostState::Unreachable) => counts.unreachable += 1,
            None => {}
        }
    }
    for change in changes.iter().filter(|change| change.from.is_some()) {
        let count = if change.to == HostState::Alive { &mut counts.appeared } else { &mut counts.vanished };
        *count += 1;
    }
    counts
}

fn meter(cx: &Context, counts: &Counts, drive: &Drive) {
    let meters = cx.meters();
    let states = [
        (HostState::Alive, counts.alive),
        (HostState::Silent, counts.silent),
        (HostState::Unreachable, counts.unreachable),
    ];
    // A part of a sweep says nothing of the whole.
    let whole = !cx.stop().cancel.is_cancelled();
    for (state, count) in states.into_iter().filter(|_| whole) {
        meters.gauge(&HOSTS, &[state.as_str()]).set(count as f64);
    }
    meters.counter(&CHANGES, &["alive"]).add(counts.appeared);
    meters.counter(&CHANGES, &["dead"]).add(counts.vanished);
    meters.counter(&PACKETS, &[]).add(drive.packets);
    meters.counter(&LOCAL_DROPS, &[]).add(drive.local_drops);
}

/// Which hosts the record names.
fn told(sweep: &Sweep, cx: &Context, hosts: &Hosts, changes: &[Change]) -> Told {
    let all = hosts.count();
    let print_all = cx.is_ad_hoc() && all as usize <= PRINT_ALL_UP_TO;
    match sweep.report {
        Telling::None => Told::These(vec![]),
        Telling::All => Told::All,
        Telling::Changes if print_all => Told::All,
        Telling::Changes => Told::These(worth_telling(changes).map(|change| change.index).collect()),
    }
}

/// All changes; of a first look at very many hosts, only the living.
fn worth_telling(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let few = changes.len() <= NAME_ALL_UP_TO;
    changes.iter().filter(move |change| few || change.from.is_some() || change.to == HostState::Alive)
}

/// None is lost, however many there are.
async fn notice(cx: &Context, hosts: &Hosts, findings: &Findings, changes: &[Change]) {
    for change in worth_telling(changes) {
        let told = cx.tell(Notice::HostChanged {
            host: name(hosts.peer(change.index)),
            from: change.from,
            to: change.to,
            why: findings.get(change.index).why(),
            rtt: findings.rtt(change.index),
        });
        told.await;
    }
}

/// The commonest reason of those that were not found alive, and a sentence: how far a sweep came that was cut short, and
/// some of the dead.
fn summary(cx: &Context, hosts: &Hosts, drive: &Drive) -> (Option<Reason>, Option<String>) {
    let (mut reasons, mut named) = (BTreeMap::<Reason, u64>::new(), vec![]);
    let (findings, mut dead, mut unknown, mut settled) = (&drive.findings, 0u64, 0u64, 0u32);
    for (index, finding) in findings.iter() {
        settled += u32::from(finding.is_settled());
        let Some(reason) = finding.reason().filter(|_| finding.is_settled()) else { continue };
        *reasons.entry(reason).or_default() += 1;
        if finding.state().is_none() {
            unknown += 1;
            continue;
        }
        dead += 1;
        if named.len() < NAMED {
            named.push(format!("{} ({reason})", name(hosts.peer(index))));
        }
    }
    for Unresolved { name, why, reason } in &hosts.unresolved {
        *reasons.entry(*reason).or_default() += 1;
        dead += 1;
        // A name that is wrong is told before hosts that are silent.
        named.insert(0, format!("{name} ({why})"));
        named.truncate(NAMED);
    }
    let commonest = reasons.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason);
    let all = u64::from(hosts.count()) + hosts.unresolved.len() as u64;
    let mut parts = vec![];
    let (count, asked, alive) = (hosts.count(), drive.asked(), findings.alive());
    if settled < count && cx.stop().cancel.is_cancelled() {
        parts.push(format!(
            "partial: {asked} of {count} hosts were asked, {settled} to the end, {alive} alive"
        ));
    }
    if dead > 0 {
        let more = if dead > named.len() as u64 { ", …" } else { "" };
        parts.push(format!("{dead} of {all} hosts are dead: {}{more}", named.join(", ")));
    }
    if unknown > 0 {
        parts.push(format!(
            "{unknown} of {all} hosts could not be asked, since this machine lost or lacked something"
        ));
    }
    (commonest, Some(parts.join("; ")).filter(|text| !text.is_empty()))
}
