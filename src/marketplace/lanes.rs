//! How many stores of each organization this process works on at the same time.
//!
//! The queue is first in, first out, and an organization may have hundreds of slow stores in it:
//! they would hold every worker, one run after the other, and others would wait behind all of
//! them. So an organization takes a worker only while it has at most three for each that is then
//! left free: of ten, one has seven, two have four each, and a newcomer finds one. Where there is
//! only one organization, all workers are its.
//!
//! Nobody waits in a worker. A job that finds no lane ends, and its store stands in line; whoever
//! leaves a lane takes on the next in line, organizations in turns. The last free worker is the
//! queue's, unless nothing of an organization runs. What stands in line is due still and may be
//! enqueued again two minutes later, so a tick brings it when this process ends, or when another
//! one has more room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use jobs::StoreId;
use tracing::debug;

use super::error::Error;
use super::queries::stores::owner;
use super::stores::shorten_slot;
use crate::App;

/// Workers of an organization for each that is left free.
const FOR_EACH_FREE: usize = 3;
/// How long what stands in line is not enqueued again: a long line would be written anew by each
/// tick.
const SLOT_IN_LINE: TimeDelta = TimeDelta::minutes(2);

/// The lanes of all organizations; one a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    workers: usize,
    under_way: usize,
    organizations: HashMap<String, Organization>,
    /// Those who have a line, in the order in which they are served.
    turns: VecDeque<String>,
    in_line: HashSet<StoreId>,
}

#[derive(Debug, Default)]
struct Organization {
    under_way: usize,
    line: VecDeque<StoreId>,
}

/// A worker that an organization has; dropped, it is free.
#[derive(Debug)]
pub(crate) struct Lane {
    lanes: Lanes,
    organization_id: String,
}

/// Takes a lane for the job of a store. None, if the store stands in line now: the job is done.
pub(crate) async fn enter_lane(app: &App, store_id: StoreId) -> Result<Option<Lane>, Error> {
    let mut tx = app.db.read().await?;
    let owner = owner(&mut tx, store_id).await?;
    tx.save().await?;
    // That a store is gone is for its run to say.
    let (organization_id, is_alone) = owner.unwrap_or_default();
    let lane = app.sync_lanes.enter(&organization_id, store_id, is_alone);
    if lane.is_none() {
        debug!(event = "waits_in_line", storeId = %store_id, organizationId = organization_id, "store {store_id} waits for a lane of its organization");
        shorten_slot(app, store_id, SLOT_IN_LINE).await?;
    }
    Ok(lane)
}

