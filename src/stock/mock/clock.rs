//! The time of a mock marketplace: somebody else's, and how far it was sent ahead.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;

/// A clock that can be sent ahead, whatever it is based on.
#[derive(Debug)]
pub(super) struct MockClock {
    base: Clock,
    ahead: Mutex<TimeDelta>,
}

impl MockClock {
    pub(super) fn new(base: Clock) -> Self {
        Self {
            base,
            ahead: Mutex::new(TimeDelta::zero()),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        self.base
            .now()
            .checked_add_signed(ahead)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Goes ahead; never so far that there is no date for it.
    pub(super) fn advance(&self, by: TimeDelta) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead = ahead
            .checked_add(&by)
            .unwrap_or(*ahead)
            .min(TimeDelta::days(36_500));
    }

    pub(super) fn reset(&self) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = TimeDelta::zero();
    }
}
