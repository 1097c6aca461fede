//! How often something may happen, for each of many who do it (GCRA, by `governor`).
//!
//! What is remembered is bounded: a [`Limiter`] knows [`MAX_KEYS`] keys at a time, and forgets
//! those that have their whole allowance again. If there are more, which takes an attack, the
//! ones it does not know share the allowance of one. Time is [`Clock::monotonic`]: setting the
//! system's clock locks nobody out.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// So many keys have an allowance of their own at a time.
pub const MAX_KEYS: usize = 65_536;

/// How often the keys are looked through, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// An allowance for each key.
pub struct Limiter<K: Key> {
    inner: RateLimiter<K, Cells<K>, Monotonic, NoOpMiddleware<Duration>>,
    cells: Cells<K>,
    clock: Clock,
    start: Duration,
    quota: Quota,
}

/// What an allowance may belong to.
pub trait Key: Hash + Eq + Clone {}

impl<T: Hash + Eq + Clone> Key for T {}

impl<K: Key> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Limiter")
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl<K: Key> Limiter<K> {
    /// So many a second, and as many at once.
    pub fn per_second(rate: NonZeroU32, clock: &Clock) -> Self {
        Self::with(Quota::per_second(rate), MAX_KEYS, clock)
    }

    /// One each `period`, and `burst` at once.
    ///
    /// # Panics
    /// If the period is zero.
    pub fn one_per(period: Duration, burst: NonZeroU32, clock: &Clock) -> Self {
        let quota = Quota::with_period(period).expect("a period is longer than nothing");
        Self::with(quota.allow_burst(burst), MAX_KEYS, clock)
    }

    fn with(quota: Quota, max_keys: usize, clock: &Clock) -> Self {
        let cells = Cells::new(max_keys);
        let start = clock.monotonic();
        let inner = RateLimiter::new(quota, cells.clone(), Monotonic(clock.clone()));
        Self {
            inner,
            cells,
            clock: clock.clone(),
            start,
            quota,
        }
    }

    /// Spends one of a key's allowance, or tells how long it takes until there is one.
    pub fn spend(&self, key: &K) -> Result<(), Duration> {
        self.cells.sweep(self.now());
        self.inner
            .check_key(key)
            .map_err(|not_until| not_until.wait_time_from(self.clock.monotonic()))
    }

    /// How long it takes until a key may spend again; spends nothing.
    pub fn wait(&self, key: &K) -> Option<Duration> {
        let tolerance = self.quota.replenish_interval() * (self.quota.burst_size().get() - 1);
        let earliest = self.cells.get(key)?.saturating_sub(tolerance);
        let wait = earliest.saturating_sub(self.now());
        (!wait.is_zero()).then_some(wait)
    }

    fn now(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.start)
    }
}

/// The clock, as governor asks for it.
#[derive(Clone)]
struct Monotonic(Clock);

impl GovernorClock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// When each key has its whole allowance again, since the start of the limiter.
#[derive(Clone)]
struct Cells<K>(Arc<Mutex<Table<K>>>);

struct Table<K> {
    of_key: HashMap<K, Nanos>,
    /// Of all that have no place.
    of_others: Option<Nanos>,
    max: usize,
    next_sweep: Duration,
}

impl<K: Key> Cells<K> {
    fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            of_key: HashMap::new(),
            of_others: None,
            max,
            next_sweep: Duration::ZERO,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &K) -> Option<Duration> {
        let table = self.lock();
        let known = table.of_key.get(key).copied();
        let shared = || table.of_others.filter(|_| table.of_key.len() >= table.max);
        known.or_else(shared).map(Duration::from)
    }

    /// Forgets who has their whole allowance again, once half the places are taken.
    fn sweep(&self, now: Duration) {
        let mut table = self.lock();
        if table.of_key.len() * 2 < table.max || now < table.next_sweep {
            return;
        }
        table.next_sweep = now + SWEEP_INTERVAL;
        let now = Nanos::from(now);
        table.of_key.retain(|_, full| *full > now);
        if table.of_key.len() * 4 < table.max {
            let kept = table.max / 2;
            table.of_key.shrink_to(kept);
        }
    }
}

impl<K: Key> StateStore for Cells<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut table = self.lock();
        if let Some(full) = table.of_key.get_mut(key) {
            let (outcome, next) = decide(Some(*full))?;
            *full = next;
            return Ok(outcome);
        }
        if table.of_key.len() < table.max {
            let (outcome, next) = decide(None)?;
            table.of_key.insert(key.clone(), next);
            return Ok(outcome);
        }
        let (outcome, next) = decide(table.of_others)?;
        table.of_others = Some(next);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn manual() -> Clock {
        Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap())
    }

    #[test]
    fn a_burst_is_the_rate_and_each_key_has_its_own() {
        let clock = manual();
        let limiter = Limiter::per_second(number(4), &clock);
        for _ in 0..4 {
            assert_eq!(limiter.wait(&"a"), None);
            limiter.spend(&"a").unwrap();
        }
        let quarter = Duration::from_millis(250);
        assert_eq!(limiter.spend(&"a"), Err(quarter));
        assert_eq!(limiter.wait(&"a"), Some(quarter));
        limiter.spend(&"b").unwrap();
        clock.advance(quarter);
        assert_eq!(limiter.wait(&"a"), None);
        limiter.spend(&"a").unwrap();
        assert!(limiter.spend(&"a").is_err());
        clock.advance(Duration::from_hours(1));
        let spent = (0..10).filter(|_| limiter.spend(&"a").is_ok()).count();
        assert_eq!(spent, 4, "an allowance is not saved up");
    }

    #[test]
    fn one_is_back_after_each_period() {
        let clock = manual();
        let limiter = Limiter::one_per(Duration::from_secs(3), number(2), &clock);
        limiter.spend(&1).unwrap();
        limiter.spend(&1).unwrap();
        assert_eq!(limiter.spend(&1), Err(Duration::from_secs(3)));
        clock.advance(Duration::from_secs(2));
        assert_eq!(limiter.wait(&1), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        limiter.spend(&1).unwrap();
        assert!(limiter.spend(&1).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let clock = manual();
        let limiter = Limiter::with(Quota::per_second(number(2)), 100, &clock);
        for key in 0..100 {
            limiter.spend(&key).unwrap();
        }
        // Those without a place share one allowance, and take nobody else's.
        limiter.spend(&100).unwrap();
        limiter.spend(&101).unwrap();
        assert!(limiter.spend(&102).is_err());
        assert!(limiter.wait(&103).is_some());
        limiter.spend(&7).unwrap();
        assert_eq!(limiter.cells.lock().of_key.len(), 100);

        clock.advance(Duration::from_secs(2));
        limiter.spend(&103).unwrap();
        assert_eq!(
            limiter.cells.lock().of_key.len(),
            1,
            "the others are forgotten"
        );
        for key in 0..1_000_000 {
            limiter.spend(&key).ok();
            clock.advance(Duration::from_millis(1));
        }
        assert!(limiter.cells.lock().of_key.capacity() < 500);
    }
}
