//! How many requests this process has on the way to each endpoint.
//!
//! A lane is entered or it is not: nobody waits for one, so a slow endpoint holds no worker that
//! others could use. Whoever leaves a lane looks for what its endpoint is still owed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::model::EndpointId;

/// Requests at a time to an endpoint that takes events in any order.
const WIDTH: usize = 8;

/// The lanes of all endpoints; one a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Lanes(Arc<Mutex<HashMap<EndpointId, usize>>>);

/// A place in the lane of an endpoint; dropped, it is free.
#[derive(Debug)]
pub(super) struct Lane {
    lanes: Lanes,
    endpoint: EndpointId,
}

/// Requests at a time to an endpoint.
pub(super) fn width(is_ordered: bool) -> usize {
    if is_ordered { 1 } else { WIDTH }
}

impl Lanes {
    /// Takes a place, if one is free.
    pub(super) fn enter(&self, endpoint: EndpointId, width: usize) -> Option<Lane> {
        let mut lanes = self.lock();
        let taken = lanes.entry(endpoint).or_default();
        if *taken >= width {
            return None;
        }
        *taken += 1;
        Some(Lane {
            lanes: self.clone(),
            endpoint,
        })
    }

    /// How many places are free.
    pub(super) fn free(&self, endpoint: EndpointId, width: usize) -> usize {
        let taken = self.lock().get(&endpoint).copied().unwrap_or_default();
        width.saturating_sub(taken)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        if let Some(taken) = lanes.get_mut(&self.endpoint) {
            *taken -= 1;
            if *taken == 0 {
                lanes.remove(&self.endpoint);
            }
        }
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
        drop(first);
        assert_eq!(lanes.free(one, 2), 1);
        assert!(lanes.enter(one, 2).is_some());
        assert_eq!(lanes.lock().len(), 1);
    }
}
