//! A sink on a thread of its own, for output whose reader may stop reading: a pager, a terminal held by Ctrl-S, a pipe. The
//! work goes on meanwhile; what then finds no room is dropped and counted. The end waits for the reader, with a bound.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::Sink;
use crate::event::Event;

/// Events that may wait for the reader.
const WAITING: usize = 65_536;

/// The near end: hands each event over and never waits.
#[derive(Debug)]
pub struct Aside {
    events: Option<mpsc::Sender<Event>>,
    made: Arc<AtomicU64>,
}

/// The way to know when all is written.
#[derive(Debug)]
pub struct Reader {
    made: Arc<AtomicU64>,
    written: watch::Receiver<u64>,
}

impl Aside {
    /// Starts the thread, which owns the sink until it is closed.
    pub fn start(mut sink: Box<dyn Sink>) -> io::Result<(Self, Reader)> {
        let (events, mut waiting) = mpsc::channel(WAITING);
        let (count, written) = watch::channel(0);
        thread::Builder::new().name("netjobs-out".into()).spawn(move || {
            while let Some(event) = waiting.blocking_recv() {
                sink.event(&event);
                if waiting.is_empty() {
                    sink.told();
                }
                count.send_modify(|count| *count += 1);
            }
            sink.close();
        })?;
        let made = Arc::new(AtomicU64::new(0));
        Ok((Self { events: Some(events), made: made.clone() }, Reader { made, written }))
    }
}

impl Sink for Aside {
    fn event(&mut self, event: &Event) {
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(events) = &self.events {
            // What finds no room is never written, which the reader's end counts.
            let _ = events.try_send(event.clone());
        }
    }

    fn is_behind(&self) -> bool {
        self.events.as_ref().is_some_and(|events| events.capacity() < WAITING * 3 / 4)
    }

    fn close(&mut self) {
        self.events = None;
    }
}

impl Reader {
    /// Waits, once the sink is closed, until all is written or nothing was for so long; gives how many events never were.
    pub async fn finish(mut self, patience: Duration) -> u64 {
        while let Ok(Ok(())) = timeout(patience, self.written.changed()).await {}
        self.made.load(Ordering::Relaxed) - *self.written.borrow()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    /// Writes nothing before it is let.
    struct Held(Receiver<()>);

    impl Sink for Held {
        fn event(&mut self, _: &Event) {
            let _ = self.0.recv();
        }
    }

    fn tell(count: usize) -> (std::sync::mpsc::SyncSender<()>, Reader) {
        let (release, held) = sync_channel(count);
        let (mut aside, reader) = Aside::start(Box::new(Held(held))).unwrap();
        for _ in 0..count {
            aside.event(&Event::Stopping);
        }
        aside.close();
        (release, reader)
    }

    #[tokio::test]
    async fn the_end_waits_for_a_reader_that_reads() {
        let (release, reader) = tell(3);
        for _ in 0..3 {
            release.send(()).unwrap();
        }
        assert_eq!(reader.finish(Duration::from_mins(1)).await, 0);
    }

    #[tokio::test]
    async fn one_that_stops_costs_what_it_did_not_take_and_no_more_time() {
        let (release, mut reader) = tell(WAITING + 10);
        for _ in 0..5 {
            release.send(()).unwrap();
        }
        reader.written.wait_for(|written| *written == 5).await.unwrap();
        assert_eq!(reader.finish(Duration::from_millis(10)).await, WAITING as u64 + 5);
        drop(release);
    }
}
