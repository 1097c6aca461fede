//! The jobs that one worker runs right now.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// A shared set of job ids; an id leaves it when its [`Guard`] drops.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    ids: Arc<Mutex<HashSet<String>>>,
    finished: watch::Sender<u64>,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self {
            ids: Arc::default(),
            finished: watch::Sender::new(0),
        }
    }

    pub(crate) fn insert(&self, id: String) {
        self.lock().insert(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    /// How many jobs have ended, now and whenever it changes.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    /// Ends the job when dropped, however its run ends.
    pub(crate) fn guard(&self, id: String) -> Guard {
        Guard {
            running: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Running::guard`].
#[derive(Debug)]
pub(crate) struct Guard {
    running: Running,
    id: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
        self.running.finished.send_modify(|count| *count += 1);
    }
}
