//! Whether the peers of a connection are still there: a look at the kernel's own books now and then, and keepalive.
//!
//! Not `TCP_USER_TIMEOUT`: it also breaks off a peer that lives and does not read for so long (tcp(7)). A peer that owes
//! acknowledgements is judged by them; one that owes nothing is asked by the kernel. A connection on which nothing is owed
//! and no byte passes is not looked at again, and a short one never: it costs not one system call.

use std::time::Duration;

use tokio::time::Instant;

use crate::{net::stream::Stream, sys::tcp::Answers};

#[derive(Debug)]
pub(super) struct Presence {
    /// How long a peer may owe an answer.
    limit: Duration,
    next: Next,
    /// Whether the kernel asks for silent peers.
    is_kept_alive: bool,
}

/// When to look.
#[derive(Clone, Copy, Debug)]
enum Next {
    Never,
    At(Instant),
    /// Once bytes have passed after those of this time.
    After(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Here,
    Gone,
}

impl Finding {
    pub(super) fn is_gone(self) -> bool {
        self == Self::Gone
    }
}

/// So many questions without an answer are no accident; a peer whose window is closed may be late with one.
const PROBES: u8 = 3;

impl Presence {
    pub(super) fn new(ends: &[Stream], limit: Duration, now: Instant) -> Self {
        let has_tcp = ends.iter().any(|end| matches!(end, Stream::Tcp(_)));
        let next = if has_tcp { Next::At(now + limit / 2) } else { Next::Never };
        Self { limit, next, is_kept_alive: false }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        match self.next {
            Next::At(at) => Some(at),
            Next::Never | Next::After(_) => None,
        }
    }

    /// Bytes passed last at this time; whether the clock is to be looked at because of it.
    pub(super) fn passed(&mut self, active: Instant) -> bool {
        let has_woken = matches!(self.next, Next::After(last) if active > last);
        if has_woken {
            self.next = Next::At(active + self.limit / 2);
        }
        has_woken
    }

    /// Looks at all ends.
    pub(super) fn look(
        &mut self,
        ends: &[Stream],
        active: Instant,
        now: Instant,
        is_blocked: bool,
    ) -> Finding {
        let mut is_owed = is_blocked;
        for answers in ends.iter().filter_map(Stream::answers) {
            if is_gone(&answers, self.limit) {
                return Finding::Gone;
            }
            is_owed |= answers.is_owed;
        }
        if !std::mem::replace(&mut self.is_kept_alive, true) {
            for end in ends {
                // It fails only where the peer has broken the connection off already.
                let _ = end.keep_alive(self.limit);
            }
        }
        let is_quiet = now >= active + self.limit / 2;
        self.next = if is_quiet && !is_owed { Next::After(active) } else { Next::At(now + self.limit / 2) };
        Finding::Here
    }
}

fn is_gone(answers: &Answers, limit: Duration) -> bool {
    // The patience tells how long these bytes have been sent again; the last answer may be older than they are.
    let is_unheard = answers.retransmits > 0 && answers.patience >= limit / 2;
    answers.last > limit && (is_unheard || answers.probes >= PROBES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_owes_answers_for_long_is_gone() {
        let limit = Duration::from_mins(1);
        let answers = |retransmits, patience, probes, last| Answers {
            retransmits,
            patience: Duration::from_secs(patience),
            probes,
            is_owed: true,
            last: Duration::from_secs(last),
        };
        for (answers, is_wanted) in [
            (answers(8, 51, 0, 61), true),
            (answers(8, 51, 0, 59), false),
            // Idle for an hour, then a packet was lost.
            (answers(1, 1, 0, 3600), false),
            // A closed window whose last probe was answered, and one with none on the way.
            (answers(0, 120, 1, 119), false),
            (answers(0, 120, 0, 119), false),
            (answers(0, 120, 3, 480), true),
        ] {
            assert_eq!(is_gone(&answers, limit), is_wanted, "{answers:?}");
        }
    }
}
