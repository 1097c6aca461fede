//! A bounded number of places, for callers who may each want all of them.
//!
//! A caller takes places as long as it holds no more than are free then, as switches share their
//! buffers (dynamic thresholds): one alone may have half of them, two a third each, and whoever
//! comes next finds one free. What weighs more than that takes what it may have, so that it cannot
//! starve behind what is light. Nobody has to know how many callers there are, or who will come.
//!
//! Others wait, each caller in a line of its own, which is bounded by the same rule; lines are
//! served in turns. Whoever does not come in soon is sent away: to wait longer helps nobody.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Who places are shared between.
pub trait Key: Hash + Eq + Copy {}

impl<K: Hash + Eq + Copy> Key for K {}

/// There is no place, and will be none soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all places are taken")]
pub struct NoPlace;

/// What is watched from outside.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Places that are taken.
    pub taken: Gauge,
    /// Callers in line.
    pub waiting: Gauge,
}

/// The places; clones share them.
pub struct Places<K: Key>(Arc<Shared<K>>);

struct Shared<K: Key> {
    state: Mutex<State<K>>,
    most: usize,
    patience: Duration,
    figures: Figures,
}

struct State<K: Key> {
    free: usize,
    waiting: usize,
    callers: HashMap<K, Caller<K>>,
    /// Those who have a line, in the order in which they are served.
    turns: VecDeque<K>,
    next_ticket: u64,
}

struct Caller<K: Key> {
    held: usize,
    line: VecDeque<Waiting<K>>,
}

struct Waiting<K: Key> {
    ticket: u64,
    weight: usize,
    admit: oneshot::Sender<Place<K>>,
}

impl<K: Key> Default for Caller<K> {
    fn default() -> Self {
        Self {
            held: 0,
            line: VecDeque::new(),
        }
    }
}

impl<K: Key> Caller<K> {
    /// How many of the free places it takes for something of this weight: afterwards it holds no
    /// more than are left, or one more. None, if it holds as many as are free.
    fn share(&self, free: usize, weight: usize) -> Option<usize> {
        let more = free.checked_sub(self.held).filter(|more| *more > 0)?;
        Some(weight.min((more / 2).max(1)))
    }
}

impl<K: Key> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Key> Places<K> {
    /// So many places, as many in line, and how long one waits there.
    pub fn new(most: usize, patience: Duration, figures: Figures) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                free: most,
                waiting: 0,
                callers: HashMap::new(),
                turns: VecDeque::new(),
                next_ticket: 0,
            }),
            most,
            patience,
            figures,
        }))
    }

    /// Takes as many places as something weighs, but at most a quarter of all and no more than
    /// there are for its caller; in line if there is none.
    pub async fn take(&self, key: K, weight: usize) -> Result<Place<K>, NoPlace> {
        let mut waiter = match self.ask(key, weight.clamp(1, (self.0.most / 4).max(1)))? {
            Ok(place) => return Ok(place),
            Err(waiter) => waiter,
        };
        let admitted = timeout(self.0.patience, &mut waiter.admitted).await;
        admitted.ok().and_then(Result::ok).ok_or(NoPlace)
    }

    /// A place, or one in line.
    fn ask(&self, key: K, weight: usize) -> Result<Result<Place<K>, Waiter<K>>, NoPlace> {
        let mut state = self.lock();
        let State { free, waiting, .. } = *state;
        let caller = state.callers.entry(key).or_default();
        let share = caller.share(free, weight);
        if let Some(weight) = share.filter(|_| caller.line.is_empty()) {
            caller.held += weight;
            state.free -= weight;
            self.0.show(&state);
            return Ok(Ok(self.place(key, weight)));
        }
        if caller.line.len() >= self.0.most - waiting {
            state.forget(key);
            return Err(NoPlace);
        }
        let (admit, admitted) = oneshot::channel();
        let is_first = caller.line.is_empty();
        let ticket = state.next_ticket;
        let waiting = Waiting {
            ticket,
            weight,
            admit,
        };
        state
            .callers
            .entry(key)
            .or_default()
            .line
            .push_back(waiting);
        state.next_ticket += 1;
        state.waiting += 1;
        if is_first {
            state.turns.push_back(key);
        }
        self.0.show(&state);
        Ok(Err(Waiter {
            places: self.clone(),
            key,
            ticket,
            admitted,
        }))
    }

    fn place(&self, key: K, weight: usize) -> Place<K> {
        Place {
            places: self.clone(),
            key,
            weight,
        }
    }

    fn give_back(&self, key: K, weight: usize) {
        let mut state = self.lock();
        state.free += weight;
        if let Some(caller) = state.callers.get_mut(&key) {
            caller.held -= weight;
        }
        state.forget(key);
        self.0.show(&state);
        drop(state);
        self.admit();
    }

    /// Lets in those who may by now.
    fn admit(&self) {
        loop {
            let mut state = self.lock();
            let Some((key, waiting)) = state.next() else {
                return;
            };
            self.0.show(&state);
            drop(state);
            let place = self.place(key, waiting.weight);
            // Whoever has just gone away gives it back at once, by dropping it.
            drop(waiting.admit.send(place));
        }
    }

    fn leave(&self, key: K, ticket: u64) {
        let mut state = self.lock();
        let Some(caller) = state.callers.get_mut(&key) else {
            return;
        };
        let Some(at) = caller.line.iter().position(|it| it.ticket == ticket) else {
            return;
        };
        caller.line.remove(at);
        let is_last = caller.line.is_empty();
        state.waiting -= 1;
        if is_last {
            state.turns.retain(|other| *other != key);
            state.forget(key);
        }
        self.0.show(&state);
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> Shared<K> {
    fn show(&self, state: &State<K>) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.figures.taken.set(number(self.most - state.free));
        self.figures.waiting.set(number(state.waiting));
    }
}

