//! The sessions of a run: found by their sender, and in the order in which they last spoke.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::link::{Key, Link};
use crate::outcome::Close;

/// All sessions; the one that was silent longest is known without a search.
#[derive(Debug)]
pub(super) struct Table {
    places: HashMap<Key, u32>,
    slots: Vec<Slot>,
    /// Slots without a session.
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    /// Whether somebody looks after those that fall silent.
    pub(super) is_kept: bool,
}

#[derive(Debug)]
struct Slot {
    link: Option<Arc<Link>>,
    active: Instant,
    older: u32,
    newer: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl Default for Table {
    fn default() -> Self {
        let (places, slots, free) = (HashMap::new(), vec![], vec![]);
        Self { places, slots, free, oldest: NONE, newest: NONE, is_kept: false }
    }
}

impl Table {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// The session of a sender, who speaks now.
    pub(super) fn find(&mut self, key: &Key, now: Instant) -> Option<Arc<Link>> {
        let place = *self.places.get(key)?;
        self.freshen(place, now);
        self.slots[place as usize].link.clone()
    }

    /// Enters a session of a sender who has none and speaks now.
    pub(super) fn insert(&mut self, key: Key, now: Instant) -> Arc<Link> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { link: None, active: now, older: NONE, newer: NONE });
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        let link = Arc::new(Link::new(key, place));
        self.places.insert(key, place);
        self.slots[place as usize].link = Some(link.clone());
        self.append(place, now);
        link
    }

    /// A session has spoken now; nothing where it is no longer here.
    pub(super) fn touch(&mut self, link: &Link, now: Instant) {
        if self.holds(link) {
            self.freshen(link.place, now);
        }
    }

    /// Lets go of a session, if it is here.
    pub(super) fn remove(&mut self, link: &Link) {
        if !self.holds(link) {
            return;
        }
        self.unchain(link.place);
        self.places.remove(&link.key);
        self.slots[link.place as usize].link = None;
        self.free.push(link.place);
        if self.places.is_empty() {
            // A flood has passed: what it took goes back.
            *self = Self { is_kept: self.is_kept, ..Self::default() };
        }
    }

    /// The session that was silent longest, and since when.
    pub(super) fn oldest(&self) -> Option<(Arc<Link>, Instant)> {
        let slot = self.slots.get(self.oldest as usize)?;
        Some((slot.link.clone()?, slot.active))
    }

    /// Ends the session that was silent longest; whether there was one.
    pub(super) fn end_oldest(&mut self, close: Close) -> bool {
        let Some((link, _)) = self.oldest() else { return false };
        self.remove(&link);
        link.end(close);
        true
    }

    fn holds(&self, link: &Link) -> bool {
        let slot = self.slots.get(link.place as usize);
        slot.and_then(|slot| slot.link.as_deref()).is_some_and(|held| std::ptr::eq(held, link))
    }

    fn freshen(&mut self, place: u32, now: Instant) {
        if self.newest == place {
            self.slots[place as usize].active = now;
        } else {
            self.unchain(place);
            self.append(place, now);
        }
    }

    fn append(&mut self, place: u32, now: Instant) {
        let before = std::mem::replace(&mut self.newest, place);
        let slot = &mut self.slots[place as usize];
        (slot.active, slot.older, slot.newer) = (now, before, NONE);
        match self.slots.get_mut(before as usize) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
    }

    fn unchain(&mut self, place: u32) {
        let (older, newer) = (self.slots[place as usize].older, self.slots[place as usize].newer);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stream::Peer;

    fn key(port: u16) -> Key {
        (0, Peer::Ip(([127, 0, 0, 1], port).into()), None)
    }

    fn oldest(table: &Table) -> Option<Key> {
        table.oldest().map(|(link, _)| link.key)
    }

    #[tokio::test]
    async fn the_one_that_was_silent_longest_is_known() {
        let mut table = Table::default();
        let now = Instant::now();
        let links: Vec<_> = (1..=3).map(|port| table.insert(key(port), now)).collect();
        assert_eq!(oldest(&table), Some(key(1)));
        assert!(table.find(&key(1), now).is_some());
        assert_eq!(oldest(&table), Some(key(2)));
        table.touch(&links[2], now);
        table.touch(&links[1], now);
        assert_eq!(oldest(&table), Some(key(1)));
        table.remove(&links[0]);
        assert_eq!((oldest(&table), table.count()), (Some(key(3)), 2));
        assert!(table.find(&key(1), now).is_none());
    }

    #[tokio::test]
    async fn a_session_that_is_gone_is_not_taken_for_the_one_in_its_place() {
        let mut table = Table::default();
        let now = Instant::now();
        let gone = table.insert(key(1), now);
        let other = table.insert(key(2), now);
        table.remove(&gone);
        let heir = table.insert(key(1), now);
        assert_eq!(heir.place, gone.place);
        table.remove(&gone);
        table.touch(&gone, now);
        assert_eq!((table.count(), oldest(&table)), (2, Some(other.key)));
        table.remove(&heir);
        table.remove(&other);
        assert_eq!((table.count(), oldest(&table)), (0, None));
    }
}
