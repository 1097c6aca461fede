//! The time, as an argument.
//!
//! Everything that asks for the time asks a [`Clock`], so that a test can set it by hand and
//! wait for nothing. Instants are cut to milliseconds here, before anyone stores them: what is
//! read back is then equal to what was written, and a replayed answer equals the first one.
//!
//! How an instant looks on the wire is the business of [`crate::timestamp`].

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::timestamp;

/// The source of the time: the system's, or one that is set by hand. Clones share the hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::set`] or [`Clock::advance`] moves it.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The current instant, cut to milliseconds.
    pub fn now(&self) -> DateTime<Utc> {
        timestamp::truncate(match &self.0 {
            Source::System => system_now(),
            Source::Manual(at) => *lock(at),
        })
    }

    /// The time since some instant that stays the same. Unlike [`Clock::now`] the system's never
    /// jumps: for what lasts seconds and must not be undone by somebody who sets the clock.
    pub fn monotonic(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Source::System => START.elapsed(),
            Source::Manual(at) => lock(at)
                .signed_duration_since(DateTime::UNIX_EPOCH)
                .to_std()
                .unwrap_or_default(),
        }
    }

    /// Lets time pass, and tells whether it did: that of a clock which is set by hand passes only
    /// by that hand, so nobody waits for it.
    pub async fn pass(&self, time: Duration) -> bool {
        match &self.0 {
            Source::System => {
                tokio::time::sleep(time).await;
                true
            }
            Source::Manual(_) => false,
        }
    }

    /// Sets a manual clock.
    ///
    /// # Panics
    /// If this is the system's clock, which nobody may set.
    pub fn set(&self, to: DateTime<Utc>) {
        *self.hand() = to;
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// If this is the system's clock, which nobody may move.
    pub fn advance(&self, by: Duration) {
        *self.hand() += by;
    }

    fn hand(&self) -> MutexGuard<'_, DateTime<Utc>> {
        match &self.0 {
            Source::System => panic!("the system clock cannot be set; use Clock::manual"),
            Source::Manual(at) => lock(at),
        }
    }
}

fn lock(at: &Mutex<DateTime<Utc>>) -> MutexGuard<'_, DateTime<Utc>> {
    at.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one home of the ambient clock"
)]
fn system_now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_whole_milliseconds() {
        let now = Clock::system().now();
        assert_eq!(now.timestamp_subsec_nanos() % 1_000_000, 0);
        assert!((system_now() - now).num_seconds() < 5);
    }

    #[test]
    fn clones_of_a_manual_clock_share_the_hand() {
        let start = "2024-01-01T12:00:00.1239Z".parse().unwrap();
        let clock = Clock::manual(start);
        let clone = clock.clone();
        assert_eq!(timestamp::format(clone.now()), "2024-01-01T12:00:00.123Z");
        clock.advance(Duration::from_secs(90));
        assert_eq!(timestamp::format(clone.now()), "2024-01-01T12:01:30.123Z");
        clone.set(start);
        assert_eq!(timestamp::format(clock.now()), "2024-01-01T12:00:00.123Z");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_clock_that_is_set_by_hand() {
        let before = Instant::now();
        assert!(Clock::system().pass(Duration::from_millis(5)).await);
        assert!(before.elapsed() >= Duration::from_millis(5));
        let manual = Clock::manual(DateTime::UNIX_EPOCH);
        assert!(!manual.pass(Duration::from_hours(24)).await);
    }

    #[test]
    #[should_panic(expected = "cannot be set")]
    fn the_system_clock_cannot_be_set() {
        Clock::system().advance(Duration::from_secs(1));
    }
}
