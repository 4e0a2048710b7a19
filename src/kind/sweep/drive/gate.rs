//! How many hosts of the machine's own links are asked through the kernel at a time, so that they leave room in its
//! neighbour table.
//!
//! An entry that nobody answers for lives three seconds and cannot be dropped before. One that was answered is kept as long
//! as it counts as fresh, and is dropped for a new one five seconds later. Pure but for the clock, which is handed in.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Who takes, or is going to take, a place in the neighbour table.
#[derive(Debug)]
pub(super) struct Gate {
    /// Hosts of links, and whether their station is known to answer.
    hosts: HashMap<u32, bool>,
    /// Entries that there may be at a time.
    room: usize,
    taken: HashMap<u32, Taken>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Until when; `None` while a packet is on its way.
    until: Option<Instant>,
    unresolved: bool,
}

/// Entries that nobody has answered for yet.
pub(in super::super) const MOST_UNRESOLVED: usize = 256;
/// The room in a usual table that is full of others.
pub(in super::super) const LEAST_ROOM: f64 = 128.0;
/// How long such a one lives, and a little.
const UNRESOLVED: Duration = Duration::from_millis(3200);
/// After which time an entry is dropped if the table is full, and a little: it is fresh for 15 to 45 seconds.
const RESOLVED: Duration = Duration::from_secs(51);

impl Default for Gate {
    fn default() -> Self {
        Self { hosts: HashMap::new(), room: MOST_UNRESOLVED, taken: HashMap::new(), closed: false }
    }
}

impl Gate {
    /// Says how many entries there may be.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room.max(1);
    }

    /// Says that a host is on a link, and whether its station has answered.
    pub(super) fn add(&mut self, index: u32, answers: bool) {
        self.hosts.insert(index, answers);
    }

    /// Takes a place for a host that is to be asked now. Hosts of no link need none.
    pub(super) fn admit(&mut self, index: u32, now: Instant) -> bool {
        let Some(answers) = self.hosts.get(&index).copied() else { return true };
        let before = self.taken.remove(&index);
        if !self.has_room(answers) {
            self.taken.retain(|_, taken| taken.until.is_none_or(|until| until > now));
            if !self.has_room(answers) {
                self.taken.extend(before.map(|before| (index, before)));
                self.closed = true;
                return false;
            }
        }
        self.taken.insert(index, Taken { until: None, unresolved: !answers });
        true
    }

    /// A host that was let in has answered, or has not within `waited`.
    pub(super) fn leave(&mut self, index: u32, answered: bool, waited: Duration, now: Instant) {
        let Some(taken) = self.taken.get_mut(&index) else { return };
        taken.unresolved &= !answered;
        let rest = if taken.unresolved { UNRESOLVED.saturating_sub(waited) } else { RESOLVED };
        taken.until = Some(now + rest);
    }

    /// Whether a host was kept out since the last call, and when it should try again, if not after an answer.
    pub(super) fn was_closed(&mut self) -> Option<Instant> {
        let opens = || self.taken.values().filter_map(|taken| taken.until).min();
        std::mem::take(&mut self.closed).then(|| opens().unwrap_or_else(|| Instant::now() + UNRESOLVED))
    }

    fn has_room(&self, answers: bool) -> bool {
        let unresolved = || self.taken.values().filter(|taken| taken.unresolved).count();
        self.taken.len() < self.room
            && (answers || self.taken.len() < MOST_UNRESOLVED || unresolved() < MOST_UNRESOLVED)
    }
}

/// How many seconds so many hosts of links take at most to pass the gate with room for some, each asked for so long.
pub(in super::super) fn slowest(hosts: f64, room: f64, timeout: Duration) -> f64 {
    let waves = (hosts / room).ceil() - 1.0;
    waves.max(0.0) * (RESOLVED + timeout).as_secs_f64()
}

/// How many seconds so many take where nobody answers, and the kernel asks for each.
pub(in super::super) fn slowest_unresolved(hosts: f64, timeout: Duration) -> f64 {
    let waves = (hosts / MOST_UNRESOLVED as f64).ceil() - 1.0;
    waves.max(0.0) * UNRESOLVED.max(timeout).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate before so many hosts of a link.
    fn gate(room: usize, hosts: u32, answers: bool) -> Gate {
        let mut gate = Gate::default();
        gate.set_room(room);
        (0..hosts).for_each(|index| gate.add(index, answers));
        gate
    }

    /// How many of these are let in.
    fn admitted(gate: &mut Gate, hosts: std::ops::Range<u32>, now: Instant) -> usize {
        hosts.filter(|index| gate.admit(*index, now)).count()
    }

    #[test]
    fn no_more_than_256_are_unresolved_within_the_life_of_their_entries() {
        let (mut gate, start) = (gate(768, 2000, false), Instant::now());
        assert_eq!(admitted(&mut gate, 0..1000, start), MOST_UNRESOLVED);
        assert!(gate.was_closed().is_some() && gate.was_closed().is_none());
        let timeout = Duration::from_secs(1);
        (0..256).for_each(|index| gate.leave(index, index < 100, timeout, start + timeout));
        // Those that answered are resolved: others come in; the silent keep their places for three seconds.
        assert_eq!(admitted(&mut gate, 300..1000, start + timeout), 100);
        assert_eq!(gate.was_closed(), Some(start + UNRESOLVED));
        assert_eq!(admitted(&mut gate, 1000..2000, start + UNRESOLVED), 156);
    }

    #[test]
    fn answered_entries_fill_the_room_until_the_kernel_may_drop_them() {
        let (mut gate, start) = (gate(300, 1000, true), Instant::now());
        assert_eq!(admitted(&mut gate, 0..1000, start), 300);
        (0..300).for_each(|index| gate.leave(index, true, Duration::ZERO, start));
        assert_eq!(admitted(&mut gate, 300..1000, start + Duration::from_secs(50)), 0);
        assert_eq!(admitted(&mut gate, 300..1000, start + RESOLVED), 300);
    }

    #[test]
    fn who_is_asked_again_takes_no_second_place_and_who_is_far_none() {
        let (mut gate, start) = (gate(2, 2, true), Instant::now());
        for _ in 0..3 {
            assert_eq!(admitted(&mut gate, 0..2, start), 2);
            (0..2).for_each(|index| gate.leave(index, true, Duration::ZERO, start));
        }
        assert_eq!(admitted(&mut gate, 2..100, start), 98);
        assert!(gate.was_closed().is_none());
    }
}
