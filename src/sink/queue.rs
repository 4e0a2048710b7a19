//! Lines on their way to a file or pipe: a bounded queue and a thread of its own that writes it out. Whoever adds a line
//! never waits; what does not fit, or cannot be written, is dropped and counted, line by line.
//!
//! A line that an error cut in two is finished first thing when the file takes bytes again, so that no reader ever sees
//! half a record with another after it.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::meter::Counter;

/// So many bytes may wait.
const LIMIT: usize = 4 << 20;
/// A buffer larger than this is given back after use.
const KEPT: usize = 64 << 10;
/// The longest that a closing queue waits for its reader.
const FAREWELL: Duration = Duration::from_secs(1);
/// The pause before a descriptor in non-blocking mode is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// The near end of a queue; clones add to the same one.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    closed: bool,
    finished: bool,
}

impl Queue {
    /// Starts the thread that writes to `out`; lines that are lost are counted in `dropped`.
    pub fn start(out: Box<dyn Write + Send>, dropped: Counter) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), dropped: dropped.clone() });
        let theirs = shared.clone();
        let mut writer = Writer { out, rest: vec![], dropped };
        thread::Builder::new().name("netjobs-log".into()).spawn(move || writer.run(&theirs))?;
        Ok(Self(shared))
    }

    /// Adds a line, which has no line break in it, and sees to it that it is written.
    pub fn push(&self, line: &str) {
        self.add(line);
        self.send();
    }

    /// Adds a line that may wait for others until `send`.
    pub fn add(&self, line: &str) {
        let mut state = self.0.lock();
        let length = state.waiting.len();
        if state.closed || (length > 0 && length + line.len() >= LIMIT) {
            self.0.dropped.inc();
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        state.waiting.push(b'\n');
    }

    /// Has what was added written.
    pub fn send(&self) {
        if !self.0.lock().waiting.is_empty() {
            self.0.changed.notify_all();
        }
    }

    /// Takes no more lines and waits for a second at most until those that wait are written.
    pub fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.changed.notify_all();
        let waited = self.0.changed.wait_timeout_while(state, FAREWELL, |state| !state.finished);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.0.dropped.add(lines(&state.waiting));
        state.waiting.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and swaps them into `batch`; false when the queue is closed and empty.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let waits = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, batch);
        !batch.is_empty()
    }

    fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }
}

struct Writer {
    out: Box<dyn Write + Send>,
    /// The end of a line whose beginning is written.
    rest: Vec<u8>,
    dropped: Counter,
}

impl Writer {
    fn run(&mut self, shared: &Shared) {
        let mut batch = Vec::new();
        while shared.next(&mut batch) {
            self.write(&batch);
            batch.clear();
            batch.shrink_to(KEPT);
        }
        if !self.rest.is_empty() {
            self.dropped.inc();
        }
        shared.finish();
    }

    fn write(&mut self, batch: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        let done = self.write_some(&rest);
        if done < rest.len() {
            self.rest = rest[done..].to_vec();
            self.dropped.add(lines(batch));
            return;
        }
        let done = self.write_some(batch);
        let left = &batch[done..];
        let cut_inside = done > 0 && batch[done - 1] != b'\n';
        if cut_inside && let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            self.rest = left[..=end].to_vec();
            self.dropped.add(lines(&left[end + 1..]));
        } else {
            self.dropped.add(lines(left));
        }
    }

    /// Writes until all is written or an error says that no more can be; how many bytes went.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match self.out.write(&bytes[done..]) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
                Err(_) => break,
            }
        }
        done
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        io::{Read, pipe},
        sync::mpsc,
    };

    use super::*;
    use crate::sink::testing::Paper;

    /// Takes so many bytes, then fails as often as asked, and so on.
    struct Failing {
        paper: Paper,
        script: VecDeque<Result<usize, ErrorKind>>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.script.pop_front() {
                Some(Ok(count)) => {
                    let count = count.min(bytes.len());
                    self.paper.writer().write_all(&bytes[..count]).map(|()| count)
                }
                Some(Err(kind)) => Err(kind.into()),
                None => self.paper.writer().write_all(bytes).map(|()| bytes.len()),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn failing(script: &[Result<usize, ErrorKind>]) -> (Writer, Paper, Counter) {
        let (paper, dropped) = (Paper::default(), Counter::default());
        let out = Box::new(Failing { paper: paper.clone(), script: script.iter().copied().collect() });
        (Writer { out, rest: vec![], dropped: dropped.clone() }, paper, dropped)
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (paper, dropped) = (Paper::default(), Counter::default());
        let queue = Queue::start(paper.writer(), dropped.clone()).unwrap();
        for number in 0..1000 {
            queue.push(&number.to_string());
        }
        queue.close();
        let wanted: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(paper.text(), wanted.join("\n") + "\n");
        queue.push("too late");
        assert_eq!(dropped.value(), 1);
    }

    #[test]
    fn a_line_cut_by_a_full_disk_is_finished_first_when_there_is_room_again() {
        let full = Err(ErrorKind::StorageFull);
        let (mut writer, paper, dropped) = failing(&[Ok(6), full, full]);
        writer.write(b"one\ntwo\nthree\n");
        writer.write(b"four\n");
        writer.write(b"five\n");
        assert_eq!(paper.text(), "one\ntwo\nfive\n");
        assert_eq!(dropped.value(), 2, "`three` and `four`");
    }

    #[test]
    fn a_write_that_is_interrupted_or_would_block_loses_nothing() {
        let (mut writer, paper, dropped) =
            failing(&[Err(ErrorKind::Interrupted), Ok(1), Err(ErrorKind::WouldBlock), Ok(2)]);
        writer.write(b"one\ntwo\n");
        assert_eq!((paper.text().as_str(), dropped.value()), ("one\ntwo\n", 0));
    }

    #[test]
    fn a_closed_pipe_costs_each_line_once() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let dropped = Counter::default();
        let queue = Queue::start(Box::new(writer), dropped.clone()).unwrap();
        for _ in 0..100 {
            queue.push("nobody reads this");
        }
        queue.close();
        assert_eq!(dropped.value(), 100);
    }

    #[test]
    fn a_reader_that_stops_keeps_nobody_waiting_and_every_drop_is_counted() {
        let (mut reader, writer) = pipe().unwrap();
        let dropped = Counter::default();
        let queue = Queue::start(Box::new(writer), dropped.clone()).unwrap();
        let line = "x".repeat(1023);
        let count = 3 * LIMIT as u64 / 1024;
        for _ in 0..count {
            queue.push(&line);
        }
        assert!(dropped.value() > 0, "the queue has a limit");
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            sender.send(text).unwrap();
        });
        queue.close();
        let text = receiver.recv().unwrap();
        thread.join().unwrap();
        assert!(text.lines().all(|line| line.len() == 1023));
        assert_eq!(text.lines().count() as u64 + dropped.value(), count);
    }
}
