//! Which probe a transmit stamp is for. Newer kernels take its number with the packet; older ones count packets by
//! themselves, and what they counted of a failed send is not known: then both sides start again from 0.

/// The packets that will be stamped.
#[derive(Debug)]
pub(super) enum Stamps {
    /// A stamp carries the probe's own number.
    Numbered,
    /// It carries the count of the packets before it; of the last ones it is known which they were.
    Counted { next: u32, last: Vec<u32> },
}

/// So many packets at most wait for their stamps.
const MOST: u32 = 4096;

impl Stamps {
    pub(super) fn new(numbered: bool) -> Self {
        if numbered { Self::Numbered } else { Self::Counted { next: 0, last: vec![] } }
    }

    /// Whether the number goes with the packet.
    pub(super) fn is_numbered(&self) -> bool {
        matches!(self, Self::Numbered)
    }

    /// A probe was sent.
    pub(super) fn sent(&mut self, number: u32) {
        if let Self::Counted { next, last } = self {
            let at = (*next % MOST) as usize;
            if at == last.len() {
                last.push(number);
            } else {
                last[at] = number;
            }
            *next = next.wrapping_add(1);
        }
    }

    /// The probe that a stamp is for.
    pub(super) fn number(&self, stamp: u32) -> Option<u32> {
        match self {
            Self::Numbered => Some(stamp),
            Self::Counted { next, last } => {
                let recent = (1..=MOST).contains(&next.wrapping_sub(stamp));
                last.get((stamp % MOST) as usize).filter(|_| recent).copied()
            }
        }
    }

    /// A send failed; whether the kernel has to start again as well.
    pub(super) fn failed(&mut self) -> bool {
        let counted = !self.is_numbered();
        *self = Self::new(!counted);
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_stamps_are_found_until_too_many_came_after_them() {
        let mut stamps = Stamps::new(false);
        for number in 0..5000 {
            stamps.sent(number + 10);
        }
        assert_eq!(stamps.number(4999), Some(5009));
        assert_eq!(stamps.number(5000 - MOST), Some(5010 - MOST));
        assert_eq!((stamps.number(5000 - MOST - 1), stamps.number(5000)), (None, None));
        assert!(stamps.failed());
        assert_eq!(stamps.number(4999), None);
        stamps.sent(7);
        assert_eq!(stamps.number(0), Some(7));
    }

    #[test]
    fn a_number_that_went_with_the_packet_is_the_probes_own() {
        let mut stamps = Stamps::new(true);
        stamps.sent(9);
        assert_eq!(stamps.number(9), Some(9));
        assert!(!stamps.failed());
    }
}
