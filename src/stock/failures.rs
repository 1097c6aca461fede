//! What a request means for the requests after it: pure functions of what is stored.
//!
//! Whatever comes of a request, its rows are sent, found unchanged or skipped in the end: tries
//! are not limited. What is limited is how often a marketplace is asked: the wait doubles while
//! requests come to nothing, and after five in a row the marketplace is left in peace for longer,
//! and one batch finds out whether it is back.
//!
//! A request that a marketplace refuses as a whole is looked through by halves: the rows of which
//! one is bad are noted with the store, so that a restart goes on where the search was, and the
//! next request has the first half of them. If that goes through, the bad one is in the other
//! half; if not, in this one. So a thousand rows take twelve requests to find it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

use super::connector::FailureKind;
use super::gates::{Closed, OUTSTANDING_PAUSE, Rules};
use super::model::{GateReason, PushState, QueueId};
use super::queries::gates::Limits;
use crate::retry::{Backoff, Jitter};
use crate::timestamp::truncate;
use crate::webhooks::EventType;

/// After requests that may have been applied.
const FAILED: Backoff = Backoff {
    base: Duration::from_secs(5),
    max: Duration::from_mins(15),
};
/// After requests that came too soon, unless the marketplace says how long to wait.
const TOO_SOON: Backoff = Backoff {
    base: Duration::from_secs(10),
    max: Duration::from_mins(5),
};
/// After the marketplace's upload limit.
const UPLOAD_LIMIT: Backoff = Backoff {
    base: Duration::from_mins(1),
    max: Duration::from_hours(1),
};
/// How much a wait differs, by chance.
const SHARE: f64 = 0.2;
/// No marketplace is waited for longer than that because it says so.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(1);
/// After an answer about who calls, or one that nobody expects.
const LONG_PAUSE: TimeDelta = TimeDelta::minutes(15);
/// After so many failures in a row the marketplace is left in peace …
const BREAKS_AFTER: i32 = 5;
/// … for so long.
const BREAK: TimeDelta = TimeDelta::minutes(5);
/// A batch is not halved to fewer items.
const SMALLEST_BATCH: i32 = 50;
/// After so many successes a batch has its full size again.
const RESTORED_AFTER: i32 = 3;
/// A marketplace that refuses so many different requests as identical is left in peace.
const IDENTICAL_IN_A_ROW: i32 = 3;

/// The request: its rows, and how many items it had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub(super) rows: &'a [QueueId],
    pub(super) item_count: usize,
}

/// What a failed request means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Aftermath {
    /// Of its push: [`PushState::Unknown`] if it may have been applied, else
    /// [`PushState::Failed`].
    pub(super) state: PushState,
    /// Whether the marketplace had it, so that it may refuse the same one for a while.
    pub(super) was_received: bool,
    /// How the store's marketplace stands now.
    pub(super) limits: Limits,
    /// Why nothing more is sent for now.
    pub(super) closed: Option<Closed>,
    /// Whether all stores of the marketplace are meant.
    pub(super) is_for_address: bool,
    /// Whether its only row is bad.
    pub(super) blocks_row: bool,
    /// What subscribers hear.
    pub(super) event: Option<EventType>,
}

/// How the marketplace stands after a request that it took.
pub(super) fn after_success(
    before: &Limits,
    sent: Sent<'_>,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Limits {
    let successes = before.batch_successes + 1;
    let is_restored = before.batch_limit.is_some() && successes >= RESTORED_AFTER;
    let suspects = before.suspects.as_ref().map(|it| &it.0);
    let left = suspects.map(|suspects| {
        let is_left = |id: &&QueueId| !sent.rows.contains(id);
        suspects.iter().filter(is_left).copied().collect::<Vec<_>>()
    });
    Limits {
        consecutive_failures: 0,
        batch_limit: before.batch_limit.filter(|_| !is_restored),
        batch_successes: if before.batch_limit.is_none() || is_restored {
            0
        } else {
            successes
        },
        suspects: left.filter(|left| !left.is_empty()).map(Json),
        window_opens_at: rules
            .window
            .map_or(before.window_opens_at, |window| Some(now + window)),
        ..after_use(before, sent, rules, now)
    }
}

/// How it stands after it was told something, whatever came of it.
pub(super) fn after_use(
    before: &Limits,
    sent: Sent<'_>,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Limits {
    let items = i64::try_from(sent.item_count).unwrap_or(i64::MAX);
    Limits {
        last_sent_at: Some(now),
        backoff_until: None,
        backoff_reason: None,
        daily_date: Some(rules.day(now)),
        daily_used: rules.used_today(before, now).saturating_add(items),
        ..before.clone()
    }
}

