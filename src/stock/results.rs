//! What a marketplace's word on each item means for its pair and for the push: the same whether
//! it comes at once or later. Pure functions.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::connector::{ItemOutcome, RejectionClass};
use super::model::{ItemState, PairState, ProductId, PushState, QueueId, Reason};
use super::queries::claim::Requeued;
use super::queries::pairs::PairEnd;
use super::queries::pushes::ItemEnd;
use super::rejections::{after_confirmation, after_rejection};

/// How long an item waits that the marketplace said nothing about.
pub(super) const UNKNOWN_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// An item that a marketplace said something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) element_no: i32,
    pub(super) product_id: ProductId,
    pub(super) quantity: i64,
    /// Of the row that it was sent for; none: it kept another one company.
    pub(super) reason: Option<Reason>,
    pub(super) priority: Option<i32>,
    pub(super) queued_at: Option<DateTime<Utc>>,
    /// How its pair stood.
    pub(super) reject_count: i32,
    pub(super) push_state: PairState,
}

/// What the marketplace's word means.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Digest {
    /// How the pairs stand, in the order of products.
    pub(super) pairs: Vec<PairEnd>,
    pub(super) items: Vec<ItemEnd>,
    /// What has to be told again, in the order of products.
    pub(super) again: Vec<Again>,
    /// Items that a subscriber hears of.
    pub(super) blocked: Vec<serde_json::Value>,
    pub(super) confirmed: usize,
    pub(super) rejected: usize,
    pub(super) unknown: usize,
    /// Rejections that are a defect of ours.
    pub(super) defects: Vec<String>,
    /// How long each confirmed row took.
    pub(super) latencies: Vec<TimeDelta>,
}

/// A product that has to be told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) product_id: ProductId,
    pub(super) reason: Reason,
    pub(super) priority: i32,
    pub(super) force: bool,
    pub(super) due_at: DateTime<Utc>,
    /// Whether it was refused; else nobody knows what became of it.
    pub(super) is_rejected: bool,
}

impl Again {
    /// As a row of the queue.
    pub(super) fn row(&self, id: QueueId) -> Requeued {
        Requeued {
            id,
            product_id: self.product_id,
            reason: self.reason,
            priority: self.priority,
            force: self.force,
            next_attempt_at: self.due_at,
        }
    }
}

/// What the marketplace's word on each item means; what it said nothing about is unknown.
pub(super) fn digest(told: &[Told], outcomes: &[ItemOutcome], now: DateTime<Utc>) -> Digest {
    let mut digest = Digest::default();
    for (index, item) in told.iter().enumerate() {
        match outcomes.get(index).unwrap_or(&ItemOutcome::Unknown) {
            ItemOutcome::Confirmed => digest.confirm(item, now),
            ItemOutcome::Rejected(rejection) => {
                let count = item.reject_count.saturating_add(1);
                let refusal =
                    after_rejection(item.product_id, rejection, count, item.push_state, now);
                digest.rejected += 1;
                digest.items.push(ItemEnd {
                    element_no: item.element_no,
                    state: ItemState::Rejected,
                    errors: Some(json!([
                        { "code": rejection.code, "message": rejection.message }
                    ])),
                });
                digest.again.push(Again {
                    is_rejected: true,
                    force: false,
                    due_at: refusal.due_at,
                    ..again(item)
                });
                if refusal.is_told {
                    digest.blocked.push(json!({
                        "productId": item.product_id,
                        "code": rejection.code,
                        "message": rejection.message,
                        "isBlocked": refusal.end.push_state == PairState::Blocked,
                        "retryAt": refusal.due_at,
                    }));
                }
                if rejection.class == RejectionClass::Internal {
                    digest
                        .defects
                        .push(format!("{}: {}", rejection.code, rejection.message));
                }
                digest.pairs.push(refusal.end);
            }
            ItemOutcome::Unknown => digest.doubt(item, now),
        }
    }
    digest.pairs.sort_unstable_by_key(|pair| pair.product_id);
    digest.again.sort_unstable_by_key(|again| again.product_id);
    digest
}

/// For the reason and as urgent as before.
fn again(item: &Told) -> Again {
    let reason = item.reason.unwrap_or(Reason::Resync);
    Again {
        product_id: item.product_id,
        reason,
        priority: item.priority.unwrap_or(reason.priority()),
        force: true,
        due_at: DateTime::UNIX_EPOCH,
        is_rejected: false,
    }
}

