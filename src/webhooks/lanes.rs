//! How many deliveries of this process are under way to each endpoint.
//!
//! A lane is entered or it is not: nobody waits for one, so a slow endpoint holds no worker that
//! others could use. Whoever leaves a lane is told when somebody was turned away meanwhile, and
//! looks for what the endpoint is still owed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::model::EndpointId;

/// Deliveries at a time to an endpoint that takes events in any order.
const WIDTH: usize = 8;

/// The lanes of all endpoints; one a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Lanes(Arc<Mutex<HashMap<EndpointId, Traffic>>>);

#[derive(Debug, Default)]
struct Traffic {
    under_way: usize,
    was_turned_away: bool,
}

/// A place in the lane of an endpoint; dropped, it is free.
#[derive(Debug)]
pub(super) struct Lane {
    lanes: Lanes,
    endpoint: EndpointId,
    is_free: bool,
}

/// Deliveries at a time to an endpoint.
pub(super) fn width(is_ordered: bool) -> usize {
    if is_ordered { 1 } else { WIDTH }
}

impl Lanes {
    /// Takes a place, if one is free.
    pub(super) fn enter(&self, endpoint: EndpointId, width: usize) -> Option<Lane> {
        let mut lanes = self.lock();
        let traffic = lanes.entry(endpoint).or_default();
        if traffic.under_way >= width {
            traffic.was_turned_away = true;
            return None;
        }
        traffic.under_way += 1;
        Some(Lane {
            lanes: self.clone(),
            endpoint,
            is_free: false,
        })
    }

    /// How many places are free.
    pub(super) fn free(&self, endpoint: EndpointId, width: usize) -> usize {
        let lanes = self.lock();
        let under_way = lanes.get(&endpoint).map_or(0, |traffic| traffic.under_way);
        width.saturating_sub(under_way)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Traffic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Frees the place; tells whether somebody was turned away since one was freed the last time.
    pub(super) fn leave(mut self) -> bool {
        self.free()
    }

    fn free(&mut self) -> bool {
        if std::mem::replace(&mut self.is_free, true) {
            return false;
        }
        let mut lanes = self.lanes.lock();
        let Some(traffic) = lanes.get_mut(&self.endpoint) else {
            return false;
        };
        traffic.under_way -= 1;
        let was_turned_away = std::mem::take(&mut traffic.was_turned_away);
        if traffic.under_way == 0 {
            lanes.remove(&self.endpoint);
        }
        was_turned_away
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_lane_takes_so_many_and_forgets_who_left() {
        let lanes = Lanes::default();
        let [one, other] = [1, 2].map(|id| EndpointId(Uuid::from_u128(id)));
        let first = lanes.enter(one, 2).unwrap();
        let _second = lanes.enter(one, 2).unwrap();
        assert!(lanes.enter(one, 2).is_none());
        assert_eq!((lanes.free(one, 2), lanes.free(other, 2)), (0, 2));
        assert!(lanes.enter(other, 1).is_some(), "endpoints share nothing");
        assert!(first.leave(), "somebody was turned away");
        assert_eq!(lanes.free(one, 2), 1);
        assert!(!lanes.enter(one, 2).unwrap().leave(), "it was told once");
        assert_eq!(lanes.lock().len(), 1);
    }
}
