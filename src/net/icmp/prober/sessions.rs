//! The sessions of a prober: what each waits to send, what it has on its way, and what it is to be told.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc::{self, error::TrySendError};

use super::super::{
    Counts, Event, Options, Probe, What, ancillary,
    drops::Resends,
    flights::{Known, List},
    mark::Key,
    pace::Pacer,
};

/// A session as the thread knows it.
pub(super) struct State {
    pub(super) key: Key,
    pub(super) options: Options,
    /// The control messages of each packet.
    pub(super) control: Vec<u8>,
    pub(super) timeout: u64,
    pub(super) counts: Arc<Counts>,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) pacer: Pacer,
    pub(super) list: List,
    pub(super) in_flight: usize,
    pub(super) resends: Resends,
    /// When the first of its probes may be overdue, as the prober's heap has it.
    pub(super) alarm: Option<u64>,
    /// Whether it waits for its turn to send.
    pub(super) is_listed: bool,
    events: mpsc::Sender<Vec<Event>>,
    /// Events that have not been handed over.
    pending: Vec<Event>,
    extras: usize,
    /// When its events go, or are tried again.
    due: u64,
}

/// A probe that waits to be sent.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) probe: Probe,
    /// How often it was sent before, and lost by this machine.
    pub(super) resends: u8,
}

/// What a session asks for.
#[derive(Debug)]
pub(in super::super) enum Command {
    Open { id: u64, options: Options, events: mpsc::Sender<Vec<Event>>, counts: Arc<Counts> },
    Probes { id: u64, probes: Vec<Probe> },
}

/// All sessions, by the number that their marks carry.
#[derive(Default)]
pub(super) struct Sessions {
    places: Vec<Option<Box<State>>>,
    names: HashMap<u64, u16>,
    free: VecDeque<u16>,
    opened: u64,
    /// Those with events that have not been handed over.
    told: Vec<u16>,
}

/// Answers beyond the first that a session is told of at a time; a flood of them is cut here.
const MOST_EXTRAS: usize = 4096;
/// Events that are handed over at once; fewer wait a little for more, so that nobody is woken for each of thousands.
const MANY: usize = 512;
const WAIT: u64 = 10_000_000;
/// A session with no more probes than this waits for these very events.
const FEW: usize = 8;
/// When events are tried again that could not be handed over.
const AGAIN: u64 = 5_000_000;

impl Sessions {
    /// Opens a session. Beyond 65,536 at a time its caller finds the prober gone.
    pub(super) fn open(&mut self, v6: bool, prober: &Key, command: Command, now: u64) {
        let Command::Open { id, options, events, counts } = command else { return };
        let fresh = || u16::try_from(self.places.len()).ok();
        let Some(place) = self.free.pop_front().or_else(fresh) else { return };
        self.opened += 1;
        let state = State {
            key: prober.derive(self.opened),
            control: ancillary::control(v6, &options),
            timeout: u64::try_from(options.timeout.as_nanos()).unwrap_or(u64::MAX),
            pacer: Pacer::new(options.pace, now),
            resends: Resends::new(options.resends.into()),
            options,
            events,
            counts,
            pending: vec![],
            queue: VecDeque::new(),
            list: List::default(),
            extras: 0,
            in_flight: 0,
            alarm: None,
            is_listed: false,
            due: 0,
        };
        let at = usize::from(place);
        self.places.resize_with(self.places.len().max(at + 1), || None);
        self.places[at] = Some(Box::new(state));
        self.names.insert(id, place);
    }

    /// Forgets a session; gives what it was.
    pub(super) fn close(&mut self, id: u64) -> Option<(u16, Box<State>)> {
        let place = self.names.remove(&id)?;
        let state = self.places.get_mut(usize::from(place))?.take()?;
        self.free.push_back(place);
        self.told.retain(|told| *told != place);
        Some((place, state))
    }

    /// The session with this number.
    pub(super) fn get(&mut self, place: u16) -> Option<&mut State> {
        self.places.get_mut(usize::from(place))?.as_deref_mut()
    }

    /// The session that its caller calls so.
    pub(super) fn named(&mut self, id: u64) -> Option<(u16, &mut State)> {
        let place = *self.names.get(&id)?;
        self.get(place).map(|state| (place, state))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &State> {
        self.places.iter().flatten().map(Box::as_ref)
    }

    /// Notes the end of a probe that was on its way.
    pub(super) fn end(&mut self, known: Known, what: What, now: u64) {
        if let Some(state) = self.get(known.session) {
            state.in_flight -= 1;
            self.tell(known.session, known.index, what, now);
        }
    }

    /// Notes what a session is to be told.
    pub(super) fn tell(&mut self, place: u16, index: u32, what: What, now: u64) {
        let Some(state) = self.get(place) else { return };
        if what == What::Extra {
            state.extras += 1;
            if state.extras > MOST_EXTRAS {
                return;
            }
        }
        let first = state.pending.is_empty();
        state.pending.push(Event { index, what });
        if first {
            state.due = now + WAIT;
            self.told.push(place);
        }
    }

    /// Hands events over; when to do so again.
    pub(super) fn deliver(&mut self, now: u64) -> Option<u64> {
        let (places, mut next) = (&mut self.places, None);
        self.told.retain(|place| {
            let Some(state) = places.get_mut(usize::from(*place)).and_then(Option::as_deref_mut) else {
                return false;
            };
            let kept = state.deliver(now);
            if kept {
                next = Some(next.map_or(state.due, |next: u64| next.min(state.due)));
            }
            kept
        });
        next
    }
}

impl State {
    /// Hands events over where it is time; whether some are left.
    fn deliver(&mut self, now: u64) -> bool {
        let few = self.in_flight + self.queue.len() <= FEW;
        if !few && self.pending.len() < MANY && now < self.due {
            return true;
        }
        match self.events.try_send(std::mem::take(&mut self.pending)) {
            Ok(()) => self.extras = 0,
            Err(TrySendError::Full(pending)) => {
                self.pending = pending;
                self.due = now + AGAIN;
                return true;
            }
            // It will be closed.
            Err(TrySendError::Closed(_)) => {}
        }
        false
    }

    /// When its oldest probe is overdue that was sent then.
    pub(super) fn deadline(&self, sent: u64) -> u64 {
        sent.saturating_add(self.timeout).saturating_add(1)
    }
}
