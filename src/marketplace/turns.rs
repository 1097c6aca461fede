//! Whose store is next when more are due than the queue takes: organizations take turns.
//!
//! A pass sees all due stores, in the order they were registered, from where the last one was cut
//! short. The first of each organization go before the second of any, and so on, so one with
//! thousands does not delay one with a single store; of equals those go first that were not
//! attempted for the longest time, so that there may be more organizations than the queue takes.
//! What is remembered is no more than the queue takes, and how many stores of each organization
//! were seen.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use chrono::{DateTime, Utc};
use jobs::StoreId;

use super::queries::schedule::DueStore;
use crate::schedule::Position;

/// A due store whose slot is free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: StoreId,
    place: Place,
    /// A pass that goes on after this sees it first.
    before: Position,
}

/// Who goes first; those who were never attempted do before those who were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    of_organization: u32,
    last_sync_at: Option<DateTime<Utc>>,
    /// How many of all were seen before it.
    seen: u64,
}

impl Candidate {
    fn seen(&self) -> u64 {
        self.place.seen
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
            place: Place {
                of_organization: *of_organization,
                last_sync_at: store.last_sync_at,
                seen: self.count,
            },
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

/// Where a pass goes on, so that it begins with the one of `left` and `others` that was seen first.
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

    fn store(number: u32, organization: &str) -> DueStore {
        DueStore {
            id: StoreId(position(number).id),
            organization_id: organization.to_owned(),
            created_at: position(number).created_at,
            enqueued_until: None,
            last_sync_at: None,
        }
    }

    /// The stores of these organizations, one after the other; who is next, and where it goes on.
    fn turns(room: usize, organizations: &[&str]) -> (Vec<u128>, Option<u128>) {
        let mut turns = Turns::new(room);
        for (number, organization) in (1..).zip(organizations) {
            turns.see(&store(number, organization), position(number - 1));
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
            turns.see(&store(number, "a"), position(number - 1));
        }
        assert!(!turns.has_room_for_all());
        let (next, left) = turns.order();
        assert_eq!(goes_on_at(left, &[]), Some(position(2)));
        assert_eq!(goes_on_at(left, &next[1..]), Some(position(1)));
        assert_eq!(goes_on_at(None, &[]), None);
    }

    #[test]
    fn a_queue_that_takes_two_gets_to_everybody_though_all_are_always_due() {
        let all = [["a"; 30].as_slice(), &["b", "c", "d", "e"]].concat();
        let mut stores: Vec<_> = (1..).zip(&all).map(|(it, who)| store(it, who)).collect();
        let (mut at, mut runs) = (0_u32, vec![0; all.len()]);
        for pass in 1..=60 {
            let mut turns = Turns::new(2);
            for number in (at + 1..=34).chain(1..=at) {
                turns.see(&stores[number as usize - 1], position(number - 1));
            }
            let (next, left) = turns.order();
            for candidate in &next {
                let number = usize::try_from(candidate.id.0.as_u128()).unwrap();
                stores[number - 1].last_sync_at = Some(position(pass).created_at);
                runs[number - 1] += 1;
            }
            let goes_on = goes_on_at(left, &[]).unwrap();
            at = u32::try_from(goes_on.id.as_u128()).unwrap();
            if pass == 4 {
                assert_eq!(runs[30..], [1; 4], "however many `a` has");
            }
        }
        assert!(runs.iter().all(|runs| *runs > 0), "{runs:?}");
        assert!(runs[30..].iter().all(|runs| *runs >= 15), "{runs:?}");
    }
}
