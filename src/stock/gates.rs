//! Whether a marketplace may be told something now: pure rules over what is stored.
//!
//! A gate is asked before every request. What closes it for a known time is stored with its reason
//! (`backoff_until`, `backoff_reason`), so that a restart respects it and anybody can see it.
//! Whether the very same request was sent before, and how many are outstanding, is looked at again
//! when the push is written ([`insert_push`](super::queries::pushes::insert_push)), in the same
//! statement, because it may have changed since.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::connector::{Bucket, Manners};
use super::model::{GateReason, RateMode};
use super::queries::gates::{Limits, Spent};
use super::settings::StockStore;
use crate::config::StockSettings;
use crate::marketplace::model::Marketplace;
use crate::timestamp::truncate;

/// When less than one part in so many of a day's updates is left …
const LAST_PART: i64 = 5;
/// … only rows that are so urgent are sent.
const URGENT: i32 = 80;
/// How long a gate is closed that opens when a push ends: then it is looked again.
pub(super) const OUTSTANDING_PAUSE: TimeDelta = TimeDelta::seconds(10);
/// How long a push of unknown outcome is taken for one that the marketplace works on, unless what
/// the marketplace shows is read back before.
pub(super) const UNKNOWN_COUNTS_FOR: TimeDelta = TimeDelta::minutes(5);
/// How long newer quantities that lower an urgent one wait for the results of older ones.
const URGENT_HOLD: TimeDelta = TimeDelta::seconds(10);

/// How a store is pushed to: what its marketplace wants, what the settings say, what it chose.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rules {
    pub(super) manners: Manners,
    /// After a run it is left in peace for so long.
    pub(super) window: Option<TimeDelta>,
    /// The same request is not sent again within so long.
    pub(super) identical_window: Option<TimeDelta>,
    /// Updates a day.
    pub(super) daily_budget: Option<i64>,
    /// Items a request.
    pub(super) batch_size: usize,
    /// No more can be told.
    pub(super) quantity_cap: i64,
    /// How long newer quantities wait for the results of older ones.
    hold: TimeDelta,
}

/// Whether the marketplace may be told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may.
    Open(Opening),
    /// It may not.
    Closed(Closed),
}

/// What it may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// Only what is at least so urgent.
    pub(super) min_priority: i32,
    /// In one request.
    pub(super) max_items: usize,
}

/// Why not, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) reason: GateReason,
    pub(super) until: DateTime<Utc>,
}

impl Rules {
    /// For a store on a marketplace with such manners.
    pub(super) fn of(settings: &StockSettings, store: &StockStore, manners: Manners) -> Self {
        let default_mode = match store.shop.marketplace {
            Marketplace::Trendyol => settings.trendyol_rate_mode,
            Marketplace::Hepsiburada => RateMode::Concurrency,
            _ => RateMode::IdenticalBody,
        };
        let mode = store.rate_mode.unwrap_or(default_mode);
        let per_listing = manners.daily_updates_per_listing;
        let budget = |listings: i64| Some(per_listing?.saturating_mul(listings));
        let batch_size = usize::try_from(settings.batch_size).unwrap_or(usize::MAX);
        Self {
            window: (mode == RateMode::StoreWindow).then_some(settings.identical_window),
            identical_window: manners
                .refuses_identical
                .then_some(settings.identical_window),
            daily_budget: store.shop.listing_count.and_then(budget),
            batch_size: batch_size.min(manners.max_items).max(1),
            quantity_cap: settings.max_quantity.min(manners.quantity_cap),
            hold: settings.confirm_hold,
            manners,
        }
    }

    /// Without anything that a store or the settings add.
    #[cfg(test)]
    pub(super) fn plain(manners: Manners) -> Self {
        Self {
            window: None,
            identical_window: None,
            daily_budget: None,
            batch_size: manners.max_items,
            quantity_cap: manners.quantity_cap,
            hold: TimeDelta::minutes(1),
            manners,
        }
    }

    /// The day it is at the marketplace.
    pub(super) fn day(&self, now: DateTime<Utc>) -> NaiveDate {
        now.with_timezone(&self.zone()).date_naive()
    }

    /// When its next day begins.
    pub(super) fn next_day(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let tomorrow = self.day(now).succ_opt().unwrap_or(NaiveDate::MAX);
        let midnight = tomorrow.and_time(NaiveTime::MIN);
        let local = midnight.and_local_timezone(self.zone()).single();
        local.map_or(now + TimeDelta::days(1), |it| it.to_utc())
    }

    fn zone(&self) -> FixedOffset {
        FixedOffset::east_opt(self.manners.day_offset)
            .unwrap_or_else(|| FixedOffset::east_opt(0).expect("no offset is an offset"))
    }

    /// What was told today.
    pub(super) fn used_today(&self, limits: &Limits, now: DateTime<Utc>) -> i64 {
        match limits.daily_date {
            Some(date) if date == self.day(now) => limits.daily_used,
            _ => 0,
        }
    }

