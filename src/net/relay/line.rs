//! What a relay with faults is made of: a line in which bytes wait until they are due.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The most that waits in one direction, with what it takes to remember when it is due.
pub(super) const MOST: usize = 1 << 20;

/// Bytes on their way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: VecDeque<u8>,
    /// When how many of them are due; never earlier than those before.
    due: VecDeque<(Instant, usize)>,
}

impl Line {
    /// How many bytes may still come.
    pub(super) fn room(&self) -> usize {
        let held = self.bytes.len() + self.due.len() * size_of::<(Instant, usize)>();
        MOST.saturating_sub(held)
    }

    /// Adds bytes that are due then, not before those that are here.
    pub(super) fn push(&mut self, at: Instant, bytes: &[u8]) {
        self.bytes.extend(bytes);
        match self.due.back_mut() {
            Some((last, count)) if *last >= at => *count += bytes.len(),
            _ => self.due.push_back((at, bytes.len())),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The first moment at which something here is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    /// The last moment at which something here is due.
    pub(super) fn last(&self) -> Option<Instant> {
        self.due.back().map(|(at, _)| *at)
    }

    /// Bytes that are due by now; as many as lie together.
    pub(super) fn ready(&self, now: Instant) -> &[u8] {
        let count = self.due.front().map_or(0, |(at, count)| if *at <= now { *count } else { 0 });
        let front = self.bytes.as_slices().0;
        &front[..count.min(front.len())]
    }

    /// The first so many have gone.
    pub(super) fn taken(&mut self, count: usize) {
        self.bytes.drain(..count);
        if let Some((_, left)) = self.due.front_mut() {
            *left -= count;
            if *left == 0 {
                self.due.pop_front();
            }
        }
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_leave_in_order_when_they_are_due() {
        let (mut line, now) = (Line::default(), Instant::now());
        let later = now + Duration::from_millis(10);
        line.push(now, b"ab");
        line.push(later, b"cd");
        line.push(later, b"e");
        assert_eq!(line.ready(now), b"ab");
        line.taken(1);
        assert_eq!(line.ready(now), b"b");
        line.taken(1);
        assert!(line.ready(now).is_empty() && line.next() == Some(later));
        let mut rest = vec![];
        while !line.is_empty() {
            let count = line.ready(later).len();
            rest.extend_from_slice(line.ready(later));
            line.taken(count);
        }
        assert_eq!(rest, b"cde");
        assert_eq!(line.room(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_holds_is_bounded_also_where_it_comes_in_crumbs() {
        let (mut line, start, mut count) = (Line::default(), Instant::now(), 0);
        while line.room() > 0 {
            line.push(start + Duration::from_nanos(count), b"x");
            count += 1;
        }
        assert!((30_000..50_000).contains(&count), "{count}");
    }
}
