//! Counters by name.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// What came of the load, by name; shared by all of a thread.
#[derive(Clone, Default)]
pub(crate) struct Tally(Rc<RefCell<BTreeMap<String, u64>>>);

impl Tally {
    pub(crate) fn add(&self, name: &str, count: u64) {
        let mut counts = self.0.borrow_mut();
        if let Some(known) = counts.get_mut(name) {
            *known += count;
        } else {
            counts.insert(name.to_owned(), count);
        }
    }

    pub(crate) fn sub(&self, name: &str) {
        if let Some(known) = self.0.borrow_mut().get_mut(name) {
            *known = known.saturating_sub(1);
        }
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.borrow().get(name).copied().unwrap_or_default()
    }

    /// One line of JSON.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(&*self.0.borrow()).unwrap_or_default()
    }
}
