//! What is done about an item that a marketplace refused: it is tried again, less and less often,
//! and after a while, or at once, blocked. Pure functions.

use chrono::{DateTime, TimeDelta, Utc};

use super::connector::{Rejection, RejectionClass};
use super::model::{PairState, ProductId};
use super::queries::pairs::PairEnd;

/// How long a refused item waits, by how often in a row it was refused.
const DELAYS: [TimeDelta; 5] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(2),
    TimeDelta::minutes(5),
    TimeDelta::minutes(15),
    TimeDelta::minutes(60),
];
/// How long a blocked pair waits, if nothing happens to it.
pub(super) const BLOCKED_RETRY: TimeDelta = TimeDelta::hours(6);
/// How often a blocked pair is tried at most, however often its quantity changes.
pub(super) const BLOCKED_PAUSE: TimeDelta = TimeDelta::minutes(15);

/// The marketplace has no name for the product; the code of a blocked pair.
pub(super) const MISSING_IDENTIFIER: &str = "MISSING_IDENTIFIER";
/// The marketplace holds the goods and counts them itself; the same.
pub(super) const FULFILLED_BY_MARKETPLACE: &str = "FULFILLED_BY_MARKETPLACE";
/// The marketplace refused a request with nothing else in it; the same.
pub(super) const REQUEST_REFUSED: &str = "REQUEST_REFUSED";
/// The listing is locked, for which nobody is blocked.
pub(super) const LISTING_LOCKED: &str = "LISTING_LOCKED";

/// What becomes of a pair whose item was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) end: PairEnd,
    /// When it is tried again.
    pub(super) due_at: DateTime<Utc>,
    /// Whether its subscribers hear of it.
    pub(super) is_told: bool,
}

/// What becomes of a pair whose item was refused, for the `reject_count`-th time in a row.
pub(super) fn after_rejection(
    product_id: ProductId,
    rejection: &Rejection,
    reject_count: i32,
    push_state: PairState,
    now: DateTime<Utc>,
) -> Refusal {
    let tries = usize::try_from(reject_count.max(1) - 1).unwrap_or(usize::MAX);
    let delay = match rejection.class {
        RejectionClass::Permanent => None,
        RejectionClass::Deferred(delay) => Some(delay),
        RejectionClass::Retryable | RejectionClass::Internal => DELAYS.get(tries).copied(),
    };
    // One that is blocked is blocked until it is taken.
    let is_blocked = delay.is_none() || push_state == PairState::Blocked;
    let due_at = now
        + if is_blocked {
            BLOCKED_RETRY
        } else {
            delay.unwrap_or(BLOCKED_RETRY)
        };
    let is_news = is_blocked && push_state != PairState::Blocked;
    Refusal {
        end: PairEnd {
            product_id,
            confirmed: None,
            reject_count,
            push_state: if is_blocked {
                PairState::Blocked
            } else {
                PairState::Ok
            },
            error_code: Some(rejection.code.clone()),
            error_message: Some(rejection.message.clone()),
            blocked_until: is_blocked.then_some(due_at),
        },
        due_at,
        is_told: is_news || matches!(rejection.class, RejectionClass::Deferred(_)),
    }
}

/// How a pair stands that the marketplace shows the quantity of.
pub(super) fn after_confirmation(product_id: ProductId, quantity: i64) -> PairEnd {
    PairEnd {
        product_id,
        confirmed: Some(quantity),
        reject_count: 0,
        push_state: PairState::Ok,
        error_code: None,
        error_message: None,
        blocked_until: None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn refused(class: RejectionClass, count: i32, state: PairState) -> Refusal {
        let rejection = Rejection {
            code: "NO".to_owned(),
            message: "no".to_owned(),
            class,
        };
        after_rejection(ProductId(Uuid::nil()), &rejection, count, state, noon())
    }

    fn minutes(refusal: &Refusal) -> i64 {
        (refusal.due_at - noon()).num_minutes()
    }

    #[test]
    fn an_item_is_tried_after_1_2_5_15_and_60_minutes_and_blocked_by_the_sixth_refusal() {
        let tries: Vec<_> = (1..=7)
            .map(|count| {
                let refusal = refused(RejectionClass::Retryable, count, PairState::Ok);
                (minutes(&refusal), refusal.end.push_state, refusal.is_told)
            })
            .collect();
        let (ok, blocked) = (PairState::Ok, PairState::Blocked);
        assert_eq!(
            tries,
            [
                (1, ok, false),
                (2, ok, false),
                (5, ok, false),
                (15, ok, false),
                (60, ok, false),
                (360, blocked, true),
                (360, blocked, true),
            ]
        );
    }

    #[test]
    fn what_never_passes_is_blocked_at_once_and_told_of_once() {
        let first = refused(RejectionClass::Permanent, 1, PairState::Ok);
        assert_eq!(
            (minutes(&first), first.end.push_state, first.is_told),
            (360, PairState::Blocked, true)
        );
        assert_eq!(first.end.blocked_until, Some(first.due_at));
        let again = refused(RejectionClass::Permanent, 2, PairState::Blocked);
        assert_eq!((minutes(&again), again.is_told), (360, false));
    }

    #[test]
    fn a_blocked_pair_stays_blocked_whatever_it_is_refused_for() {
        let refusal = refused(RejectionClass::Retryable, 1, PairState::Blocked);
        assert_eq!(
            (minutes(&refusal), refusal.end.push_state),
            (360, PairState::Blocked)
        );
    }

    #[test]
    fn what_is_deferred_waits_as_long_as_it_says_and_is_told_of() {
        let class = RejectionClass::Deferred(TimeDelta::minutes(60));
        let refusal = refused(class, 9, PairState::Ok);
        assert_eq!(
            (minutes(&refusal), refusal.end.push_state, refusal.is_told),
            (60, PairState::Ok, true)
        );
    }
}