/// What a request means that came to nothing.
pub(super) fn after_failure(
    kind: FailureKind,
    before: &Limits,
    sent: Sent<'_>,
    rules: &Rules,
    jitter: &Jitter,
    now: DateTime<Utc>,
) -> Aftermath {
    let failures = before.consecutive_failures.saturating_add(1);
    let after = |backoff: Backoff| {
        let delay = backoff.delay(failures.unsigned_abs());
        truncate(now + jitter.spread_by(SHARE, delay))
    };
    let closed = |reason, until| Some(Closed { reason, until });
    let refused = refused(before, sent, rules, now);
    let unknown = Aftermath {
        state: PushState::Unknown,
        was_received: true,
        limits: Limits {
            consecutive_failures: failures,
            batch_successes: 0,
            ..after_use(before, sent, rules, now)
        },
        closed: Some(wait(failures, after(FAILED), now)),
        event: Some(EventType::StockPushFailed),
        ..refused.clone()
    };
    let held = |reason, until| Aftermath {
        closed: closed(reason, until),
        ..refused.clone()
    };
    match kind {
        FailureKind::Ambiguous | FailureKind::RetryUnchanged => unknown,
        FailureKind::TooSlow => too_slow(unknown, sent),
        FailureKind::RateLimited {
            retry_after,
            is_for_address,
        } => Aftermath {
            closed: closed(
                GateReason::RateLimited,
                retry_after.map_or_else(|| after(TOO_SOON), |it| asked_for(it, now)),
            ),
            is_for_address,
            ..refused
        },
        FailureKind::TooManyOutstanding => held(GateReason::Outstanding, now + OUTSTANDING_PAUSE),
        FailureKind::UploadLimit => held(GateReason::RateLimited, after(UPLOAD_LIMIT)),
        FailureKind::DailyLimit => held(GateReason::DailyBudget, rules.next_day(now)),
        FailureKind::Identical => Aftermath {
            was_received: true,
            closed: closed(GateReason::IdenticalBody, after(FAILED))
                .filter(|_| failures >= IDENTICAL_IN_A_ROW),
            ..refused
        },
        FailureKind::BadRequest => bad_request(refused, before, sent, now),
        FailureKind::Unauthorized => Aftermath {
            event: Some(EventType::StockPushAuthFailed),
            ..held(GateReason::Auth, now + LONG_PAUSE)
        },
        FailureKind::Protocol { may_be_applied } => Aftermath {
            closed: closed(GateReason::Protocol, now + LONG_PAUSE),
            event: Some(EventType::StockPushFailed),
            ..if may_be_applied { unknown } else { refused }
        },
    }
}

/// What it means that a marketplace took nothing of a request: of what it was told today, that
/// counts for nothing.
fn refused(before: &Limits, sent: Sent<'_>, rules: &Rules, now: DateTime<Utc>) -> Aftermath {
    Aftermath {
        state: PushState::Failed,
        was_received: false,
        limits: Limits {
            consecutive_failures: before.consecutive_failures.saturating_add(1),
            batch_successes: 0,
            daily_date: before.daily_date,
            daily_used: before.daily_used,
            ..after_use(before, sent, rules, now)
        },
        closed: None,
        is_for_address: false,
        blocks_row: false,
        event: None,
    }
}

/// The end of a wait that a marketplace asks for.
fn asked_for(wait: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    truncate(now + wait.clamp(TimeDelta::zero(), LONGEST_WAIT))
}

fn too_slow(unknown: Aftermath, sent: Sent<'_>) -> Aftermath {
    Aftermath {
        limits: Limits {
            batch_limit: Some(halved(sent.item_count)),
            ..unknown.limits
        },
        ..unknown
    }
}

/// A row is bad. If it may be one of several, that says nothing about the marketplace.
fn bad_request(
    refused: Aftermath,
    before: &Limits,
    sent: Sent<'_>,
    now: DateTime<Utc>,
) -> Aftermath {
    let event = Some(EventType::StockPushFailed);
    if sent.rows.len() > 1 {
        return Aftermath {
            limits: Limits {
                suspects: Some(Json(sent.rows.to_vec())),
                consecutive_failures: before.consecutive_failures,
                batch_successes: before.batch_successes,
                ..refused.limits
            },
            event,
            ..refused
        };
    }
    let failures = refused.limits.consecutive_failures;
    Aftermath {
        limits: Limits {
            suspects: None,
            ..refused.limits
        },
        closed: (failures >= BREAKS_AFTER).then(|| wait(failures, now, now)),
        blocks_row: true,
        event,
        ..refused
    }
}

