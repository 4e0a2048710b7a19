//! Lines that come out whole, files that are renamed or full, readers that stop; each drop is counted once.

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
    (Writer { out, file: None, rest: vec![], dropped: dropped.clone() }, paper, dropped)
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
fn a_file_that_was_renamed_is_left_and_one_that_was_not_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let dropped = Counter::default();
    let queue = Queue::start_file(open(&path).unwrap(), path.clone(), dropped.clone()).unwrap();
    queue.push("one");
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    queue.reopen();
    queue.push("two");
    while text(&path) != "one\ntwo\n" {
        thread::yield_now();
    }
    std::fs::rename(&path, &old).unwrap();
    queue.reopen();
    queue.push("three");
    queue.close();
    assert_eq!((text(&old).as_str(), text(&path).as_str()), ("one\ntwo\n", "three\n"));
    assert_eq!(dropped.value(), 0);
}

#[test]
fn where_nothing_can_be_opened_the_old_file_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/log");
    std::fs::create_dir(folder.path().join("below")).unwrap();
    let queue = Queue::start_file(open(&path).unwrap(), path, Counter::default()).unwrap();
    std::fs::rename(folder.path().join("below"), folder.path().join("moved")).unwrap();
    queue.reopen();
    queue.push("one");
    queue.close();
    assert_eq!(std::fs::read_to_string(folder.path().join("moved/log")).unwrap(), "one\n");
}

#[test]
fn a_pipe_that_nobody_reads_is_not_waited_for_and_one_with_a_reader_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (path, pipe) = (folder.path().join("log"), folder.path().join("pipe"));
    let queue = Queue::start_file(open(&path).unwrap(), path.clone(), Counter::default()).unwrap();
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(open(&pipe).unwrap_err().to_string(), "nobody reads from this pipe");
    let old = folder.path().join("old");
    std::fs::rename(&path, &old).unwrap();
    std::fs::rename(&pipe, &path).unwrap();
    queue.reopen();
    queue.push("one");
    while std::fs::read_to_string(&old).unwrap() != "one\n" {
        thread::yield_now();
    }
    let opened = thread::spawn({
        let path = path.clone();
        move || File::open(path)
    });
    // Its reader is there once it can be opened; this end keeps both.
    let writer = loop {
        match open(&path) {
            Ok(writer) => break writer,
            Err(_) => thread::yield_now(),
        }
    };
    let mut reader = opened.join().unwrap().unwrap();
    queue.reopen();
    queue.push("two");
    queue.close();
    drop((queue, writer));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "two\n");
}

#[test]
fn a_record_beyond_the_limit_is_written_whole_also_behind_others() {
    let (mut reader, writer) = pipe().unwrap();
    let dropped = Counter::default();
    let queue = Queue::start(Box::new(writer), dropped.clone()).unwrap();
    let giant = "x".repeat(2 * LIMIT);
    for line in ["one", "two", &giant] {
        queue.push(line);
    }
    queue.push("three");
    queue.push("four");
    let thread = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    queue.close();
    drop(queue);
    let text = thread.join().unwrap().unwrap();
    assert!(text.lines().any(|line| line.len() == giant.len()));
    assert_eq!(text.lines().count() as u64 + dropped.value(), 5);
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
