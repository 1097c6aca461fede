//! How long a row waits before it is tried again.
//!
//! A pure function of the attempt: retries live in rows, so nothing here sleeps, counts or keeps
//! state, and there is no jitter, because a delay is written down, shown to people and tested.
//!
//! This is the only module that uses the `backoff` crate (unmaintained). Of it only the growth
//! of the interval is used: what its `next_backoff` returns is randomised by up to a nanosecond
//! even with a randomisation factor of zero.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// More doublings than it takes from a nanosecond to 500 years.
const MAX_DOUBLINGS: u32 = 64;

/// Delays that double from `base` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first attempt.
    pub base: Duration,
    /// No delay is longer.
    pub max: Duration,
}

impl Backoff {
    /// The delay after attempt number `attempt`, counted from 1: `min(base · 2^(attempt−1), max)`.
    pub fn delay(&self, attempt: u32) -> Duration {
        let mut growth = ExponentialBackoff {
            current_interval: self.base,
            initial_interval: self.base,
            max_interval: self.max,
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        for _ in 0..attempt.saturating_sub(1).min(MAX_DOUBLINGS) {
            if growth.current_interval >= self.max {
                break;
            }
            growth.next_backoff();
        }
        growth.current_interval.min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_limited_row_waits_5_10_20_40_60_60_minutes() {
        let backoff = Backoff {
            base: Duration::from_mins(5),
            max: Duration::from_hours(1),
        };
        let minutes = |attempt| backoff.delay(attempt).as_secs_f64() / 60.0;
        let table: Vec<_> = (1..=6).map(minutes).collect();
        insta::assert_compact_debug_snapshot!(table, @"[5.0, 10.0, 20.0, 40.0, 60.0, 60.0]");
        assert_eq!(backoff.delay(u32::MAX), backoff.max);
        assert_eq!(backoff.delay(0), backoff.base, "attempts count from 1");
    }

    #[test]
    fn a_base_above_the_maximum_is_cut_and_a_base_of_zero_stays_zero() {
        let minute = Duration::from_mins(1);
        let backoff = |base, max| Backoff { base, max };
        assert_eq!(backoff(minute * 9, minute).delay(1), minute);
        assert_eq!(backoff(Duration::ZERO, minute).delay(40), Duration::ZERO);
        assert_eq!(backoff(minute, Duration::ZERO).delay(3), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_delay_is_exact_bounded_and_never_shrinks(
            base in 1_u64..86_400_000,
            max in 1_u64..30 * 86_400_000,
            attempt in 1_u32..100,
        ) {
            let backoff = Backoff {
                base: Duration::from_millis(base),
                max: Duration::from_millis(max),
            };
            let exact = u128::from(base) << (attempt - 1).min(60);
            prop_assert_eq!(backoff.delay(attempt).as_nanos(), exact.min(max.into()) * 1_000_000);
            prop_assert!(backoff.delay(attempt) <= backoff.delay(attempt + 1));
        }
    }
}