/// The wait after a failure, which is a longer one after many.
fn wait(failures: i32, until: DateTime<Utc>, now: DateTime<Utc>) -> Closed {
    let (reason, until) = if failures >= BREAKS_AFTER {
        (GateReason::Breaker, until.max(now + BREAK))
    } else {
        (GateReason::Backoff, until)
    };
    Closed { reason, until }
}

fn halved(items: usize) -> i32 {
    let half = i32::try_from(items / 2).unwrap_or(i32::MAX);
    half.max(SMALLEST_BATCH)
}

/// How many of the rows that are under suspicion go into the next request.
pub(super) fn half_of_suspects(rows: usize) -> usize {
    rows.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::stock::connector::Manners;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn rules() -> Rules {
        let manners = Manners {
            max_items: 1000,
            max_read_items: 50,
            quantity_cap: 20_000,
            results_for: None,
            refuses_identical: false,
            max_outstanding: None,
            spacing: None,
            daily_updates_per_listing: None,
            day_offset: 0,
        };
        Rules::plain(manners)
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

    fn ids(count: u128) -> Vec<QueueId> {
        (0..count).map(|id| QueueId(Uuid::from_u128(id))).collect()
    }

    fn fail(kind: FailureKind, before: &Limits, rows: &[QueueId]) -> Aftermath {
        let sent = Sent {
            rows,
            item_count: rows.len(),
        };
        after_failure(kind, before, sent, &rules(), &Jitter::seeded(7), noon())
    }

    fn failed_before(failures: i32) -> Limits {
        Limits {
            consecutive_failures: failures,
            ..limits()
        }
    }

    fn closed_for(aftermath: &Aftermath) -> (GateReason, f64) {
        let closed = aftermath.closed.unwrap();
        (closed.reason, (closed.until - noon()).as_seconds_f64())
    }

    #[test]
    fn the_wait_doubles_from_five_seconds_to_a_quarter_of_an_hour_and_the_fifth_breaks() {
        let exact = [
            5.0, 10.0, 20.0, 40.0, 300.0, 300.0, 320.0, 640.0, 900.0, 900.0,
        ];
        for (before, exact) in (0..).zip(exact) {
            let after = fail(FailureKind::Ambiguous, &failed_before(before), &ids(3));
            let (reason, seconds) = closed_for(&after);
            assert!(
                (exact * 0.8..=exact * 1.2).contains(&seconds),
                "{before}: {seconds}"
            );
            assert_eq!(reason == GateReason::Breaker, before >= 4);
            assert_eq!(after.state, PushState::Unknown);
            assert_eq!(after.limits.consecutive_failures, before + 1);
        }
    }

    #[test]
    fn a_marketplace_that_says_how_long_is_believed_and_breaks_nothing() {
        let limited = |retry_after| FailureKind::RateLimited {
            retry_after,
            is_for_address: false,
        };
        let asked = fail(
            limited(Some(TimeDelta::seconds(42))),
            &failed_before(9),
            &ids(1),
        );
        assert_eq!(closed_for(&asked).0, GateReason::RateLimited);
        assert!((closed_for(&asked).1 - 42.0).abs() < 0.001);
        assert_eq!(
            (asked.state, asked.was_received),
            (PushState::Failed, false)
        );
        let endless = fail(limited(Some(TimeDelta::days(400))), &limits(), &ids(1));
        assert!((closed_for(&endless).1 - 86_400.0).abs() < 0.001);
        let (_, first) = closed_for(&fail(limited(None), &limits(), &ids(1)));
        assert!((8.0..=12.0).contains(&first), "{first}");
        let (_, ninth) = closed_for(&fail(limited(None), &failed_before(8), &ids(1)));
        assert!((240.0..=360.0).contains(&ninth), "{ninth}");
    }

    #[test]
    fn a_batch_that_took_too_long_is_halved_and_restored_after_three_successes() {
        let halved = fail(FailureKind::TooSlow, &limits(), &ids(1000)).limits;
        assert_eq!(halved.batch_limit, Some(500));
        let least = fail(FailureKind::TooSlow, &limits(), &ids(60)).limits;
        assert_eq!(least.batch_limit, Some(50));
        let succeed = |before: &Limits| {
            let rows = ids(1);
            after_success(
                before,
                Sent {
                    rows: &rows,
                    item_count: 1,
                },
                &rules(),
                noon(),
            )
        };
        let twice = succeed(&succeed(&halved));
        assert_eq!((twice.batch_limit, twice.batch_successes), (Some(500), 2));
        let restored = succeed(&twice);
        assert_eq!((restored.batch_limit, restored.batch_successes), (None, 0));
        let failed_between = fail(FailureKind::Ambiguous, &twice, &ids(500)).limits;
        assert_eq!(failed_between.batch_successes, 0);
    }

    #[test]
    fn only_a_single_bad_row_is_blocked_and_five_of_them_break() {
        let whole = fail(FailureKind::BadRequest, &failed_before(4), &ids(4));
        assert_eq!((whole.blocks_row, whole.closed), (false, None));
        assert_eq!(whole.limits.suspects, Some(Json(ids(4))));
        assert_eq!(
            whole.limits.consecutive_failures, 4,
            "it says nothing of the marketplace"
        );
        let single = fail(FailureKind::BadRequest, &whole.limits, &ids(1));
        assert!(single.blocks_row);
        assert_eq!(single.limits.suspects, None);
        assert_eq!(closed_for(&single), (GateReason::Breaker, 300.0));
        assert_eq!(
            fail(FailureKind::BadRequest, &limits(), &ids(1)).closed,
            None
        );
    }

    #[test]
    fn who_calls_is_a_matter_of_a_quarter_of_an_hour() {
        let refused = fail(FailureKind::Unauthorized, &limits(), &ids(1));
        assert_eq!(closed_for(&refused), (GateReason::Auth, 900.0));
        assert_eq!(refused.event, Some(EventType::StockPushAuthFailed));
        let odd = FailureKind::Protocol {
            may_be_applied: true,
        };
        let odd = fail(odd, &limits(), &ids(1));
        assert_eq!(closed_for(&odd), (GateReason::Protocol, 900.0));
        assert_eq!(odd.state, PushState::Unknown);
    }

    #[test]
    fn a_refused_request_counts_for_no_budget_and_one_of_unknown_outcome_does() {
        let used = |kind| fail(kind, &limits(), &ids(7)).limits.daily_used;
        assert_eq!(used(FailureKind::Ambiguous), 7);
        assert_eq!(used(FailureKind::DailyLimit), 0);
        assert_eq!(used(FailureKind::BadRequest), 0);
    }

    /// How many requests it takes until every bad row is blocked and all others went through.
    fn search(count: u128, bad: &[QueueId]) -> usize {
        let (mut pending, mut state, mut requests) = (ids(count), limits(), 0);
        while !pending.is_empty() {
            let suspects = state.suspects.as_ref().map(|it| it.0.clone());
            let batch: Vec<QueueId> = match suspects {
                Some(suspects) => suspects[..half_of_suspects(suspects.len())].to_vec(),
                None => pending.clone(),
            };
            requests += 1;
            let sent = Sent {
                rows: &batch,
                item_count: batch.len(),
            };
            if batch.iter().any(|row| bad.contains(row)) {
                let after = fail(FailureKind::BadRequest, &state, &batch);
                if after.blocks_row {
                    pending.retain(|row| *row != batch[0]);
                }
                state = after.limits;
            } else {
                state = after_success(&state, sent, &rules(), noon());
                pending.retain(|row| !batch.contains(row));
            }
        }
        requests
    }

    #[test]
    fn one_bad_row_of_a_thousand_takes_thirteen_requests_to_be_rid_of() {
        // The last one sends what was left aside.
        let most = (0..1000_u128)
            .step_by(37)
            .map(|bad| search(1000, &ids(1000)[bad as usize..][..1]));
        assert!(
            most.clone().all(|requests| requests <= 13),
            "{:?}",
            most.collect::<Vec<_>>()
        );
    }

    proptest! {
        /// Without the request that sends what the search left aside, which is sent anyway.
        #[test]
        fn a_bad_row_costs_at_most_twice_the_logarithm_and_two(
            count in 2_u128..600,
            bad in prop::collection::btree_set(0_usize..600, 1..5),
        ) {
            let all = ids(count);
            let bad: Vec<QueueId> = bad.iter().filter_map(|bad| all.get(*bad).copied()).collect();
            let each = 2.0 * f64::from(u32::try_from(count).unwrap()).log2() + 2.0;
            let requests = f64::from(u32::try_from(search(count, &bad)).unwrap());
            let bad = f64::from(u32::try_from(bad.len()).unwrap());
            prop_assert!(requests <= each * bad + 1.0, "{requests} > {each} * {bad} + 1");
        }
    }
}