impl<K: Key> State<K> {
    /// The next in line who may come in, who then holds the places.
    fn next(&mut self) -> Option<(K, Waiting<K>)> {
        for _ in 0..self.turns.len() {
            let key = self.turns.pop_front()?;
            let caller = self.callers.get_mut(&key)?;
            let first = caller.line.front()?;
            let Some(weight) = caller.share(self.free, first.weight) else {
                self.turns.push_back(key);
                continue;
            };
            let mut waiting = caller.line.pop_front()?;
            waiting.weight = weight;
            caller.held += weight;
            if !caller.line.is_empty() {
                self.turns.push_back(key);
            }
            self.free -= weight;
            self.waiting -= 1;
            return Some((key, waiting));
        }
        None
    }

    /// Of who holds nothing and does not wait nothing is remembered.
    fn forget(&mut self, key: K) {
        let is_gone = |caller: &Caller<K>| caller.held == 0 && caller.line.is_empty();
        if self.callers.get(&key).is_some_and(is_gone) {
            self.callers.remove(&key);
        }
    }
}

/// A place that is taken; dropped, it is free.
pub struct Place<K: Key> {
    places: Places<K>,
    key: K,
    weight: usize,
}

impl<K: Key> Drop for Place<K> {
    fn drop(&mut self) {
        self.places.give_back(self.key, self.weight);
    }
}

/// Somebody in line, who may go away.
struct Waiter<K: Key> {
    places: Places<K>,
    key: K,
    ticket: u64,
    admitted: oneshot::Receiver<Place<K>>,
}

impl<K: Key> Drop for Waiter<K> {
    fn drop(&mut self) {
        // A place that was given meanwhile is dropped with what it would have come through.
        self.places.leave(self.key, self.ticket);
    }
}

impl<K: Key> std::fmt::Debug for Places<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = self.0.most;
        formatter
            .debug_struct("Places")
            .field("most", &most)
            .finish_non_exhaustive()
    }
}

