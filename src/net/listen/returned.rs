//! Clients that a run accepted and could not serve before it was to stop: another run at the same address takes them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::Listener;
use crate::net::stream::Accepted;

/// Those of one listening socket; who is still here when it closes is broken off.
#[derive(Debug, Default)]
pub(super) struct Returned {
    clients: Mutex<VecDeque<Accepted>>,
    woken: Notify,
}

impl Listener {
    /// Hands a client on to the other run that holds this socket; where there is none, it is given back.
    pub fn hand_on(&self, client: Accepted) -> Option<Accepted> {
        if Arc::strong_count(&self.held) < 2 {
            return Some(client);
        }
        let returned = &self.held.returned;
        returned.clients.lock().unwrap_or_else(PoisonError::into_inner).push_back(client);
        returned.woken.notify_one();
        None
    }

    /// The next client that another run has handed on. Nobody is lost by dropping this.
    pub async fn handed_on(&self) -> Accepted {
        let returned = &self.held.returned;
        loop {
            let client = returned.clients.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match client {
                Some(client) => return client,
                None => returned.woken.notified().await,
            }
        }
    }
}