    /// Until when a newer quantity waits for the results of the one that was sent at `pushed_at`.
    pub(super) fn held_until(
        &self,
        pushed_at: DateTime<Utc>,
        priority: i32,
        is_lower: bool,
    ) -> DateTime<Utc> {
        if priority >= 100 && is_lower {
            pushed_at + URGENT_HOLD.min(self.hold)
        } else {
            pushed_at + self.hold
        }
    }
}

/// Whether the marketplace of a store may be told something. `is_in_run`: a run is under way, and
/// the window after it has not begun.
pub(super) fn check(limits: &Limits, rules: &Rules, is_in_run: bool, now: DateTime<Utc>) -> Gate {
    let closed = |reason, until: Option<DateTime<Utc>>| {
        let until = until.filter(|until| *until > now)?;
        Some(Closed { reason, until })
    };
    let backoff = closed(
        limits.backoff_reason.unwrap_or(GateReason::Backoff),
        limits.backoff_until,
    );
    let has_window = rules.window.is_some() && !is_in_run;
    let window = closed(
        GateReason::Window,
        limits.window_opens_at.filter(|_| has_window),
    );
    let max_outstanding = rules.manners.max_outstanding.map(i64::from);
    let is_busy = max_outstanding.is_some_and(|most| limits.outstanding >= most);
    let outstanding = closed(
        GateReason::Outstanding,
        is_busy.then(|| now + OUTSTANDING_PAUSE),
    );
    let spaced = limits.last_sent_at.zip(rules.manners.spacing);
    let spacing = closed(
        GateReason::Spacing,
        spaced.map(|(last, spacing)| last + spacing),
    );
    if let Some(closed) = backoff.or(window).or(outstanding).or(spacing) {
        return Gate::Closed(closed);
    }
    let smaller = limits
        .batch_limit
        .and_then(|limit| usize::try_from(limit).ok());
    let max_items = rules.batch_size.min(smaller.unwrap_or(usize::MAX)).max(1);
    let Some(budget) = rules.daily_budget else {
        return Gate::Open(Opening {
            min_priority: 0,
            max_items,
        });
    };
    let left = budget - rules.used_today(limits, now);
    match usize::try_from(left) {
        Ok(left_items @ 1..) => Gate::Open(Opening {
            min_priority: if left < budget / LAST_PART { URGENT } else { 0 },
            max_items: max_items.min(left_items),
        }),
        _ => Gate::Closed(Closed {
            reason: GateReason::DailyBudget,
            until: rules.next_day(now),
        }),
    }
}

/// How a bucket is spent, aiming at a share of what the marketplace publishes.
///
/// Tokens come back at that share of the rate, and the bucket holds the rest of it, so that there
/// is no stretch of time as long as the marketplace's in which more is spent than it allows.
pub(super) fn spent(bucket: Bucket, target_percent: u32) -> Spent {
    let target = f64::from(target_percent.clamp(1, 100)) / 100.0;
    let capacity = f64::from(bucket.capacity.max(1));
    Spent {
        key: bucket.key,
        burst: (capacity * (1.0 - target)).max(1.0),
        rate: capacity * target / bucket.per.max(Duration::from_millis(1)).as_secs_f64(),
    }
}

