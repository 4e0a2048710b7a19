//! When a direction copies and when it splices, and the splicing itself: source → pipe → peer, inside the kernel.
//!
//! An error of splice(2) that is not a side's own never loses a byte: what is in the pipe is read and copied.

use std::{
    io,
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
};

use super::{Break, Direction};
use crate::{
    meter::relay::RELAYS,
    net::{relay::pool::Lease, stream::Stream},
};

/// How bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// By copies; so many reads in a row were large.
    Copy { large: u8 },
    /// By the kernel; so many in a row were small.
    Splice { small: u8 },
    /// By copies, whatever comes: they are to be seen or counted, or the kernel has refused.
    CopyForGood,
}

/// After so many large reads in a row the kernel is to move the rest.
const LARGES: u8 = 2;

/// From here on a read is large. Not only a full one: where the source is on another machine, or waits for its turn on this
/// one, bytes come in lumps.
const LARGE: usize = 32 << 10;

/// After so many small ones in a row bytes are copied again.
const SMALLS: u8 = 3;

/// Below this a copy costs less than a pipe.
const SMALL: usize = 16 << 10;

impl Mode {
    pub(super) const COPY: Self = Self::Copy { large: 0 };

    /// So many bytes were copied at once.
    pub(super) fn copied(&mut self, count: usize) {
        *self = match *self {
            Self::Copy { large } if count >= LARGE && large + 1 < LARGES => Self::Copy { large: large + 1 },
            Self::Copy { .. } if count >= LARGE => Self::Splice { small: 0 },
            Self::Copy { .. } => Self::COPY,
            other => other,
        }
    }

    /// So many bytes were spliced at once.
    fn spliced(&mut self, count: usize) {
        *self = match *self {
            Self::Splice { small } if count < SMALL && small + 1 < SMALLS => {
                Self::Splice { small: small + 1 }
            }
            Self::Splice { .. } if count < SMALL => Self::COPY,
            Self::Splice { .. } => Self::Splice { small: 0 },
            other => other,
        }
    }
}

impl Direction {
    /// Moves bytes from the source into an empty pipe. `None`: it is to be copied instead.
    pub(super) fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        ends: &[Stream],
    ) -> Poll<Result<Option<usize>, Break>> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => match Lease::new() {
                Ok(Some(pipe)) => none.insert(pipe),
                Ok(None) => {
                    // All are in use now; that may be over after the next large reads.
                    self.mode = Mode::COPY;
                    return Poll::Ready(Ok(None));
                }
                Err(_) => {
                    self.fall_back();
                    return Poll::Ready(Ok(None));
                }
            },
        };
        match ready!(ends[usize::from(self.from)].poll_take(cx, |from| pipe.fill(from))) {
            // An end of file, or urgent data, at which splice(2) stops for good: a read tells, and passes it by.
            Ok(0) => {
                self.mode = Mode::COPY;
                Poll::Ready(Ok(None))
            }
            Ok(count) => {
                self.mode.spliced(count);
                Poll::Ready(Ok(Some(count)))
            }
            Err(error) if is_refusal(&error) => {
                self.fall_back();
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(self.source_broke(error))),
        }
    }

    /// Moves what the pipe holds to the peer; ready once it holds nothing.
    pub(super) fn poll_pipe(&mut self, cx: &mut Context<'_>, ends: &[Stream]) -> Poll<Result<(), Break>> {
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            match ready!(ends[usize::from(self.to)].poll_give(cx, |to| pipe.drain(to))) {
                Ok(0) => return Poll::Ready(Err(self.peer_broke(io::ErrorKind::WriteZero.into()))),
                Ok(count) => {
                    self.passed.bytes += count as u64;
                    self.passed.spliced += count as u64;
                }
                Err(error) if is_refusal(&error) => {
                    if let Some(pipe) = self.pipe.take() {
                        self.kept = pipe.rescue().map_err(|error| self.peer_broke(error))?;
                    }
                    self.fall_back();
                }
                Err(error) => return Poll::Ready(Err(self.peer_broke(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives an empty pipe back: an idle direction has none.
    pub(super) fn release(&mut self) {
        if self.pipe.as_ref().is_some_and(|pipe| pipe.held() == 0) {
            self.pipe = None;
        }
    }

    fn fall_back(&mut self) {
        self.mode = Mode::CopyForGood;
        RELAYS.fallbacks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether this says that these two descriptors are not to be spliced, rather than that a side has broken off.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::EBADF | libc::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_row_to_change_the_mode() {
        let mut mode = Mode::COPY;
        for count in [LARGE, LARGE - 1, LARGE] {
            mode.copied(count);
            assert!(matches!(mode, Mode::Copy { .. }));
        }
        mode.copied(LARGE);
        assert_eq!(mode, Mode::Splice { small: 0 });
        for count in [1, 1, SMALL, 1, 1] {
            mode.spliced(count);
            assert!(matches!(mode, Mode::Splice { .. }));
        }
        mode.spliced(1);
        assert_eq!(mode, Mode::COPY);
        let mut refused = Mode::CopyForGood;
        (0..9).for_each(|_| refused.copied(LARGE));
        assert_eq!(refused, Mode::CopyForGood);
    }
}
