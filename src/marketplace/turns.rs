//! Whose store is next when more are due than the queue takes: organizations take turns.
//!
//! A pass sees all due stores, in the order they were registered, from where the last one was cut
//! short. The first of each organization go before the second of any, and so on, so one with
//! thousands does not delay one with a single store. What is remembered is no more than the queue
//! takes, and how many stores of each organization were seen.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use jobs::StoreId;

use super::queries::schedule::DueStore;
use crate::schedule::Position;

/// A due store whose slot is free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: StoreId,
    /// How many of its organization were before it, then how many of all.
    place: (u32, u64),
    /// A pass that goes on after this sees it first.
    before: Position,
}

impl Candidate {
    fn seen(&self) -> u64 {
        self.place.1
    }
}

/// The stores that are next, out of all that are seen.
#[derive(Debug)]
pub(super) struct Turns {
    room: usize,
    /// By organization.
    seen: HashMap<String, u32>,
    count: u64,
    /// The last of them on top.
    next: BinaryHeap<Candidate>,
    /// The first that was seen of those there is no room for.
    left: Option<Candidate>,
}

impl Turns {
    /// Of as many as there is room for.
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            seen: HashMap::new(),
            count: 0,
            next: BinaryHeap::new(),
            left: None,
        }
    }

    /// Sees a store; `before` is the place of the one before.
    pub(super) fn see(&mut self, store: &DueStore, before: Position) {
        let of_organization = match self.seen.get_mut(&store.organization_id) {
            Some(seen) => seen,
            None => self.seen.entry(store.organization_id.clone()).or_default(),
        };
        let candidate = Candidate {
            id: store.id,
            place: (*of_organization, self.count),
            before,
        };
        *of_organization += 1;
        self.count += 1;
        self.next.push(candidate);
        if self.next.len() > self.room {
            self.left = first(self.next.pop(), self.left);
        }
    }

    /// Whether there was room for all so far.
    pub(super) fn has_room_for_all(&self) -> bool {
        self.left.is_none()
    }

    /// Those who are next, in order, and the first of those who are not.
    pub(super) fn order(self) -> (Vec<Candidate>, Option<Candidate>) {
        (self.next.into_sorted_vec(), self.left)
    }
}

/// Where a pass goes on, so that it sees first what waits longest of `left` and `others`.
pub(super) fn goes_on_at(left: Option<Candidate>, others: &[Candidate]) -> Option<Position> {
    let first = others.iter().copied().map(Some).fold(left, first);
    first.map(|candidate| candidate.before)
}

fn first(one: Option<Candidate>, other: Option<Candidate>) -> Option<Candidate> {
    one.into_iter().chain(other).min_by_key(Candidate::seen)
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Candidate {}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use uuid::Uuid;

    use super::*;

    fn position(number: u32) -> Position {
        Position {
            created_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(number.into()),
            id: Uuid::from_u128(number.into()),
        }
    }

    /// The stores of these organizations, one after the other; who is next, and where it goes on.
    fn turns(room: usize, organizations: &[&str]) -> (Vec<u128>, Option<u128>) {
        let mut turns = Turns::new(room);
        for (number, organization) in (1..).zip(organizations) {
            let store = DueStore {
                id: StoreId(position(number).id),
                organization_id: (*organization).to_owned(),
                created_at: position(number).created_at,
                enqueued_until: None,
            };
            turns.see(&store, position(number - 1));
        }
        let (next, left) = turns.order();
        let numbers = next.iter().map(|it| it.id.0.as_u128()).collect();
        (numbers, goes_on_at(left, &[]).map(|it| it.id.as_u128()))
    }

    #[test]
    fn organizations_take_turns_and_the_stores_of_each_are_in_order() {
        let all = ["a", "a", "a", "b", "a", "b", "c"];
        assert_eq!(turns(9, &all), (vec![1, 4, 7, 2, 6, 3, 5], None));
    }

    #[test]
    fn those_who_come_last_are_left_and_the_next_pass_begins_with_the_first_of_them() {
        let all = ["a", "a", "a", "b", "a", "b", "c"];
        assert_eq!(turns(4, &all), (vec![1, 4, 7, 2], Some(2)));
        assert_eq!(turns(6, &all), (vec![1, 4, 7, 2, 6, 3], Some(4)));
        assert_eq!(turns(0, &all), (vec![], Some(0)));
    }

    #[test]
    fn where_it_goes_on_is_before_all_that_were_not_taken() {
        let mut turns = Turns::new(2);
        for number in 1..=3 {
            let store = DueStore {
                id: StoreId(position(number).id),
                organization_id: "a".to_owned(),
                created_at: position(number).created_at,
                enqueued_until: None,
            };
            turns.see(&store, position(number - 1));
        }
        assert!(!turns.has_room_for_all());
        let (next, left) = turns.order();
        assert_eq!(goes_on_at(left, &[]), Some(position(2)));
        assert_eq!(goes_on_at(left, &next[1..]), Some(position(1)));
        assert_eq!(goes_on_at(None, &[]), None);
    }
}
