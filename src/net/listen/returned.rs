//! Clients that a run accepted and could not serve before it was to stop: another run at the same address takes them.
//!
//! The socket itself says nothing of runs: the pool may keep it while nobody accepts, see `handed`.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use tokio::sync::Notify;

use super::Listener;
use crate::net::stream::Accepted;

/// Those of one listening socket; who is still here when nobody accepts from it any more is broken off.
#[derive(Debug, Default)]
pub(super) struct Returned {
    waiting: Mutex<Waiting>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    clients: VecDeque<Accepted>,
    /// Listeners whose run accepts, or is about to.
    takers: usize,
}

/// While this lives, a run accepts from its listener, also clients of others.
#[derive(Debug)]
pub struct Serving<'a>(&'a Listener);

impl Returned {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Counts a listener in or out, once.
    fn count(&mut self, listener: &Listener, takes: bool) {
        if listener.is_taker.swap(takes, Ordering::Relaxed) == takes {
            return;
        }
        if takes {
            self.takers += 1;
        } else {
            self.takers -= 1;
            if self.takers == 0 {
                self.clients.clear();
            }
        }
    }
}

impl Listener {
    /// Whether clients may be handed to its run, which accepts or is about to.
    pub(super) fn takes(&self, takes: bool) {
        self.held.returned.waiting().count(self, takes);
    }

    /// The run accepts from now on; it stops with what this returns.
    pub fn serve(&self) -> Serving<'_> {
        self.takes(true);
        Serving(self)
    }

    /// Hands a client on to another run that accepts from this socket; where there is none, it is given back. The run that
    /// does so takes no more.
    pub fn hand_on(&self, client: Accepted) -> Option<Accepted> {
        let returned = &self.held.returned;
        let mut waiting = returned.waiting();
        waiting.count(self, false);
        if waiting.takers == 0 {
            return Some(client);
        }
        waiting.clients.push_back(client);
        drop(waiting);
        returned.woken.notify_one();
        None
    }

    /// The next client that another run has handed on. Nobody is lost by dropping this.
    pub async fn handed_on(&self) -> Accepted {
        let returned = &self.held.returned;
        loop {
            let client = returned.waiting().clients.pop_front();
            match client {
                Some(client) => return client,
                None => returned.woken.notified().await,
            }
        }
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.takes(false);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.takes(false);
    }
}