/// When the buckets have a token again, if one of them has none.
pub(super) fn opens_at(
    buckets: &[Spent],
    left: &[(String, f64)],
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let waits = left.iter().filter(|(_, tokens)| *tokens < -1e-6);
    let seconds = waits.filter_map(|(key, tokens)| {
        let bucket = buckets.iter().find(|bucket| bucket.key == *key)?;
        Some(-tokens / bucket.rate)
    });
    let longest = seconds.fold(None, |longest: Option<f64>, it| {
        Some(longest.map_or(it, |longest| longest.max(it)))
    })?;
    let wait = Duration::try_from_secs_f64(longest).unwrap_or(Duration::from_hours(1));
    // Up to the next whole millisecond: a token is there then.
    Some(truncate(now + wait) + TimeDelta::milliseconds(1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use sqlx::types::Json;

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn limits() -> Limits {
        Limits {
            last_sent_at: None,
            window_opens_at: None,
            backoff_until: None,
            backoff_reason: None,
            consecutive_failures: 0,
            batch_limit: None,
            batch_successes: 0,
            suspects: None,
            daily_date: None,
            daily_used: 0,
            told_events: Json(HashMap::new()),
            outstanding: 0,
            abandoned: 0,
        }
    }

    fn rules() -> Rules {
        Rules::plain(Manners {
            max_items: 1000,
            max_read_items: 50,
            quantity_cap: 20_000,
            results_for: None,
            refuses_identical: false,
            max_outstanding: None,
            spacing: None,
            daily_updates_per_listing: None,
            day_offset: 3 * 3600,
        })
    }

    fn seconds(seconds: i64) -> DateTime<Utc> {
        noon() + TimeDelta::seconds(seconds)
    }

    fn closed(reason: GateReason, until: DateTime<Utc>) -> Gate {
        Gate::Closed(Closed { reason, until })
    }

    fn open(min_priority: i32, max_items: usize) -> Gate {
        Gate::Open(Opening {
            min_priority,
            max_items,
        })
    }

    #[test]
    fn a_backoff_closes_the_gate_until_its_very_end() {
        let limits = Limits {
            backoff_until: Some(seconds(5)),
            backoff_reason: Some(GateReason::Auth),
            ..limits()
        };
        let at = |now| check(&limits, &rules(), true, now);
        assert_eq!(at(seconds(4)), closed(GateReason::Auth, seconds(5)));
        assert_eq!(at(seconds(5)), open(0, 1000));
    }

    #[test]
    fn a_window_closes_the_gate_between_runs_only_where_the_store_has_windows() {
        let limits = Limits {
            window_opens_at: Some(seconds(900)),
            ..limits()
        };
        let windowed = Rules {
            window: Some(TimeDelta::seconds(900)),
            ..rules()
        };
        assert_eq!(
            check(&limits, &windowed, false, noon()),
            closed(GateReason::Window, seconds(900))
        );
        assert_eq!(check(&limits, &windowed, true, noon()), open(0, 1000));
        assert_eq!(check(&limits, &rules(), false, noon()), open(0, 1000));
    }

    #[test]
    fn a_sixth_upload_waits_and_so_does_one_that_comes_too_soon() {
        let mut rules = rules();
        rules.manners.max_outstanding = Some(5);
        rules.manners.spacing = Some(TimeDelta::seconds(10));
        let with = |outstanding| Limits {
            outstanding,
            last_sent_at: Some(noon()),
            ..limits()
        };
        assert_eq!(
            check(&with(5), &rules, true, seconds(20)),
            closed(GateReason::Outstanding, seconds(30))
        );
        assert_eq!(
            check(&with(4), &rules, true, seconds(9)),
            closed(GateReason::Spacing, seconds(10))
        );
        assert_eq!(check(&with(4), &rules, true, seconds(10)), open(0, 1000));
    }

    /// The day is the marketplace's, three hours ahead here.
    #[test]
    fn the_last_fifth_of_a_day_is_for_what_is_urgent_and_then_it_is_tomorrow() {
        let rules = Rules {
            daily_budget: Some(1000),
            ..rules()
        };
        let used = |daily_used| Limits {
            daily_date: Some("2024-01-01".parse().unwrap()),
            daily_used,
            ..limits()
        };
        let at_noon = |limits| check(&limits, &rules, true, noon());
        assert_eq!(at_noon(used(0)), open(0, 1000));
        assert_eq!(at_noon(used(800)), open(0, 200));
        assert_eq!(at_noon(used(801)), open(URGENT, 199));
        let midnight = "2024-01-01T21:00:00Z".parse().unwrap();
        assert_eq!(
            at_noon(used(1000)),
            closed(GateReason::DailyBudget, midnight)
        );
        assert_eq!(check(&used(1000), &rules, true, midnight), open(0, 1000));
    }

    #[test]
    fn a_halved_batch_stays_halved() {
        let limits = Limits {
            batch_limit: Some(250),
            ..limits()
        };
        assert_eq!(check(&limits, &rules(), true, noon()), open(0, 250));
    }

    #[test]
    fn only_what_lowers_an_urgent_quantity_is_held_less_long() {
        let held = |priority, is_lower| rules().held_until(noon(), priority, is_lower);
        assert_eq!(held(100, true), seconds(10));
        assert_eq!(held(100, false), seconds(60));
        assert_eq!(held(90, true), seconds(60));
    }

    #[test]
    fn tokens_that_are_missing_say_when_they_are_there() {
        let bucket = Bucket {
            key: "seller".to_owned(),
            capacity: 50,
            per: Duration::from_secs(10),
        };
        let spent = spent(bucket, 80);
        assert!((spent.burst - 10.0).abs() < 1e-9 && (spent.rate - 4.0).abs() < 1e-9);
        let left = |tokens| [("seller".to_owned(), tokens)];
        let buckets = [spent];
        assert_eq!(opens_at(&buckets, &left(0.0), noon()), None);
        assert_eq!(
            opens_at(&buckets, &left(-1.0), noon()),
            Some(noon() + TimeDelta::milliseconds(251))
        );
    }

    proptest! {
        /// Whoever takes a token as soon as there is one never exceeds what is published, in any
        /// stretch of time.
        #[test]
        fn no_stretch_of_time_has_more_requests_than_are_published(
            capacity in 1_u32..200,
            per in 1_u64..120,
            percent in 1_u32..=100,
        ) {
            let bucket = Bucket { key: String::new(), capacity, per: Duration::from_secs(per) };
            let spent = spent(bucket, percent);
            let (mut now, mut tokens) = (0.0_f64, spent.burst);
            let mut taken: Vec<f64> = Vec::new();
            for _ in 0..capacity * 3 {
                if tokens < 1.0 {
                    now += (1.0 - tokens) / spent.rate;
                    tokens = 1.0;
                }
                tokens -= 1.0;
                taken.push(now);
            }
            let most = usize::try_from(capacity).unwrap();
            for (index, first) in taken.iter().enumerate() {
                let end = first + Duration::from_secs(per).as_secs_f64() - 1e-6;
                let within = taken[index..].iter().take_while(|at| **at < end).count();
                prop_assert!(within <= most, "{within} of {capacity} in {per} s");
            }
        }
    }
}