impl<K: Key> std::fmt::Debug for Place<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weight = self.weight;
        formatter
            .debug_struct("Place")
            .field("weight", &weight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::{BoxFuture, join_all};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn places(most: usize) -> Places<char> {
        Places::new(most, Duration::from_mins(1), Figures::default())
    }

    /// Of those who come in without waiting.
    fn take_now(places: &Places<char>, key: char) -> Option<Place<char>> {
        places.take(key, 1).now_or_never()?.ok()
    }

    fn take_all(places: &Places<char>, key: char) -> Vec<Place<char>> {
        std::iter::from_fn(|| take_now(places, key)).collect()
    }

    /// In line, and asked for a first time.
    fn wait(places: &Places<char>, key: char) -> BoxFuture<'_, Result<Place<char>, NoPlace>> {
        let mut waiting = places.take(key, 1).boxed();
        assert!((&mut waiting).now_or_never().is_none(), "has to wait");
        waiting
    }

    impl Places<char> {
        fn free_and_waiting(&self) -> (usize, usize) {
            let state = self.lock();
            (state.free, state.waiting)
        }
    }

    fn is_as_new(places: &Places<char>) {
        let state = places.lock();
        assert_eq!((state.free, state.waiting), (places.0.most, 0));
        assert!(state.callers.is_empty() && state.turns.is_empty());
        let Figures { taken, waiting } = &places.0.figures;
        assert_eq!((taken.get(), waiting.get()), (0, 0));
    }

    #[tokio::test]
    async fn one_alone_has_half_and_each_more_leaves_as_much_as_it_takes() {
        let places = places(60);
        let a = take_all(&places, 'a');
        assert_eq!(a.len(), 30);
        let b = take_all(&places, 'b');
        assert_eq!(b.len(), 15, "of what is left");
        drop(a);
        assert_eq!(take_all(&places, 'c').len(), 23);
        drop(b);
        is_as_new(&places);
    }

    #[tokio::test]
    async fn whoever_comes_into_a_flood_comes_in_at_once() {
        let places = places(8);
        let _flood = take_all(&places, 'a');
        let _line: Vec<_> = (0..4).map(|_| wait(&places, 'a')).collect();
        assert!(take_now(&places, 'b').is_some());
        assert!(take_now(&places, 'b').is_some());
    }

    #[tokio::test]
    async fn lines_are_served_in_turns_and_each_in_its_order() {
        let places = places(2);
        let held = (
            take_now(&places, 'a').unwrap(),
            take_now(&places, 'b').unwrap(),
        );
        let waiting = ['a', 'b'].map(|key| wait(&places, key));
        assert_eq!(places.lock().waiting, 2);
        drop(held.0);
        drop(held.1);
        for admitted in join_all(waiting).await {
            admitted.unwrap();
        }
        is_as_new(&places);
    }

    #[tokio::test]
    async fn a_line_is_bounded_like_the_places_and_nobody_fills_it_for_others() {
        let places = places(8);
        let _held = (
            take_all(&places, 'a'),
            take_all(&places, 'b'),
            take_all(&places, 'c'),
        );
        let of_a: Vec<_> = (0..4).map(|_| wait(&places, 'a')).collect();
        let refused = places.take('a', 1).now_or_never();
        assert_eq!(refused.unwrap().unwrap_err(), NoPlace);
        let of_b: Vec<_> = (0..2).map(|_| wait(&places, 'b')).collect();
        let refused = places.take('b', 1).now_or_never();
        assert_eq!(refused.unwrap().unwrap_err(), NoPlace);
        drop((of_a, of_b));
        assert_eq!(places.lock().waiting, 0);
    }

    #[tokio::test]
    async fn whoever_does_not_come_in_soon_is_sent_away() {
        let places = Places::new(2, PATIENCE, Figures::default());
        let held = take_now(&places, 'a').unwrap();
        let begin = tokio::time::Instant::now();
        assert_eq!(places.take('a', 1).await.unwrap_err(), NoPlace);
        assert!(begin.elapsed() >= PATIENCE);
        drop(held);
        is_as_new(&places);
    }

    #[tokio::test]
    async fn what_was_given_to_somebody_who_went_away_is_free() {
        let places = places(4);
        let mut held = take_all(&places, 'a');
        let (gone, stays) = (wait(&places, 'a'), wait(&places, 'a'));
        held.pop();
        // The place is on its way to the first.
        assert_eq!(places.free_and_waiting(), (2, 1));
        drop(gone);
        stays.await.unwrap();
        held.clear();
        is_as_new(&places);
    }

    #[tokio::test]
    async fn what_weighs_much_takes_many_and_never_more_than_there_can_be() {
        let places = places(16);
        let heavy = places.take('a', 1000).await.unwrap();
        assert_eq!(places.lock().free, 12);
        let other = places.take('a', 4).await.unwrap();
        assert!(places.take('a', 1).now_or_never().is_none());
        drop((heavy, other));
        is_as_new(&places);
    }

    #[tokio::test]
    async fn what_weighs_much_takes_what_there_is_and_does_not_starve_behind_light_ones() {
        let places = places(16);
        let mut light = take_all(&places, 'a');
        let mut heavy = places.take('a', 4).boxed();
        assert!((&mut heavy).now_or_never().is_none(), "has to wait");
        let mut behind = wait(&places, 'a');
        light.pop();
        assert_eq!(heavy.now_or_never().unwrap().unwrap().weight, 1);
        // It was given back, so that the next one has it.
        let behind = (&mut behind).now_or_never().unwrap().unwrap();
        let others = [take_all(&places, 'b'), take_all(&places, 'c')];
        assert_eq!(others.each_ref().map(Vec::len), [4, 2]);
        let heavy = places.take('d', 4).now_or_never().unwrap().unwrap();
        assert_eq!(heavy.weight, 1, "one is left for whoever comes next");
        assert!(take_now(&places, 'e').is_some());
        drop((light, behind, others, heavy));
        is_as_new(&places);
    }
}
