//! One direction of a connection, as it is or with faults made on purpose: the same face for `Relay`.

use std::task::Context;

use super::{
    Lane,
    direction::{Break, Direction, Passed},
    inject::Injected,
};
use crate::net::stream::Stream;

/// One direction of a connection.
#[derive(Debug)]
pub(super) enum Way {
    /// Bytes pass as they come.
    Plain(Direction),
    /// Late, slow, or only so many.
    Injected(Box<Injected>),
}

impl Way {
    /// From one of the relay's ends to another.
    pub(super) fn new(from: u8, to: u8, lane: Lane) -> Self {
        match lane.faults.clone() {
            None => Self::Plain(Direction::new(from, to, lane)),
            Some(faults) => Self::Injected(Box::new(Injected::new(from, to, lane, faults))),
        }
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, ends: &[Stream], passes_end: bool) -> Option<Break> {
        match self {
            Self::Plain(direction) => direction.poll(cx, ends, passes_end),
            Self::Injected(injected) => injected.poll(cx, ends, passes_end),
        }
    }

    /// Whether nothing more will pass.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Plain(direction) => direction.is_over(),
            Self::Injected(injected) => injected.is_over(),
        }
    }

    /// Whether it is to be broken off on purpose, now.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Injected(injected) => injected.is_cut(),
        }
    }

    /// Whether bytes wait here.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Plain(direction) => direction.holds(),
            Self::Injected(injected) => injected.holds(),
        }
    }

    /// Which of the relay's ends it reads from.
    pub(super) fn from(&self) -> u8 {
        match self {
            Self::Plain(direction) => direction.from,
            Self::Injected(injected) => injected.from,
        }
    }

    /// Whether it waits for its source. If not, no read will tell that the source has broken off.
    pub(super) fn reads(&self) -> bool {
        match self {
            Self::Plain(direction) => direction.reads(),
            Self::Injected(injected) => injected.reads(),
        }
    }

    /// Reads once without news: urgent data stopped the last read.
    pub(super) fn unstick(&mut self) {
        match self {
            Self::Plain(direction) => direction.unstick(),
            Self::Injected(injected) => injected.is_stuck = true,
        }
    }

    /// What has reached the peer.
    pub(super) fn passed(&self) -> Passed {
        match self {
            Self::Plain(direction) => direction.passed(),
            Self::Injected(injected) => Passed { bytes: injected.bytes, spliced: 0 },
        }
    }

    /// Tells the counter what has passed since it was last told.
    pub(super) fn publish(&mut self) {
        match self {
            Self::Plain(direction) => direction.publish(),
            Self::Injected(injected) => injected.publish(),
        }
    }
}
