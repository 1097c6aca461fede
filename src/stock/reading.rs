//! What it means that a marketplace shows a quantity: a pure function.

use super::api_logs::message;
use super::connector::Reading;
use super::model::{PairState, PushId};
use super::queries::pairs::Observed;
use super::queries::quantities::Pair;
use super::rejections::{FULFILLED_BY_MARKETPLACE, LISTING_LOCKED};

/// What was found out about a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) observed: Observed,
    /// The marketplace shows another quantity than it should.
    pub(super) is_wrong: bool,
    /// It shows another one than it was known to.
    pub(super) has_drifted: bool,
}

/// What it means that a marketplace shows this of a pair, which may have waited for a push; none if
/// it says nothing of it.
pub(super) fn find(
    pair: &Pair,
    reading: &Reading,
    quantity_cap: i64,
    awaited: Option<PushId>,
) -> Option<Finding> {
    let code = pair.push_error_code.as_deref();
    let was_theirs = code == Some(FULFILLED_BY_MARKETPLACE);
    let was_locked = code == Some(LISTING_LOCKED);
    let observed = Observed {
        product_id: pair.product_id,
        shown: reading.quantity,
        push_state: None,
        error_code: None,
        error_message: None,
        in_flight_push_id: pair.in_flight_push_id.filter(|push| Some(*push) == awaited),
        last_pushed_at: pair.last_pushed_at,
        last_confirmed_quantity: pair.last_confirmed_quantity,
    };
    if reading.is_fulfilled_by_marketplace {
        return Some(Finding {
            observed: Observed {
                push_state: Some(PairState::Blocked),
                error_code: Some(FULFILLED_BY_MARKETPLACE.to_owned()),
                error_message: Some("the marketplace holds the goods and counts them".to_owned()),
                ..observed
            },
            is_wrong: false,
            has_drifted: false,
        });
    }
    let shown = reading.quantity?;
    let is_unblocked = was_theirs || pair.push_state == PairState::Ok;
    let is_locked = !reading.lock_reasons.is_empty();
    let is_news = was_theirs || (was_locked && !is_locked);
    Some(Finding {
        observed: Observed {
            push_state: is_news.then_some(PairState::Ok),
            error_code: is_locked.then(|| LISTING_LOCKED.to_owned()),
            error_message: is_locked.then(|| message(&reading.lock_reasons.join(", "))),
            ..observed
        },
        // One that is blocked has a row that waits for its next try.
        is_wrong: is_unblocked && shown != pair.quantity.clamp(0, quantity_cap),
        has_drifted: pair
            .last_confirmed_quantity
            .is_some_and(|known| known != shown),
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::stock::model::{ProductId, ProductType};

    fn pair() -> Pair {
        Pair {
            product_id: ProductId(Uuid::from_u128(1)),
            product_type: ProductType::Simple,
            quantity: 30_000,
            sku: None,
            barcode: None,
            external_sku: None,
            external_barcode: None,
            external_listing_id: None,
            external_location_id: None,
            is_listed: true,
            last_confirmed_quantity: Some(20_000),
            in_flight_push_id: None,
            last_pushed_quantity: None,
            last_pushed_at: None,
            push_state: PairState::Ok,
            push_error_code: None,
            blocked_until: None,
            reject_count: 0,
        }
    }

    fn reading(quantity: i64) -> Reading {
        Reading {
            quantity: Some(quantity),
            ..Reading::default()
        }
    }

    fn found(pair: &Pair, reading: &Reading) -> Finding {
        find(pair, reading, 20_000, None).unwrap()
    }

    #[test]
    fn what_the_marketplace_shows_is_compared_with_what_it_can_be_told() {
        let right = found(&pair(), &reading(20_000));
        assert_eq!((right.is_wrong, right.has_drifted), (false, false));
        let wrong = found(&pair(), &reading(7));
        assert_eq!((wrong.is_wrong, wrong.has_drifted), (true, true));
        assert_eq!(wrong.observed.shown, Some(7));
        let unknown = Pair {
            last_confirmed_quantity: None,
            ..pair()
        };
        assert!(
            !found(&unknown, &reading(7)).has_drifted,
            "nobody believed anything"
        );
        assert_eq!(find(&pair(), &Reading::default(), 20_000, None), None);
    }

    #[test]
    fn what_the_marketplace_counts_itself_is_left_to_it_and_taken_back_when_it_stops() {
        let theirs = Reading {
            is_fulfilled_by_marketplace: true,
            ..reading(7)
        };
        let finding = found(&pair(), &theirs);
        assert!(!finding.is_wrong);
        assert_eq!(finding.observed.push_state, Some(PairState::Blocked));
        let blocked = Pair {
            push_state: PairState::Blocked,
            push_error_code: finding.observed.error_code,
            ..pair()
        };
        let back = found(&blocked, &reading(7));
        assert!(back.is_wrong);
        assert_eq!(back.observed.push_state, Some(PairState::Ok));
    }

    #[test]
    fn a_lock_is_reported_and_forgotten_when_it_is_gone() {
        let reasons = vec!["FraudLock".to_owned(), "StockLock".to_owned()];
        let locked = Reading {
            lock_reasons: reasons,
            ..reading(20_000)
        };
        let finding = found(&pair(), &locked);
        assert_eq!(
            finding.observed.push_state, None,
            "it is pushed all the same"
        );
        assert_eq!(
            finding.observed.error_message.as_deref(),
            Some("FraudLock, StockLock")
        );
        let reported = Pair {
            push_error_code: finding.observed.error_code,
            ..pair()
        };
        let open = found(&reported, &reading(20_000)).observed;
        assert_eq!(
            (open.push_state, open.error_code),
            (Some(PairState::Ok), None)
        );
    }

    #[test]
    fn a_blocked_pair_is_not_told_because_of_what_is_shown() {
        let blocked = Pair {
            push_state: PairState::Blocked,
            ..pair()
        };
        let finding = found(&blocked, &reading(7));
        assert_eq!(
            (finding.is_wrong, finding.observed.push_state),
            (false, None)
        );
    }
}
