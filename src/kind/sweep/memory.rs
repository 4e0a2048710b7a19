//! What a sweep remembers of the one before: each host's state as it was told, and changes that wait to be confirmed.
//!
//! A state that could not be found out changes nothing. Hosts are known by their addresses: who comes to the targets or
//! leaves them is nobody else's change. Another method is another sweep, and nothing is remembered.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use super::{layout::Layout, spec::Method};
use crate::outcome::HostState;

/// What is kept between sweeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    /// How they were asked.
    method: String,
    /// Which hosts this is about, as a `Layout` writes them.
    hosts: String,
    /// Runs of equal states, such as `3a250s1u`: alive, silent, unreachable, `?` not known.
    states: String,
    /// For how many sweeps in a row a host has been other than it was told.
    waiting: BTreeMap<u32, u32>,
}

/// A host whose state is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) index: u32,
    /// `None` at first sight.
    pub(super) from: Option<HostState>,
    pub(super) to: HostState,
}

impl Memory {
    /// Compares what was found with what was told; gives the changes to tell and what to remember.
    pub(super) fn update(
        before: Option<Self>,
        method: Method,
        hosts: &Layout,
        found: impl Iterator<Item = (u32, Option<HostState>)>,
        confirm: u32,
    ) -> (Vec<Change>, Self) {
        let method = method.to_string();
        let before = before.filter(|memory| memory.method == method).unwrap_or_default();
        let known = Layout::read(&before.hosts).unwrap_or_default();
        let told: Vec<_> = unpack(&before.states).take(known.count() as usize).collect();
        let (mut changes, mut waiting, mut states) = (vec![], BTreeMap::new(), Packer::default());
        for (index, found) in found {
            // Of millions of hosts that nobody knew, none is looked for.
            let number = (!told.is_empty()).then(|| known.number(hosts.peer(index))).flatten();
            let from = number.and_then(|number| told.get(number as usize).copied().flatten());
            let already = number.and_then(|number| before.waiting.get(&number)).copied().unwrap_or(0);
            let tell = match (from, found) {
                (from, None) => {
                    if already > 0 {
                        waiting.insert(index, already);
                    }
                    states.push(from);
                    continue;
                }
                (None, Some(_)) => true,
                (Some(from), Some(to)) if lives(from) == lives(to) => {
                    states.push(Some(to));
                    continue;
                }
                (Some(_), Some(_)) => already + 1 >= confirm,
            };
            if tell {
                changes.extend(found.map(|to| Change { index, from, to }));
                states.push(found);
            } else {
                waiting.insert(index, already + 1);
                states.push(from);
            }
        }
        (changes, Self { method, hosts: hosts.text(), states: states.finish(), waiting })
    }
}

fn lives(state: HostState) -> bool {
    state == HostState::Alive
}

/// Writes runs of states.
#[derive(Default)]
struct Packer {
    text: String,
    run: Option<(char, u32)>,
}

impl Packer {
    fn push(&mut self, state: Option<HostState>) {
        let letter = match state {
            Some(HostState::Alive) => 'a',
            Some(HostState::Silent) => 's',
            Some(HostState::Unreachable) => 'u',
            None => '?',
        };
        match &mut self.run {
            Some((same, length)) if *same == letter => *length += 1,
            _ => {
                self.flush();
                self.run = Some((letter, 1));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((letter, length)) = self.run.take() {
            let _ = write!(self.text, "{length}{letter}");
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

/// The states of a text that `Packer` wrote, one a host; what does not read ends it.
fn unpack(text: &str) -> impl Iterator<Item = Option<HostState>> + '_ {
    let runs = text.split_inclusive(|c: char| !c.is_ascii_digit()).map_while(|run| {
        let letter = run.chars().next_back()?;
        let length: usize = run.strip_suffix(letter)?.parse().ok()?;
        let state = match letter {
            'a' => Some(HostState::Alive),
            's' => Some(HostState::Silent),
            'u' => Some(HostState::Unreachable),
            '?' => None,
            _ => return None,
        };
        Some(std::iter::repeat_n(state, length))
    });
    runs.flatten()
}

#[cfg(test)]
mod tests {
    use HostState::{Alive, Silent, Unreachable};

    use super::*;

    fn layout(ranges: &str) -> Layout {
        Layout::read(&format!("1/1 {ranges}")).unwrap()
    }

    /// Sweeps in a row, each with what was found; gives how many changes each told.
    fn told(confirm: u32, sweeps: &[&[Option<HostState>]]) -> Vec<Vec<Change>> {
        let mut memory = None;
        let sweep = |found: &&[Option<HostState>]| {
            let found = (0..).zip(found.iter().copied());
            let (changes, next) =
                Memory::update(memory.take(), Method::Icmp, &layout("10.0.0.0-10.0.0.9"), found, confirm);
            let text = serde_json::to_value(&next).unwrap();
            memory = Some(serde_json::from_value(text).unwrap());
            changes
        };
        sweeps.iter().map(sweep).collect()
    }

    #[test]
    fn the_first_sweep_tells_all_and_the_next_only_changes() {
        let told = told(
            1,
            &[&[Some(Alive), Some(Silent)], &[Some(Alive), Some(Silent)], &[Some(Unreachable), Some(Alive)]],
        );
        assert_eq!(told[0].len(), 2);
        assert_eq!(told[1], []);
        let change = |index, from, to| Change { index, from: Some(from), to };
        assert_eq!(told[2], [change(0, Alive, Unreachable), change(1, Silent, Alive)]);
    }

    #[test]
    fn a_change_waits_until_it_is_confirmed_in_a_row() {
        let up: &[_] = &[Some(Alive)];
        let down: &[_] = &[Some(Silent)];
        let counts = |sweeps: &[&[_]]| told(3, sweeps).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&[up, down, down, down, down]), [1, 0, 0, 1, 0]);
        assert_eq!(counts(&[up, down, down, up, down, down, down]), [1, 0, 0, 0, 0, 0, 1]);
        // What is not known neither confirms nor denies.
        assert_eq!(counts(&[up, down, &[None], down, down]), [1, 0, 0, 0, 1]);
    }

    #[test]
    fn one_kind_of_dead_is_no_change_from_another() {
        let told = told(1, &[&[Some(Silent)], &[Some(Unreachable)], &[Some(Silent)]]);
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0]);
    }

