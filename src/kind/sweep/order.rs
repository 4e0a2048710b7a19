//! The order in which a sweep visits its hosts: plain, or a permutation of which only the key is kept.
//!
//! A Feistel network of four rounds over the next even number of bits; a number outside the range is passed through it
//! again until it falls inside (cycle walking). So each host comes exactly once, and nothing is shuffled in memory.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// A permutation of the numbers below `count`.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    count: u32,
    half: u32,
    key: Option<[u64; 2]>,
}

const ROUNDS: u8 = 4;

impl Permutation {
    /// Each number at its own place.
    pub fn plain(count: u32) -> Self {
        Self { count, half: 0, key: None }
    }

    /// Numbers scattered as the key says.
    pub fn scattered(count: u32, key: [u64; 2]) -> Self {
        let bits = u32::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, half: bits.div_ceil(2).max(1), key: Some(key) }
    }

    /// The number at a place below the count.
    pub fn get(&self, place: u32) -> u32 {
        let Some(key) = self.key else { return place };
        let mut number = u64::from(place);
        loop {
            number = self.shuffle(number, key);
            if let Ok(inside) = u32::try_from(number)
                && inside < self.count
            {
                return inside;
            }
        }
    }

    /// All numbers, each once.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..self.count).map(move |place| self.get(place))
    }

    fn shuffle(&self, number: u64, key: [u64; 2]) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half & mask, number & mask);
        for round in 0..ROUNDS {
            let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
            hasher.write_u8(round);
            hasher.write_u64(right);
            (left, right) = (right, (left ^ hasher.finish()) & mask);
        }
        left << self.half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_52_it_is_a_bijection() {
        for count in [1, 2, 3, 255, 256, 257, 65_537] {
            for order in [Permutation::plain(count), Permutation::scattered(count, [7, u64::from(count)])] {
                let mut all: Vec<_> = order.iter().collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..count), "{count}");
            }
        }
    }

    #[test]
    fn case_52_it_is_a_bijection_of_two_to_the_24() {
        let count: u32 = 1 << 24;
        let mut seen = vec![0u64; 1 << 18];
        // All places would take a minute without optimisation; every 16th is a sample of all, since no round knows its place.
        let order = Permutation::scattered(count, [1, 2]);
        for place in (0..count).step_by(16) {
            let number = order.get(place) as usize;
            assert_eq!(seen[number / 64] >> (number % 64) & 1, 0, "{number} comes twice");
            seen[number / 64] |= 1 << (number % 64);
        }
    }

    #[test]
    fn neighbours_are_scattered() {
        let order = Permutation::scattered(65_536, [1, 2]);
        let near = (1..65_536).filter(|place| order.get(*place).abs_diff(order.get(place - 1)) < 256);
        assert!(near.count() < 1000);
    }
}
