//! Who may change reservations next: orders of an organization stand in line here, without a
//! connection, and not in the database, with one each.
//!
//! Orders of a product that sells fast wait for one row. Those who wait in the database hold a
//! connection that others could use and a snapshot that keeps every old version of the row alive,
//! which all who come then walk along; and who is next is chance. So only a few of an organization
//! are let in at a time, in the order in which they came. That is for speed and fairness alone:
//! what keeps counters right are the locks of the database, between processes too.
//!
//! Whoever is in line was admitted already ([`crate::places`]), so a line is as long as it is, and
//! nobody is sent away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the connections of a process, an organization has one of so many.
const SHARE: u32 = 4;

/// The lines of all organizations; one a process.
#[derive(Debug)]
pub(crate) struct Turns {
    width: usize,
    lines: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Somebody in line, or let in; dropped, the next one is.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    organization_id: &'a str,
    line: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Of a process with so many connections to its database.
    pub(crate) fn new(connections: u32) -> Self {
        let width = usize::try_from(connections / SHARE).unwrap_or(usize::MAX);
        Self {
            width: width.clamp(1, Semaphore::MAX_PERMITS),
            lines: Mutex::default(),
        }
    }

    /// Waits in line; to be held until the transaction has ended.
    pub(super) async fn wait<'a>(&'a self, organization_id: &'a str) -> Turn<'a> {
        let mut turn = Turn {
            turns: self,
            organization_id,
            line: self.line(organization_id),
            permit: None,
        };
        // Nobody closes a line.
        turn.permit = Arc::clone(&turn.line).acquire_owned().await.ok();
        turn
    }

    fn line(&self, organization_id: &str) -> Arc<Semaphore> {
        let mut lines = self.lock();
        if let Some(line) = lines.get(organization_id) {
            return Arc::clone(line);
        }
        let line = Arc::new(Semaphore::new(self.width));
        lines.insert(organization_id.to_owned(), Arc::clone(&line));
        line
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.lock();
        // The permit has the line as well: without it, the map and this turn are all who know it.
        self.permit = None;
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(self.organization_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn so_many_are_let_in_and_who_came_first_is_next() {
        let turns = Turns::new(8);
        let [first, second] = [(); 2].map(|()| turns.wait("a").now_or_never().unwrap());
        let mut third = Box::pin(turns.wait("a"));
        let mut fourth = Box::pin(turns.wait("a"));
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        assert!(
            turns.wait("b").now_or_never().is_some(),
            "lines share nothing"
        );
        drop(second);
        assert!((&mut fourth).now_or_never().is_none(), "it is not its turn");
        let third = third.now_or_never().unwrap();
        drop((first, third));
        drop(fourth.now_or_never().unwrap());
        assert!(turns.lock().is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn whoever_goes_away_leaves_nothing_behind() {
        let turns = Turns::new(1);
        let first = turns.wait("a").now_or_never().unwrap();
        let mut second = Box::pin(turns.wait("a"));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        drop(second);
        assert!(turns.lock().is_empty());
        assert!(turns.wait("a").now_or_never().is_some());
    }
}
