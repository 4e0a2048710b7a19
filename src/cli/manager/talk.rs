//! The talk with the service manager: what is said when, and what waits for room.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::{AGAIN, Address, Manager, Word};
use crate::{cli::out, run::Control, sink::history::History};

/// How long services that do not get ready hold up the word that all is well.
const START: Duration = Duration::from_secs(10);
/// The engine comes round once a second; when it has not for this long, it does not turn.
const TURN: Duration = Duration::from_secs(3);
/// Between two words on how the jobs stand.
const STATUS: Duration = Duration::from_secs(1);
/// What may wait for room; beyond it the manager is told no more of reloads.
const WAITING: usize = 64;
/// Room that is kept for the word that a reload is over, and for the word that the runner stops: a manager that is told of
/// a beginning alone would wait for ever.
const READY_ROOM: usize = 2;
const STOPPING_ROOM: usize = 1;
/// What the manager was told last of the whole runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Stopping,
}

/// The talk with the manager.
pub(super) struct Talk {
    pub(super) manager: Manager,
    history: History,
    control: Control,
    /// What found no room yet.
    waiting: VecDeque<String>,
    /// When the services began to start.
    started: Option<Instant>,
    phase: Phase,
    status: String,
    next_status: Instant,
    next_sign: Option<Instant>,
    /// The engine's count, and when it was last seen to change.
    turned: (u64, Instant),
    /// Whether it was said that nobody listens, and that the watchdog is left alone.
    is_deaf: bool,
    is_withheld: bool,
}

impl Talk {
    pub(super) fn new(manager: Manager, history: History, control: Control) -> Self {
        let now = Instant::now();
        Self {
            next_sign: manager.watchdog.map(|_| now),
            turned: (control.turns(), now),
            manager,
            history,
            control,
            waiting: VecDeque::new(),
            started: None,
            phase: Phase::Starting,
            status: String::new(),
            next_status: now,
            is_deaf: false,
            is_withheld: false,
        }
    }

    /// Tells what there is to tell; returns when there is more at the latest.
    pub(super) fn turn(&mut self) -> Instant {
        let now = Instant::now();
        self.hear(now);
        self.sign(now);
        self.say_status(now);
        self.send();
        let bound = self.started.filter(|_| self.phase == Phase::Starting).map(|started| started + START);
        let again = (!self.waiting.is_empty()).then(|| now + AGAIN);
        [self.next_sign, bound, again].into_iter().flatten().fold(now + STATUS, Instant::min)
    }

    /// Says what was heard and not said; whether nothing is left.
    pub(super) fn said_all(&mut self) -> bool {
        self.hear(Instant::now());
        self.send();
        self.waiting.is_empty()
    }

    fn hear(&mut self, now: Instant) {
        let (settled, words) = {
            let mut heard = self.manager.news.lock();
            (heard.starting.as_ref().map(BTreeSet::is_empty), std::mem::take(&mut heard.words))
        };
        if let Some(settled) = settled {
            let started = *self.started.get_or_insert(now);
            if self.phase == Phase::Starting && (settled || now >= started + START) {
                self.phase = Phase::Ready;
                self.tell("READY=1");
            }
        }
        for word in words {
            match word {
                Word::Stopping if self.phase != Phase::Stopping => {
                    self.phase = Phase::Stopping;
                    let word = "STOPPING=1\nSTATUS=stopping: connections and checks come to their end";
                    self.put_within(WAITING, word.into());
                }
                // Before it is ready, the manager waits for nothing else.
                Word::Reading if self.phase == Phase::Ready => {
                    let micros = clock_gettime(ClockId::CLOCK_MONOTONIC)
                        .map_or(0, |now| Duration::from(now).as_micros());
                    self.put(format!(
                        "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the job files anew"
                    ));
                }
                Word::Read if self.phase == Phase::Ready => self.tell("READY=1"),
                _ => {}
            }
        }
    }

    /// Tells it together with how the jobs stand.
    fn tell(&mut self, word: &str) {
        self.status = self.sentence();
        self.put_within(WAITING - STOPPING_ROOM, format!("{word}\nSTATUS={}", self.status));
    }

    fn say_status(&mut self, now: Instant) {
        if self.phase != Phase::Ready || now < self.next_status || !self.waiting.is_empty() {
            return;
        }
        self.next_status = now + STATUS;
        let sentence = self.sentence();
        if sentence != self.status {
            self.put(format!("STATUS={sentence}"));
            self.status = sentence;
        }
    }

    /// How the jobs stand, in one line.
    fn sentence(&self) -> String {
        let (all, ill) = self.history.standing();
        let jobs = out::plural(all, "job");
        let failing = match &ill[..] {
            [] => "none failing".to_owned(),
            [one] => format!("1 failing: {one}"),
            [first, ..] => format!("{} failing, such as {first}", ill.len()),
        };
        let reload = if self.manager.news.lock().rejected { "; the last reload was rejected" } else { "" };
        format!("{jobs}, {failing}{reload}")
    }

    /// Gives the sign of life, unless there is a reason not to.
    fn sign(&mut self, now: Instant) {
        let turns = self.control.turns();
        if turns != self.turned.0 {
            self.turned = (turns, now);
        }
        let Some((due, period)) = self.next_sign.zip(self.manager.watchdog).filter(|(due, _)| *due <= now)
        else {
            return;
        };
        if now - due > STATUS {
            // The process was stopped, and the engine has had no more time than this.
            self.turned.1 = now;
        }
        self.next_sign = Some((due + period).max(now + period / 2));
        let why = if now - self.turned.1 > TURN {
            Some("the engine does not turn".to_owned())
        } else {
            self.history.wedged().first().map(|job| format!("job `{job}` is wedged"))
        };
        if let Some(why) = &why
            && !self.is_withheld
        {
            tracing::error!("{why}: the service manager's watchdog gets no sign of life");
        }
        self.is_withheld = why.is_some();
        if why.is_none() && self.waiting.is_empty() {
            self.put("WATCHDOG=1".into());
        }
    }

    fn put(&mut self, message: String) {
        self.put_within(WAITING - READY_ROOM, message);
    }

    fn put_within(&mut self, room: usize, message: String) {
        if self.waiting.len() < room {
            self.waiting.push_back(message);
        }
    }

    fn send(&mut self) {
        let Address { socket, to } = &self.manager.address;
        while let Some(message) = self.waiting.front() {
            match socket.send_to_addr(message.as_bytes(), to) {
                Err(error) if has_no_room(&error) => return,
                Err(error) if !self.is_deaf => {
                    self.is_deaf = true;
                    tracing::warn!("tell the service manager at NOTIFY_SOCKET: {error}; the runner goes on");
                }
                Ok(_) => self.is_deaf = false,
                Err(_) => {}
            }
            self.waiting.pop_front();
        }
    }
}

fn has_no_room(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}
