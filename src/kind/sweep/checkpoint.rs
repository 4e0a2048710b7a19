//! How far a sweep has come, small enough to be saved every second: where it stands, what was found, who is being asked.
//!
//! A finding takes two bytes at most, a round trip three, a host that is being asked some; equal findings in a row are one.
//! Bytes are written as hexadecimal digits.

use std::{fmt::Write as _, hash::Hasher as _};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::found::Findings;
use crate::outcome::{Evidence, Reason};

/// A sweep on its way, as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) standing: Standing,
    /// Runs of findings: a byte each, and how many there are.
    findings: String,
    /// The round trips of the living, in their order.
    rtts: String,
    /// Hosts that are being asked, each as the distance from the one before.
    asked: String,
}

/// Where a sweep stands, besides its findings.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Standing {
    /// Which set, asked how: nobody else goes on from here.
    pub(super) identity: u64,
    /// The key of a scattered order; `None`: a plain one.
    pub(super) key: Option<[u64; 2]>,
    /// Passes that are done.
    pub(super) pass: u32,
    /// Places of the order that are done in this pass.
    pub(super) place: u32,
    /// Hosts that this pass has still to hear of.
    pub(super) left: u64,
    pub(super) packets: u64,
    pub(super) local_drops: u64,
}

impl Saved {
    /// Packs it; `asked` are hosts that are being asked, in ascending order.
    pub(super) fn new(standing: Standing, findings: &Findings, asked: &[u32]) -> Self {
        let mut runs = vec![];
        let mut bytes = findings.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let mut length = 1;
            while bytes.next_if_eq(&byte).is_some() {
                length += 1;
            }
            runs.push(byte);
            push(&mut runs, length);
        }
        let living = findings.iter().filter(|(_, finding)| finding.is_alive());
        // The first 24 bits of a float: exact to one part in 65,536.
        let rtts = living.flat_map(|(index, _)| findings.raw_rtt(index).to_be_bytes().into_iter().take(3));
        let rtts: Vec<u8> = rtts.collect();
        let (mut gaps, mut before) = (vec![], 0);
        for index in asked {
            push(&mut gaps, index - before);
            before = *index;
        }
        let (findings, rtts, asked) = (text(&runs), text(&rtts), text(&gaps));
        Self { standing, findings, rtts, asked }
    }

    /// What was found of so many hosts, and who was being asked; `None` where it does not fit.
    pub(super) fn unpack(&self, count: u32) -> Option<(Findings, Vec<u32>)> {
        let (runs, rtts, gaps) = (bytes(&self.findings)?, bytes(&self.rtts)?, bytes(&self.asked)?);
        let mut known = Vec::with_capacity(count as usize);
        let mut runs = runs.into_iter();
        while let Some(byte) = runs.next() {
            let length = pull(&mut runs)? as usize;
            let fits = known.len() + length <= count as usize;
            known.extend(fits.then(|| std::iter::repeat_n(byte, length))?);
        }
        let mut rtts = rtts.chunks_exact(3).map(|rtt| f32::from_be_bytes([rtt[0], rtt[1], rtt[2], 0]));
        let findings = Findings::restore(known, &mut rtts).filter(|found| found.count() == count)?;
        let (mut asked, mut before, mut gaps) = (vec![], 0u32, gaps.into_iter().peekable());
        while gaps.peek().is_some() {
            before = before.checked_add(pull(&mut gaps)?).filter(|index| *index < count)?;
            asked.push(before);
        }
        Some((findings, asked))
    }
}

/// A number for a set and how it is asked. Findings are saved as numbers of words, so that a program which numbers them
/// otherwise does not read them.
pub(super) fn identity(set: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    let words =
        Evidence::ALL.iter().map(|word| word.as_str()).chain(Reason::ALL.iter().map(|word| word.as_str()));
    for word in words.chain([set]) {
        hasher.write(word.as_bytes());
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// Seven bits a byte, the lowest first; the last byte has no high bit.
fn push(bytes: &mut Vec<u8>, mut number: u32) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn pull(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut number = 0u32;
    for shift in (0..u32::BITS).step_by(7) {
        let byte = bytes.next()?;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Two hexadecimal digits a byte.
fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::found::Finding, *};

    #[test]
    fn what_was_found_and_who_is_asked_survives_packing() {
        let mut findings = Findings::new(100_000);
        for index in (0..100_000).step_by(3) {
            findings.note(
                index,
                Finding::alive(Evidence::Echo),
                Some(Duration::from_nanos(u64::from(index) + 999)),
            );
            findings.note(index + 1, Finding::dead(Reason::Timeout), None);
        }
        let asked = [0, 2, 5, 4000, 99_998];
        let standing = Standing { identity: u64::MAX, pass: 1, place: 7, ..Standing::default() };
        let saved = serde_json::to_value(Saved::new(standing, &findings, &asked)).unwrap();
        let saved: Saved = serde_json::from_value(saved).unwrap();
        let (found, again) = saved.unpack(100_000).unwrap();
        assert_eq!(
            (again.as_slice(), saved.standing.identity, saved.standing.place),
            (&asked[..], u64::MAX, 7)
        );
        assert_eq!(found.alive(), findings.alive());
        for (index, finding) in findings.iter() {
            assert_eq!(found.get(index), finding);
            let (was, is) = (findings.raw_rtt(index), found.raw_rtt(index));
            assert!(was.is_nan() && is.is_nan() || (was - is).abs() <= was / 32_768.0, "{was} {is}");
        }
        assert!(saved.unpack(99_999).is_none() && saved.unpack(100_001).is_none());
    }

    #[test]
    fn a_network_of_65536_takes_a_few_hundred_kilobytes_at_most() {
        let mut findings = Findings::new(65_536);
        for index in 0..65_536 {
            findings.note(index, Finding::alive(Evidence::Echo), Some(Duration::from_micros(index.into())));
        }
        let all: Vec<u32> = (0..65_536).collect();
        let saved = serde_json::to_string(&Saved::new(Standing::default(), &findings, &all)).unwrap();
        assert!(saved.len() < 530_000, "{}", saved.len());
    }

    #[test]
    fn what_does_not_read_is_nothing() {
        let whole = Saved::new(Standing::default(), &Findings::new(10), &[1]);
        assert!(whole.unpack(10).is_some());
        for (findings, asked) in [
            ("0", "01"),
            ("+00a", "01"),
            ("!!", "01"),
            ("000a", "ff"),
            ("00ffffffff0f", "01"),
            ("000a", "0b"),
        ] {
            let broken = Saved {
                findings: findings.into(),
                asked: asked.into(),
                ..Saved::new(Standing::default(), &Findings::new(10), &[])
            };
            assert!(broken.unpack(10).is_none(), "{findings} {asked}");
        }
    }
}
