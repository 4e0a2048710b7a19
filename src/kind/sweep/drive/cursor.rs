//! Where a sweep stands: in which pass, at which place of the order. With `--state` this is saved now and then, and a later
//! process goes on from there: it asks again who was being asked, and nobody who was found alive.

use std::{collections::HashSet, future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    super::{
        checkpoint::{Saved, Standing, identity},
        spec::Method,
    },
    Drive,
};
use crate::{context::Checkpoint, outcome::Notice};

/// Where a sweep stands.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The pass that goes on, counted from 0.
    pass: u32,
    /// The next place of the order.
    place: u32,
    /// Whom an earlier process was asking; they come first, the last one of the list foremost.
    again: Vec<u32>,
    /// How many hosts the pass has still to hear of, where an earlier process began it.
    left: Option<u64>,
}

/// Saves where the sweep stands.
#[derive(Debug)]
pub(super) struct Saver {
    file: Checkpoint,
    identity: u64,
    every: Duration,
    due: Instant,
}

/// How often it is saved, up to as many hosts; more take longer in proportion, so that the disk is not busier.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_UP_TO: u32 = 65_536;
/// Findings that are older say little of a host.
const LONGEST: Duration = Duration::from_hours(1);

impl Drive<'_> {
    /// Goes on where an earlier process was interrupted, if one was, and saves from here on.
    pub(in super::super) fn begin(&mut self, method: Method) {
        let Some(file) = self.cx.checkpoint() else { return };
        let identity = identity(&format!("{method} {} {}", self.sweep.passes.0, self.hosts.text()));
        let found =
            file.take::<Saved>().filter(|(saved, age)| saved.standing.identity == identity && *age < LONGEST);
        if let Some((saved, age)) = found
            && self.restore(&saved).is_some()
        {
            let message = format!(
                "goes on where it was interrupted {} s ago: {} % were done and {} hosts found alive",
                age.as_secs(),
                self.percent(),
                self.findings.alive()
            );
            self.cx.notice(Notice::Remark { message });
        }
        let every = EVERY * (self.hosts.count() / EVERY_UP_TO).max(1);
        self.saver = Some(Saver { file, identity, every, due: Instant::now() + every });
    }

    fn restore(&mut self, saved: &Saved) -> Option<()> {
        let count = self.hosts.count();
        let standing = saved.standing;
        let fits = standing.key.is_some() == self.key.is_some() && standing.place <= count;
        let (findings, asked) = saved.unpack(count).filter(|_| fits)?;
        self.set_order(standing.key);
        self.findings = findings;
        // In the order of the sweep, so that no network gets them all at once.
        let mut asked: HashSet<u32> = asked.into_iter().collect();
        let behind = (0..standing.place).rev().map(|place| self.order.get(place));
        let mut again: Vec<u32> = behind.filter(|index| asked.remove(index)).collect();
        again.extend(asked);
        // Whoever had not begun with a pass has still to hear of all.
        let left = (standing.place > 0).then_some(standing.left);
        self.cursor = Cursor { pass: standing.pass, place: standing.place, again, left };
        (self.packets, self.local_drops) = (standing.packets, standing.local_drops);
        Some(())
    }

    /// The end: an interrupted sweep can be gone on with, a finished one has nothing left to do.
    pub(in super::super) fn end(&mut self) {
        let is_overdue = self.cx.deadline().is_some_and(|deadline| deadline <= Instant::now());
        if !self.cx.stop().cancel.is_cancelled() || is_overdue {
            if let Some(saver) = self.saver.take() {
                saver.file.remove();
            }
        } else if self.saver.is_some() {
            self.save(0, 0);
            let percent = self.percent();
            let message = format!(
                "interrupted at {percent} %: a start with the same `--state` within an hour goes on from there"
            );
            self.cx.notice(Notice::Remark { message });
        }
    }

    fn percent(&self) -> u64 {
        let count = u64::from(self.hosts.count());
        let asked = self.findings.asked().count() + self.cursor.again.len();
        let pass = u64::from(self.cursor.place).saturating_sub(asked as u64);
        let done = u64::from(self.cursor.pass) * count + pass;
        (100 * done / (count * u64::from(self.sweep.passes.0)).max(1)).min(100)
    }

    /// Whether there is a pass to make.
    pub(super) fn has_pass(&self) -> bool {
        let is_cancelled = self.cx.stop().cancel.is_cancelled();
        !is_cancelled && self.cursor.pass < self.sweep.passes.0 && self.missing() > 0
    }

    /// The pass that goes on, the first of which is 1.
    pub(super) fn pass(&self) -> u32 {
        self.cursor.pass + 1
    }

    /// Begins a pass, or goes on with it.
    pub(super) fn begin_pass(&mut self) {
        self.findings.is_last_pass = self.pass() == self.sweep.passes.0;
        self.progress.total += self.cursor.left.take().unwrap_or_else(|| self.missing().into());
    }

    /// Everybody was asked and had the time to answer.
    pub(super) fn end_pass(&mut self) {
        self.cursor = Cursor { pass: self.cursor.pass + 1, ..Cursor::default() };
    }

    /// The next host to be asked in this pass; `None` where none is left.
    pub(super) fn peek(&mut self) -> Option<u32> {
        loop {
            let index = match self.cursor.again.last() {
                Some(index) => *index,
                None if self.cursor.place < self.hosts.count() => self.order.get(self.cursor.place),
                None => return None,
            };
            if !self.is_settled(index) {
                return Some(index);
            }
            self.advance();
        }
    }

    /// Notes that the host that `peek` gave is asked.
    pub(super) fn ask(&mut self, index: u32) {
        self.findings.ask(index);
        self.advance();
    }

    fn advance(&mut self) {
        if self.cursor.again.pop().is_none() {
            self.cursor.place += 1;
        }
    }

    /// When the next checkpoint is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.saver.as_ref().map(|saver| saver.due)
    }

    /// Saves where the sweep stands, if it is time. Packets and drops are those that are not in the sums yet.
    pub(super) fn save_if_due(&mut self, counted: impl FnOnce() -> (u64, u64)) {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            let (packets, local_drops) = counted();
            self.save(packets, local_drops);
        }
    }

    fn save(&mut self, packets: u64, local_drops: u64) {
        let Some(saver) = &mut self.saver else { return };
        saver.due = Instant::now() + saver.every;
        let standing = Standing {
            identity: saver.identity,
            key: self.key,
            pass: self.cursor.pass,
            place: self.cursor.place,
            left: self.cursor.left.unwrap_or(self.progress.total.saturating_sub(self.progress.done)),
            packets: self.packets + packets,
            local_drops: self.local_drops + local_drops,
        };
        let mut asked: Vec<u32> = self.findings.asked().chain(self.cursor.again.iter().copied()).collect();
        asked.sort_unstable();
        asked.dedup();
        saver.file.save(&Saved::new(standing, &self.findings, &asked));
    }
}

/// Waits until a checkpoint is due; for ever, where none is made.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
