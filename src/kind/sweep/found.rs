//! What a sweep knows of each host: one byte for the finding, four for the round trip.

use std::time::Duration;

use crate::outcome::{Evidence, HostState, Reason};

/// What is known of one host, packed into a byte: the word, and whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding(u8);

/// Where reasons begin; below stand the evidences of life, and 0 is a host that was not asked.
const REASONS: u8 = 64;
/// Set where the host is asked again in a later pass: until then nothing is said of it.
const SO_FAR: u8 = 128;

impl Finding {
    /// Nothing yet.
    pub(super) const UNKNOWN: Self = Self(0);

    /// It lives.
    pub(super) fn alive(evidence: Evidence) -> Self {
        Self(1 + position(Evidence::ALL, evidence))
    }

    /// It did not answer, or something else answered for it.
    pub(super) fn dead(reason: Reason) -> Self {
        Self(REASONS + position(Reason::ALL, reason))
    }

    /// What its life is concluded from.
    pub(super) fn evidence(self) -> Option<Evidence> {
        Evidence::ALL.get(usize::from((self.0 & !SO_FAR).checked_sub(1)?)).copied()
    }

    /// Why it is not alive.
    pub(super) fn reason(self) -> Option<Reason> {
        Reason::ALL.get(usize::from((self.0 & !SO_FAR).checked_sub(REASONS)?)).copied()
    }

    /// Whether it was found alive.
    pub(super) fn is_alive(self) -> bool {
        self.evidence().is_some()
    }

    /// Whether it was asked as often as it should.
    pub(super) fn is_settled(self) -> bool {
        self != Self::UNKNOWN && self.0 & SO_FAR == 0
    }

    /// Its state as it is told; `None` where it was not asked as often as it should, or where our own losses keep us from
    /// saying.
    pub(super) fn state(self) -> Option<HostState> {
        if self.is_settled() { self.state_so_far() } else { None }
    }

    fn state_so_far(self) -> Option<HostState> {
        match (self.evidence(), self.reason()) {
            (Some(_), _) => Some(HostState::Alive),
            (None, Some(Reason::Timeout | Reason::ConnectTimeout | Reason::Dns)) => Some(HostState::Silent),
            (None, Some(Reason::LocalLoss | Reason::Resources | Reason::Cancelled) | None) => None,
            (None, Some(_)) => Some(HostState::Unreachable),
        }
    }

    /// The word that its state rests on.
    pub(super) fn why(self) -> &'static str {
        let evidence = self.evidence().map(Evidence::as_str);
        evidence.or_else(|| self.reason().map(Reason::as_str)).unwrap_or(Reason::Cancelled.as_str())
    }
}

fn position<T: PartialEq + Copy>(all: &[T], one: T) -> u8 {
    all.iter().position(|other| *other == one).and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
}

/// The findings of all hosts, by number.
#[derive(Debug)]
pub(super) struct Findings {
    known: Vec<Finding>,
    /// Seconds; NaN where there is none.
    rtts: Vec<f32>,
    alive: u32,
    /// Whether who does not answer now is not asked again.
    pub(super) is_last_pass: bool,
    /// A bit for each host that was asked and of which nothing was heard yet.
    asked: Vec<u64>,
}

impl Findings {
    /// Nothing is known of any, and there is one pass.
    pub(super) fn new(count: u32) -> Self {
        let count = count as usize;
        Self {
            known: vec![Finding::UNKNOWN; count],
            rtts: vec![f32::NAN; count],
            alive: 0,
            is_last_pass: true,
            asked: vec![0; count.div_ceil(64)],
        }
    }

    /// Findings as their bytes say, and the round trips of the living in their order; `None` where there are fewer.
    pub(super) fn restore(known: Vec<u8>, rtts: &mut impl Iterator<Item = f32>) -> Option<Self> {
        let mut findings = Self::new(u32::try_from(known.len()).ok()?);
        for (at, byte) in known.into_iter().enumerate() {
            findings.known[at] = Finding(byte);
            if Finding(byte).is_alive() {
                findings.alive += 1;
                findings.rtts[at] = rtts.next()?;
            }
        }
        Some(findings)
    }

    /// Of how many hosts.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }

