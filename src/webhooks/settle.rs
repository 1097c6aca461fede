//! What an event is, by what its deliveries are: a pure function.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::model::EndpointId;
use super::outbox::CallbackStatus;
use crate::db::json_instant;

/// Characters of the reasons of an event.
const MAX_ERROR: usize = 1000;

/// How one delivery of an event stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct DeliveryState {
    pub(super) endpoint_id: EndpointId,
    pub(super) status: CallbackStatus,
    pub(super) attempt: i32,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) last_error: Option<String>,
}

/// How an event stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EventState {
    /// Pending while anybody is owed it; then failed if anybody did not get it.
    pub(super) status: CallbackStatus,
    /// Failures of the delivery that failed most often.
    pub(super) attempt: i32,
    /// When the next delivery is due; none when one is due already, or none is left.
    #[serde(serialize_with = "json_instant::option")]
    pub(super) next_retry_at: Option<DateTime<Utc>>,
    /// What went wrong with those who have not got it.
    pub(super) last_error: Option<String>,
}

/// How an event with these deliveries stands.
pub(super) fn settle(deliveries: &[DeliveryState]) -> EventState {
    let with = |status| move |it: &&DeliveryState| it.status == status;
    let pending: Vec<_> = deliveries
        .iter()
        .filter(with(CallbackStatus::Pending))
        .collect();
    let status = if !pending.is_empty() {
        CallbackStatus::Pending
    } else if deliveries
        .iter()
        .any(|it| it.status == CallbackStatus::Failed)
    {
        CallbackStatus::Failed
    } else {
        CallbackStatus::Success
    };
    let is_due = pending.iter().any(|it| it.next_attempt_at.is_none());
    let next = pending.iter().filter_map(|it| it.next_attempt_at).min();
    EventState {
        status,
        attempt: deliveries.iter().map(|it| it.attempt).max().unwrap_or(0),
        next_retry_at: next.filter(|_| !is_due),
        last_error: reasons(deliveries),
    }
}

/// `<endpoint>: HTTP 500 Internal Server Error; <endpoint>: timeout`
fn reasons(deliveries: &[DeliveryState]) -> Option<String> {
    let reasons: Vec<String> = deliveries
        .iter()
        .filter(|it| it.status != CallbackStatus::Success)
        .filter_map(|it| Some(format!("{}: {}", it.endpoint_id, it.last_error.as_ref()?)))
        .collect();
    let text: String = reasons.join("; ").chars().take(MAX_ERROR).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(seconds, 0)
    }

    fn delivery(
        status: CallbackStatus,
        attempt: i32,
        next_attempt_at: Option<DateTime<Utc>>,
        error: Option<&str>,
    ) -> DeliveryState {
        DeliveryState {
            endpoint_id: EndpointId(Uuid::from_u128(1)),
            status,
            attempt,
            next_attempt_at,
            last_error: error.map(ToOwned::to_owned),
        }
    }

    fn success() -> DeliveryState {
        delivery(CallbackStatus::Success, 1, None, None)
    }

    fn waiting(next_attempt_at: Option<DateTime<Utc>>) -> DeliveryState {
        let failures = i32::from(next_attempt_at.is_some());
        let error = next_attempt_at.map(|_| "timeout");
        delivery(CallbackStatus::Pending, failures, next_attempt_at, error)
    }

    fn failed() -> DeliveryState {
        delivery(
            CallbackStatus::Failed,
            3,
            None,
            Some("HTTP 500 Internal Server Error"),
        )
    }

    #[test]
    fn an_event_is_pending_while_anybody_is_owed_it_and_then_fails_with_anybody() {
        let status = |deliveries: &[DeliveryState]| settle(deliveries).status;
        assert_eq!(status(&[]), CallbackStatus::Success);
        assert_eq!(status(&[success(), success()]), CallbackStatus::Success);
        assert_eq!(status(&[failed(), waiting(None)]), CallbackStatus::Pending);
        assert_eq!(status(&[failed(), success()]), CallbackStatus::Failed);
    }

    #[test]
    fn an_event_is_due_when_the_first_of_its_deliveries_is() {
        let next = |deliveries: &[DeliveryState]| settle(deliveries).next_retry_at;
        assert_eq!(next(&[waiting(at(60)), waiting(at(30)), success()]), at(30));
        assert_eq!(next(&[waiting(at(60)), waiting(None)]), None);
        assert_eq!(next(&[failed(), success()]), None);
    }

    #[test]
    fn the_reasons_are_those_of_who_has_not_got_it() {
        let id = Uuid::from_u128(1);
        let state = settle(&[failed(), success(), waiting(at(60))]);
        assert_eq!(
            state.last_error.unwrap(),
            format!("{id}: HTTP 500 Internal Server Error; {id}: timeout")
        );
        assert_eq!(state.attempt, 3);
        assert_eq!(settle(&[success()]).last_error, None);
        let many = vec![failed(); 40];
        assert_eq!(settle(&many).last_error.unwrap().chars().count(), MAX_ERROR);
    }

    fn any_delivery() -> impl Strategy<Value = DeliveryState> {
        prop_oneof![
            Just(success()),
            Just(failed()),
            (0..9_i64).prop_map(|second| waiting((second > 0).then(|| at(second)).flatten())),
        ]
    }

    proptest! {
        #[test]
        fn no_order_of_deliveries_matters_and_nobody_who_waits_is_forgotten(
            deliveries in prop::collection::vec(any_delivery(), 0..6),
            turn in 0..6_usize,
        ) {
            let state = settle(&deliveries);
            let mut turned = deliveries.clone();
            turned.rotate_left(turn.min(deliveries.len()));
            let same = settle(&turned);
            prop_assert_eq!(state.status, same.status);
            prop_assert_eq!(state.next_retry_at, same.next_retry_at);
            prop_assert_eq!(state.attempt, same.attempt);
            let waits = |it: &DeliveryState| it.status == CallbackStatus::Pending;
            prop_assert_eq!(state.status == CallbackStatus::Pending, deliveries.iter().any(waits));
            for delivery in deliveries.iter().filter(|it| waits(it)) {
                // None is now, which is before every instant.
                prop_assert!(state.next_retry_at <= delivery.next_attempt_at);
            }
        }
    }
}
