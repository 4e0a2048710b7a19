//! Sets of addresses as disjoint ascending intervals: union, difference, count, and the address at an index.
//!
//! Never enumerated: a /8 costs as much as one address. IPv4 comes before IPv6, each in ascending order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Intervals,
    v6: Intervals,
}

/// Disjoint, ascending, not touching; both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Intervals {
    ranges: Vec<(u128, u128)>,
    /// How many numbers stand before each range.
    before: Vec<u128>,
}

impl AddressSet {
    /// The set of all these ranges; first and last must be of one family, and a reversed range is empty.
    pub fn new(ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Self {
        let (mut v4, mut v6) = (vec![], vec![]);
        for (first, last) in ranges {
            let family = if first.is_ipv4() { &mut v4 } else { &mut v6 };
            family.push((number(first), number(last)));
        }
        Self { v4: Intervals::new(v4), v6: Intervals::new(v6) }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.ranges().chain(other.ranges()))
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self { v4: self.v4.without(&other.v4), v6: self.v6.without(&other.v6) }
    }

    /// How many addresses; at most `u128::MAX`.
    pub fn count(&self) -> u128 {
        self.v4.count().saturating_add(self.v6.count())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.ranges.is_empty() && self.v6.ranges.is_empty()
    }

    /// The address at an index, counted from the smallest.
    pub fn get(&self, index: u128) -> Option<IpAddr> {
        let v4 = self.v4.count();
        if index < v4 { self.v4.get(index).map(v4_address) } else { self.v6.get(index - v4).map(v6_address) }
    }

    /// The index of an address; `None` where it is not in the set.
    pub fn position(&self, address: IpAddr) -> Option<u128> {
        match address {
            IpAddr::V4(_) => self.v4.position(number(address)),
            IpAddr::V6(_) => self.v4.count().checked_add(self.v6.position(number(address))?),
        }
    }

    /// Whether an address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let family = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        family.contains(number(address))
    }

    /// The intervals, first and last address included.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let v4 = self.v4.ranges.iter().map(|(first, last)| (v4_address(*first), v4_address(*last)));
        let v6 = self.v6.ranges.iter().map(|(first, last)| (v6_address(*first), v6_address(*last)));
        v4.chain(v6)
    }

    /// Every address, ascending.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.ranges.iter().flat_map(|(first, last)| (*first..=*last).map(v4_address));
        let v6 = self.v6.ranges.iter().flat_map(|(first, last)| (*first..=*last).map(v6_address));
        v4.chain(v6)
    }
}

impl Intervals {
    fn new(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        let mut total = 0u128;
        let before = merged
            .iter()
            .map(|(first, last)| {
                let here = total;
                total = total.saturating_add((last - first).saturating_add(1));
                here
            })
            .collect();
        Self { ranges: merged, before }
    }

    fn without(&self, other: &Self) -> Self {
        let (mut left, mut holes) = (Vec::new(), other.ranges.iter().peekable());
        for (first, last) in &self.ranges {
            let mut first = Some(*first);
            while let (Some(from), Some((hole_first, hole_last))) = (first, holes.peek().copied()) {
                if *hole_last < from {
                    holes.next();
                    continue;
                }
                if hole_first > last {
                    break;
                }
                if *hole_first > from {
                    left.push((from, hole_first - 1));
                }
                first = hole_last.checked_add(1).filter(|next| next <= last);
            }
            left.extend(first.map(|from| (from, *last)));
        }
        Self::new(left)
    }

    fn count(&self) -> u128 {
        let last = self.ranges.last().zip(self.before.last());
        last.map_or(0, |((first, last), before)| before.saturating_add((last - first).saturating_add(1)))
    }

    fn get(&self, index: u128) -> Option<u128> {
        let at = self.before.partition_point(|before| *before <= index).checked_sub(1)?;
        let (first, last) = self.ranges[at];
        first.checked_add(index - self.before[at]).filter(|number| *number <= last)
    }

    fn position(&self, number: u128) -> Option<u128> {
        let at = self.ranges.partition_point(|(first, _)| *first <= number).checked_sub(1)?;
        let (first, last) = self.ranges[at];
        (number <= last).then(|| self.before[at].saturating_add(number - first))
    }

    fn contains(&self, number: u128) -> bool {
        self.position(number).is_some()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn v4_address(number: u128) -> IpAddr {
    Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into()
}

fn v6_address(number: u128) -> IpAddr {
    Ipv6Addr::from(number).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
        proptest::collection::vec((any::<u8>(), any::<u8>()), 0..12)
    }

    fn set(ranges: &[(u8, u8)], v6: bool) -> AddressSet {
        let address = |number: u8| if v6 { v6_address(number.into()) } else { v4_address(number.into()) };
        AddressSet::new(ranges.iter().map(|(first, last)| (address(*first), address(*last))))
    }

    fn brute(ranges: &[(u8, u8)]) -> BTreeSet<u128> {
        ranges.iter().flat_map(|(first, last)| u128::from(*first)..=u128::from(*last)).collect()
    }

    proptest! {
        #[test]
        fn sets_agree_with_brute_force(a in ranges(), b in ranges(), v6: bool) {
            let (one, two) = (set(&a, v6), set(&b, v6));
            let (all_one, all_two) = (brute(&a), brute(&b));
            let listed = |set: &AddressSet| set.iter().map(|address| number(address) & 0xff).collect::<Vec<_>>();
            prop_assert_eq!(listed(&one), all_one.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(listed(&one.union(&two)), all_one.union(&all_two).copied().collect::<Vec<_>>());
            let difference = one.without(&two);
            prop_assert_eq!(listed(&difference), all_one.difference(&all_two).copied().collect::<Vec<_>>());
            prop_assert_eq!(difference.count(), listed(&difference).len() as u128);
            for (index, address) in difference.iter().enumerate() {
                prop_assert_eq!(difference.get(index as u128), Some(address));
                prop_assert_eq!(difference.position(address), Some(index as u128));
                prop_assert!(difference.contains(address) && !two.contains(address));
                prop_assert_eq!(two.position(address), None);
            }
            prop_assert!(two.iter().all(|address| difference.position(address).is_none()));
            prop_assert_eq!(difference.get(difference.count()), None);
        }
    }

    #[test]
    fn the_whole_of_ipv6_is_counted_without_overflow() {
        let all = AddressSet::new([(v6_address(0), v6_address(u128::MAX)), (v4_address(1), v4_address(2))]);
        assert_eq!(all.count(), u128::MAX);
        assert_eq!(all.get(2), Some(v6_address(0)));
        let rest = all.without(&AddressSet::new([(v6_address(1), v6_address(u128::MAX))]));
        assert_eq!(rest.count(), 3);
    }
}