impl Digest {
    fn confirm(&mut self, item: &Told, now: DateTime<Utc>) {
        self.confirmed += 1;
        self.latencies.extend(item.queued_at.map(|at| now - at));
        self.pairs
            .push(after_confirmation(item.product_id, item.quantity));
        self.items.push(ItemEnd {
            element_no: item.element_no,
            state: ItemState::Confirmed,
            errors: None,
        });
    }

    fn doubt(&mut self, item: &Told, now: DateTime<Utc>) {
        self.unknown += 1;
        self.pairs.push(PairEnd {
            confirmed: None,
            reject_count: item.reject_count,
            push_state: item.push_state,
            ..after_confirmation(item.product_id, item.quantity)
        });
        self.items.push(ItemEnd {
            element_no: item.element_no,
            state: ItemState::Unknown,
            errors: None,
        });
        self.again.push(Again {
            due_at: now + UNKNOWN_PAUSE,
            ..again(item)
        });
    }

    /// How the push stands.
    pub(super) fn state(&self) -> PushState {
        match (self.confirmed, self.rejected, self.unknown) {
            (_, 0, 0) => PushState::Confirmed,
            (0, _, 0) => PushState::Failed,
            (0, _, _) => PushState::Unknown,
            _ => PushState::Partial,
        }
    }

    /// How many items were refused.
    pub(super) fn failed_item_count(&self) -> i32 {
        i32::try_from(self.rejected).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::stock::connector::Rejection;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn told(element_no: i32) -> Told {
        Told {
            element_no,
            // From the last product to the first.
            product_id: ProductId(Uuid::from_u128(100 - u128::try_from(element_no).unwrap())),
            quantity: 5,
            reason: Some(Reason::OrderCreated),
            priority: Some(100),
            queued_at: Some(noon() - TimeDelta::seconds(3)),
            reject_count: 0,
            push_state: PairState::Ok,
        }
    }

    fn refused() -> ItemOutcome {
        ItemOutcome::Rejected(Rejection {
            code: "NO".to_owned(),
            message: "no".to_owned(),
            class: RejectionClass::Retryable,
        })
    }

    #[test]
    fn each_item_has_its_own_end_and_pairs_are_in_the_order_of_products() {
        let items = [told(1), told(2), told(3)];
        let digest = digest(&items, &[ItemOutcome::Confirmed, refused()], noon());
        assert_eq!(
            (digest.confirmed, digest.rejected, digest.unknown),
            (1, 1, 1)
        );
        assert_eq!(digest.state(), PushState::Partial);
        assert!(digest.pairs.is_sorted_by_key(|pair| pair.product_id));
        assert!(digest.again.is_sorted_by_key(|again| again.product_id));
        let states: Vec<_> = digest.items.iter().map(|item| item.state).collect();
        assert_eq!(
            states,
            [
                ItemState::Confirmed,
                ItemState::Rejected,
                ItemState::Unknown
            ],
            "what nothing was said about is unknown"
        );
        let again: Vec<_> = digest
            .again
            .iter()
            .map(|it| (it.force, it.priority))
            .collect();
        assert_eq!(again, [(true, 100), (false, 100)]);
        assert_eq!(digest.latencies, [TimeDelta::seconds(3)]);
    }

    #[test]
    fn a_push_is_what_its_items_are() {
        let state = |outcomes: &[ItemOutcome]| {
            let items: Vec<Told> = (1..).take(outcomes.len()).map(told).collect();
            digest(&items, outcomes, noon()).state()
        };
        let (yes, no, what) = (ItemOutcome::Confirmed, refused(), ItemOutcome::Unknown);
        assert_eq!(state(&[yes.clone(), yes.clone()]), PushState::Confirmed);
        assert_eq!(state(&[no.clone(), no.clone()]), PushState::Failed);
        assert_eq!(state(&[what.clone(), what.clone()]), PushState::Unknown);
        assert_eq!(state(&[yes.clone(), no.clone()]), PushState::Partial);
        assert_eq!(state(&[yes, what.clone()]), PushState::Partial);
        assert_eq!(state(&[no, what]), PushState::Unknown);
    }
}