impl Lanes {
    /// Of so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            workers,
            under_way: 0,
            organizations: HashMap::new(),
            turns: VecDeque::new(),
            in_line: HashSet::new(),
        })))
    }

    /// Takes a lane, or puts the store in line. Whoever has none yet always gets one.
    fn enter(&self, organization_id: &str, store: StoreId, is_alone: bool) -> Option<Lane> {
        let mut state = self.lock();
        let held = state.held(organization_id);
        if is_alone || held == 0 || state.has_room(held) {
            let organization = state.organizations.entry(organization_id.to_owned());
            organization.or_default().under_way += 1;
            state.under_way += 1;
            return Some(self.lane(organization_id.to_owned()));
        }
        if state.in_line.insert(store) {
            let organization = state.organizations.entry(organization_id.to_owned());
            let line = &mut organization.or_default().line;
            line.push_back(store);
            if line.len() == 1 {
                state.turns.push_back(organization_id.to_owned());
            }
        }
        None
    }

    fn lane(&self, organization_id: String) -> Lane {
        Lane {
            lanes: self.clone(),
            organization_id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held(&self, organization_id: &str) -> usize {
        let organization = self.organizations.get(organization_id);
        organization.map_or(0, |it| it.under_way)
    }

    /// Whether somebody who has so many may have one more.
    fn has_room(&self, held: usize) -> bool {
        let left = self.workers.saturating_sub(self.under_way + 1);
        held < FOR_EACH_FREE * left
    }

    /// The next in line who may come in, who then has a lane.
    fn next(&mut self) -> Option<(StoreId, String)> {
        let may_enter = |it: &String| {
            let held = self.held(it);
            self.has_room(held) || (held == 0 && self.under_way < self.workers)
        };
        let at = self.turns.iter().position(may_enter)?;
        let organization_id = self.turns.remove(at)?;
        let organization = self.organizations.get_mut(&organization_id)?;
        let store = organization.line.pop_front()?;
        organization.under_way += 1;
        if !organization.line.is_empty() {
            self.turns.push_back(organization_id.clone());
        }
        self.under_way += 1;
        self.in_line.remove(&store);
        Some((store, organization_id))
    }
}

impl Lane {
    /// Frees the worker, who takes on the next in line, if there is one who may come in.
    pub(crate) fn leave(self) -> Option<(StoreId, Self)> {
        let lanes = self.lanes.clone();
        drop(self);
        let (store, organization_id) = lanes.lock().next()?;
        Some((store, lanes.lane(organization_id)))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = self.lanes.lock();
        state.under_way -= 1;
        let Some(organization) = state.organizations.get_mut(&self.organization_id) else {
            return;
        };
        organization.under_way -= 1;
        if organization.under_way == 0 && organization.line.is_empty() {
            state.organizations.remove(&self.organization_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn store(number: u128) -> StoreId {
        StoreId(Uuid::from_u128(number))
    }

    /// The jobs of an organization, one after the other; who got a lane.
    fn enter(lanes: &Lanes, organization_id: &str, stores: std::ops::Range<u128>) -> Vec<Lane> {
        let lane = |number| lanes.enter(organization_id, store(number), false);
        stores.filter_map(lane).collect()
    }

    fn is_as_new(lanes: &Lanes) -> bool {
        let state = lanes.lock();
        state.under_way == 0
            && state.organizations.is_empty()
            && state.turns.is_empty()
            && state.in_line.is_empty()
    }

    #[test]
    fn one_has_three_quarters_at_most_and_whoever_comes_next_finds_a_worker() {
        let most = [1, 2, 3, 4, 10, 16, 64].map(|workers| {
            let lanes = Lanes::new(workers);
            let held = enter(&lanes, "a", 0..100);
            assert!(!enter(&lanes, "b", 100..200).is_empty());
            held.len()
        });
        assert_eq!(most, [1, 1, 2, 3, 7, 12, 48]);
        let lanes = Lanes::new(10);
        let held = ["a", "b", "c"].map(|it| enter(&lanes, it, 0..100));
        assert_eq!(held.map(|it| it.len()), [7, 2, 1]);
    }

    #[test]
    fn whoever_has_nothing_running_gets_the_last_worker() {
        let lanes = Lanes::new(2);
        let mut own = enter(&lanes, "a", 0..3);
        let other = enter(&lanes, "b", 10..11);
        assert_eq!((own.len(), other.len()), (1, 1));
        let (next, lane) = own.remove(0).leave().unwrap();
        assert_eq!(next, store(1));
        assert_eq!(lane.leave().unwrap().0, store(2));
    }

    #[test]
    fn who_is_alone_has_all() {
        let lanes = Lanes::new(4);
        let lane = |number| lanes.enter("a", store(number), true);
        assert_eq!((0..4).filter_map(lane).count(), 4);
        let held: Vec<Lane> = (0..4).filter_map(lane).collect();
        assert_eq!(held.len(), 4);
        drop(held);
        assert!(is_as_new(&lanes));
    }

    #[test]
    fn whoever_leaves_takes_on_who_waits_and_all_come_in_once() {
        let lanes = Lanes::new(4);
        let mut held = enter(&lanes, "a", 0..10);
        // Enqueued again, they stand in line once.
        held.extend(enter(&lanes, "a", 3..10));
        assert_eq!(held.len(), 3);
        let mut came_in = Vec::new();
        while let Some(lane) = held.pop() {
            if let Some((store, next)) = lane.leave() {
                came_in.push(store);
                held.push(next);
            }
        }
        assert_eq!(came_in, (3..10).map(store).collect::<Vec<_>>());
        assert!(is_as_new(&lanes));
    }

    #[test]
    fn lines_have_turns_and_leave_the_last_worker_to_the_queue() {
        let lanes = Lanes::new(10);
        let mut a = enter(&lanes, "a", 0..100);
        let _b = enter(&lanes, "b", 100..200);
        let (next, b) = a.pop().unwrap().leave().unwrap();
        assert_eq!((next, &*b.organization_id), (store(102), "b"));
        // Both have more than three times what is left.
        assert!(a.pop().unwrap().leave().is_none());
        let (next, _) = a.pop().unwrap().leave().unwrap();
        assert_eq!(next, store(7));
    }
}