    /// All findings, a byte each.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.known.iter().map(|finding| finding.0)
    }

    /// A host's round trip in seconds; NaN where there is none.
    pub(super) fn raw_rtt(&self, index: u32) -> f32 {
        self.rtts.get(index as usize).copied().unwrap_or(f32::NAN)
    }

    /// Notes that a host is asked now.
    pub(super) fn ask(&mut self, index: u32) {
        if let Some(bits) = self.asked.get_mut(index as usize / 64) {
            *bits |= 1 << (index % 64);
        }
    }

    /// Hosts that were asked and of which nothing was heard yet, by number.
    pub(super) fn asked(&self) -> impl Iterator<Item = u32> + '_ {
        let words = (0..).step_by(64).zip(&self.asked).filter(|(_, bits)| **bits != 0);
        words.flat_map(|(first, bits)| (first..first + 64).filter(move |at| bits >> (at - first) & 1 == 1))
    }

    /// Notes a finding. Life is never taken back, and silence says less than an error that came before.
    pub(super) fn note(&mut self, index: u32, finding: Finding, rtt: Option<Duration>) {
        let at = index as usize;
        if let Some(bits) = self.asked.get_mut(at / 64) {
            *bits &= !(1 << (at % 64));
        }
        let Some(known) = self.known.get_mut(at).filter(|known| !known.is_alive()) else { return };
        let says_less = finding.state() == Some(HostState::Silent);
        if known.state_so_far() != Some(HostState::Unreachable) || !says_less {
            *known = finding;
        }
        let more_to_come = !self.is_last_pass && !finding.is_alive();
        known.0 = known.0 & !SO_FAR | if more_to_come { SO_FAR } else { 0 };
        self.alive += u32::from(finding.is_alive());
        if let Some(rtt) = rtt {
            self.rtts[at] = rtt.as_secs_f32();
        }
    }

    /// What is known of a host.
    pub(super) fn get(&self, index: u32) -> Finding {
        self.known.get(index as usize).copied().unwrap_or(Finding::UNKNOWN)
    }

    /// Its round trip.
    pub(super) fn rtt(&self, index: u32) -> Option<Duration> {
        let seconds = self.rtts.get(index as usize).copied().filter(|seconds| !seconds.is_nan())?;
        Duration::try_from_secs_f32(seconds).ok()
    }

    /// How many are alive.
    pub(super) fn alive(&self) -> u32 {
        self.alive
    }

    /// All of them, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Finding)> + '_ {
        (0..).zip(self.known.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_its_byte() {
        for evidence in Evidence::ALL {
            let finding = Finding::alive(*evidence);
            assert_eq!((finding.evidence(), finding.reason()), (Some(*evidence), None));
        }
        for reason in Reason::ALL {
            let finding = Finding::dead(*reason);
            assert_eq!((finding.evidence(), finding.reason()), (None, Some(*reason)));
        }
        assert_eq!(Finding::UNKNOWN.state(), None);
    }

    #[test]
    fn case_38_alive_wins_over_every_error_before_and_after() {
        let mut findings = Findings::new(1);
        findings.note(0, Finding::dead(Reason::HostUnreachable), None);
        findings.note(0, Finding::alive(Evidence::Echo), Some(Duration::from_millis(1)));
        findings.note(0, Finding::dead(Reason::Timeout), None);
        assert_eq!(findings.get(0).state(), Some(HostState::Alive));
        assert_eq!((findings.alive(), findings.rtt(0)), (1, Some(Duration::from_millis(1))));
    }

    #[test]
    fn who_is_asked_again_is_neither_dead_nor_alive_until_then() {
        let mut findings = Findings::new(3);
        findings.is_last_pass = false;
        findings.note(0, Finding::dead(Reason::HostUnreachable), None);
        findings.note(1, Finding::dead(Reason::Timeout), None);
        findings.note(2, Finding::alive(Evidence::Echo), None);
        let states = |findings: &Findings| [0, 1, 2].map(|index| findings.get(index).state());
        assert_eq!(states(&findings), [None, None, Some(HostState::Alive)]);
        findings.is_last_pass = true;
        findings.note(0, Finding::dead(Reason::Timeout), None);
        findings.note(1, Finding::dead(Reason::Timeout), None);
        let dead = [Some(HostState::Unreachable), Some(HostState::Silent), Some(HostState::Alive)];
        assert_eq!(states(&findings), dead);
        assert_eq!(findings.get(0).reason(), Some(Reason::HostUnreachable));
    }

    #[test]
    fn a_loss_of_our_own_is_no_verdict_on_a_host() {
        assert_eq!(Finding::dead(Reason::LocalLoss).state(), None);
        assert_eq!(Finding::dead(Reason::Timeout).state(), Some(HostState::Silent));
        assert_eq!(Finding::dead(Reason::AdminProhibited).state(), Some(HostState::Unreachable));
    }
}
