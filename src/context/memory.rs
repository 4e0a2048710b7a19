//! What a job keeps between its runs and, with `--state`, between processes; and how far a run has come, for a later
//! process to go on from.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::state::{Cell, Place, State};

/// What a job keeps between its runs; without a state it goes with the job.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    cell: Cell,
    files: Option<Files>,
}

#[derive(Clone, Debug)]
struct Files {
    memory: Place,
    checkpoint: Place,
    /// Whether a run has the checkpoint.
    is_held: Arc<AtomicBool>,
}

/// Where a run saves how far it has come. It belongs to one run of a job at a time.
#[derive(Debug)]
pub struct Checkpoint {
    place: Place,
    is_held: Arc<AtomicBool>,
    /// Whether there may be a file.
    is_there: AtomicBool,
}

impl Memory {
    /// The memory of a job that the state knows, or will know.
    pub fn of(state: Option<&State>, job: &str, kind: &'static str) -> Self {
        let Some(state) = state else { return Self::default() };
        let (cell, memory) = state.memory(job, kind);
        let checkpoint = state.checkpoint(job, kind);
        Self { cell, files: Some(Files { memory, checkpoint, is_held: Arc::default() }) }
    }

    pub(super) fn recall<T: DeserializeOwned>(&self) -> Option<T> {
        let memory = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        T::deserialize(memory.as_ref()?).ok()
    }

    pub(super) fn keep<T: Serialize>(&self, value: &T) {
        let Ok(value) = serde_json::to_value(value) else { return };
        let mut memory = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.as_ref() == Some(&value) {
            return;
        }
        if let Some(files) = &self.files {
            files.memory.save(value.clone());
        }
        *memory = Some(value);
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let Files { checkpoint, is_held, .. } = self.files.as_ref()?;
        let is_free = !is_held.swap(true, Ordering::AcqRel);
        let is_there = AtomicBool::new(false);
        is_free.then(|| Checkpoint { place: checkpoint.clone(), is_held: is_held.clone(), is_there })
    }
}

impl Checkpoint {
    /// What the process before this one saved, and how long ago; `None` where there is nothing, or where it does not read.
    /// It is given once.
    pub fn take<T: DeserializeOwned>(&self) -> Option<(T, Duration)> {
        let (value, age) = self.place.take()?;
        self.is_there.store(true, Ordering::Relaxed);
        Some((T::deserialize(value).ok()?, age))
    }

    /// Saves how far the run has come; never waits.
    pub fn save<T: Serialize>(&self, value: &T) {
        if let Ok(value) = serde_json::to_value(value) {
            self.is_there.store(true, Ordering::Relaxed);
            self.place.save(value);
        }
    }

    /// The run is done: there is nothing left to go on with.
    pub fn remove(&self) {
        if self.is_there.swap(false, Ordering::Relaxed) {
            self.place.remove();
        }
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.is_held.store(false, Ordering::Release);
    }
}
