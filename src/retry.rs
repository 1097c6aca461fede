//! How long a row waits before it is tried again.
//!
//! Retries live in rows, so nothing here sleeps or counts. [`Backoff`] is a pure function of the
//! attempt; [`Jitter`] spreads what would otherwise come back all at once; [`retry_after`] reads
//! how long the other side wants to be left in peace.
//!
//! This is the only module that uses the `backoff` crate (unmaintained). Of it only the growth
//! of the interval is used: what its `next_backoff` returns is randomised by up to a nanosecond
//! even with a randomisation factor of zero.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use chrono::{DateTime, NaiveDateTime, Utc};

use crate::ids::split_mix;

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

/// Makes delays a little shorter or longer, by chance.
#[derive(Debug)]
pub struct Jitter(Mutex<u64>);

impl Jitter {
    /// How much a delay changes at most: a tenth, either way.
    const SHARE: f64 = 0.1;

    /// Another one in each process.
    pub fn system() -> Self {
        Self::seeded(random_seed())
    }

    /// For tests: the same seed gives the same delays.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The delay, give or take a tenth.
    pub fn spread(&self, delay: Duration) -> Duration {
        self.spread_by(Self::SHARE, delay)
    }

    /// The delay, give or take a share of it.
    pub fn spread_by(&self, share: f64, delay: Duration) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // 32 bits fit a float exactly.
        let bits = u32::try_from(split_mix(&mut state) >> 32).unwrap_or_default();
        let chance = f64::from(bits) / f64::from(u32::MAX);
        delay.mul_f64(1.0 - share + 2.0 * share * chance)
    }
}

fn random_seed() -> u64 {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the operating system gives random bits once it has started");
    u64::from_be_bytes(seed)
}

/// `Retry-After` as a delay of at most `longest`: seconds or an HTTP date, garbage ignored.
pub fn retry_after(text: &str, now: DateTime<Utc>, longest: Duration) -> Option<Duration> {
    let text = text.trim();
    let delay = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        (http_date(text)? - now).to_std().unwrap_or(Duration::ZERO)
    };
    Some(delay.min(longest))
}

/// A date in one of the three forms that must be understood (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc2822(text) {
        return Some(at.to_utc());
    }
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let read = |form: &&str| NaiveDateTime::parse_from_str(text, form).ok();
    Some(obsolete.iter().find_map(read)?.and_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jitter_is_a_tenth_either_way_and_repeats_with_its_seed() {
        let minute = Duration::from_mins(1);
        let delays = |seed| -> Vec<f64> {
            let jitter = Jitter::seeded(seed);
            (0..1000)
                .map(|_| jitter.spread(minute).as_secs_f64())
                .collect()
        };
        let made = delays(7);
        assert!(made.iter().all(|delay| (54.0..=66.0).contains(delay)));
        assert!(made.iter().any(|delay| *delay < 54.5));
        assert!(made.iter().any(|delay| *delay > 65.5));
        assert_eq!(made, delays(7));
        assert_ne!(made, delays(8));
        let jitter = Jitter::seeded(7);
        let wide: Vec<f64> = (0..1000)
            .map(|_| jitter.spread_by(0.2, minute).as_secs_f64())
            .collect();
        assert!(wide.iter().all(|delay| (48.0..=72.0).contains(delay)));
        assert!(wide.iter().any(|delay| *delay < 49.0));
        assert!(wide.iter().any(|delay| *delay > 71.0));
        assert_eq!(Jitter::system().spread(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_up_to_the_longest() {
        let now = "2015-10-21T07:28:00Z".parse().unwrap();
        let read =
            |text| retry_after(text, now, Duration::from_hours(24)).map(|delay| delay.as_secs());
        for (text, seconds) in [
            ("0", 0),
            (" 120 ", 120),
            ("86401", 86_400),
            ("99999999999999999999999", 86_400),
            ("Wed, 21 Oct 2015 07:30:00 GMT", 120),
            ("Wed, 21 Oct 2015 07:00:00 GMT", 0),
            ("Fri, 21 Oct 2095 07:30:00 GMT", 86_400),
            ("Wednesday, 21-Oct-15 07:30:00 GMT", 120),
            ("Wed Oct 21 07:30:00 2015", 120),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for garbage in [
            "",
            "soon",
            "-5",
            "1.5",
            "1e3",
            "2015-10-21T07:30:00Z",
            "5 s",
        ] {
            assert_eq!(read(garbage), None, "{garbage}");
        }
    }

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
        fn a_delay_is_spread_by_a_tenth_at_most(millis in 0..86_400_000_u64, seed: u64) {
            let delay = Duration::from_millis(millis);
            let spread = Jitter::seeded(seed).spread(delay).as_secs_f64();
            let share = (spread - delay.as_secs_f64()).abs();
            prop_assert!(share <= delay.as_secs_f64() * 0.1 + 1e-6, "{}", spread);
        }

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

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    const LONGEST: Duration = Duration::from_hours(24);

    #[test]
    fn retry_after_is_what_was_meant_and_never_longer_than_the_longest() {
        fuzz!(|source| {
            // 1970 to 2068: what a year of two digits can say.
            let mut instant = || {
                let second = source.number() % 3_124_224_000;
                DateTime::from_timestamp(second.cast_signed(), 0).unwrap()
            };
            let (now, until) = (instant(), instant());
            let until = if source.flag() {
                now + Duration::from_secs(source.number() % 90_000)
            } else {
                until
            };
            let forms = [
                "%a, %d %b %Y %T GMT",
                "%A, %d-%b-%y %T GMT",
                "%a %b %e %T %Y",
            ];
            let (text, expected) = match source.below(3) {
                0 => {
                    let text = format!("{}{}", source.pick(&["", "0", "00"]), source.number());
                    let seconds = text.parse().unwrap();
                    (text, Some(Duration::from_secs(seconds)))
                }
                1 if until.timestamp() < 3_124_224_000 => {
                    let wait = (until - now).to_std().unwrap_or_default();
                    (until.format(source.pick(&forms)).to_string(), Some(wait))
                }
                _ => {
                    let words = [
                        "Sun, ", "06", " Nov", " 1994 ", "08:49:37", " GMT", "-", "9", ".",
                    ];
                    (source.text(&words), None)
                }
            };
            let read = retry_after(&text, now, LONGEST);
            match expected {
                Some(_) => assert_eq!(read, expected.map(|it| it.min(LONGEST)), "{text:?}"),
                None => assert!(read.is_none_or(|delay| delay <= LONGEST), "{text:?}"),
            }
        });
    }
}
