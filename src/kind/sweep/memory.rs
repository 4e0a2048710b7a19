//! What a sweep remembers of the one before: each host's state as it was told, and changes that wait to be confirmed.
//!
//! A state that could not be found out changes nothing. Another set of targets is another sweep: nothing is remembered.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::outcome::HostState;

/// What is kept between sweeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Which set this is about.
    identity: String,
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
        identity: String,
        found: impl Iterator<Item = (u32, Option<HostState>)>,
        confirm: u32,
    ) -> (Vec<Change>, Self) {
        let before = before.filter(|memory| memory.identity == identity).unwrap_or_default();
        let mut told = unpack(&before.states);
        let (mut changes, mut waiting, mut states) = (vec![], BTreeMap::new(), Packer::default());
        for (index, found) in found {
            let from = told.next().flatten();
            let already = before.waiting.get(&index).copied().unwrap_or(0);
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
        (changes, Self { identity, states: states.finish(), waiting })
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

    /// Sweeps in a row, each with what was found; gives how many changes each told.
    fn told(confirm: u32, sweeps: &[&[Option<HostState>]]) -> Vec<Vec<Change>> {
        let mut memory = None;
        let sweep = |found: &&[Option<HostState>]| {
            let found = (0..).zip(found.iter().copied());
            let (changes, next) = Memory::update(memory.take(), "set".into(), found, confirm);
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

    #[test]
    fn another_set_is_another_sweep() {
        let found = || [(0, Some(Alive))].into_iter();
        let (_, memory) = Memory::update(None, "a".into(), found(), 1);
        let (changes, _) = Memory::update(Some(memory), "b".into(), found(), 1);
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