    /// What a sweep of some hosts remembers, all of them alive.
    fn alive(method: Method, hosts: &Layout) -> Memory {
        let found = (0..hosts.count()).map(|index| (index, Some(Alive)));
        Memory::update(None, method, hosts, found, 1).1
    }

    #[test]
    fn who_comes_or_leaves_is_nobody_elses_change() {
        let (before, after) = (layout("10.0.0.5-10.0.0.9"), layout("10.0.0.4-10.0.0.7 10.0.1.1-10.0.1.1"));
        let found = [Alive, Silent, Alive, Alive, Silent].map(Some);
        let (changes, memory) =
            Memory::update(Some(alive(Method::Icmp, &before)), Method::Icmp, &after, (0..).zip(found), 1);
        let first = |index, to| Change { index, from: None, to };
        let vanished = Change { index: 1, from: Some(Alive), to: Silent };
        assert_eq!(changes, [first(0, Alive), vanished, first(4, Silent)]);
        // Who was told as a newcomer is known from then on, in whatever shard.
        let half = Layout::read("2/2 10.0.0.4-10.0.0.7 10.0.1.1-10.0.1.1").unwrap();
        let found = [Alive, Silent].map(Some);
        let (changes, _) = Memory::update(Some(memory), Method::Icmp, &half, (0..).zip(found), 1);
        let back = |index, from, to| Change { index, from: Some(from), to };
        assert_eq!(changes, [back(0, Silent, Alive), back(1, Alive, Silent)]);
    }

    #[test]
    fn a_change_that_waits_goes_on_waiting_when_others_come() {
        let one = layout("10.0.0.5-10.0.0.5");
        let silent = || [(0, Some(Silent))].into_iter();
        let (told, memory) = Memory::update(Some(alive(Method::Icmp, &one)), Method::Icmp, &one, silent(), 2);
        assert_eq!(told, []);
        let (told, _) = Memory::update(
            Some(memory),
            Method::Icmp,
            &layout("10.0.0.4-10.0.0.5"),
            [(0, None), (1, Some(Silent))].into_iter(),
            2,
        );
        assert_eq!(told, [Change { index: 1, from: Some(Alive), to: Silent }]);
    }

    #[test]
    fn another_method_is_another_sweep() {
        let hosts = layout("10.0.0.5-10.0.0.5");
        let memory = alive(Method::Tcp(443), &hosts);
        let found = [(0, Some(Silent))].into_iter();
        let (changes, _) = Memory::update(Some(memory), Method::Icmp, &hosts, found, 1);
        assert_eq!(changes[0].from, None);
    }

    #[test]
    fn states_survive_packing() {
        let states = [Some(Alive), Some(Alive), None, Some(Silent), Some(Unreachable), Some(Unreachable)];
        let mut packer = Packer::default();
        for state in states {
            packer.push(state);
        }
        let text = packer.finish();
        assert_eq!(text, "2a1?1s2u");
        assert_eq!(unpack(&text).collect::<Vec<_>>(), states);
        assert_eq!(unpack("2a!").count(), 2);
    }
}
