//! The last step of a delivery: what its request came to, written down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobs::OutboxId;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Next, distinct_of, served};
use crate::App;
use crate::batch::BatchError;
use crate::db::Tx;
use crate::schedule::slots::SLOT_BEFORE_PUSH;
use crate::webhooks::breaker;
use crate::webhooks::enqueue::claim_next;
use crate::webhooks::model::{DeliveryId, EndpointId};
use crate::webhooks::outbox::CallbackStatus;
use crate::webhooks::queries::deliveries::{
    DueDelivery, OutcomeRow, StateOfDelivery, StateOfEvent, WrittenDelivery,
};
use crate::webhooks::queries::{breaker as breakers, deliveries, endpoints, schedule};
use crate::webhooks::settle::{DeliveryState, EventState, settle};

/// The `inactive_reason` of an endpoint that said that it is no more; wire format.
const GONE: &str = "gone";

/// What a request came to.
#[derive(Clone, Debug)]
pub(in crate::webhooks) struct Answered {
    pub(in crate::webhooks) delivery: DueDelivery,
    pub(in crate::webhooks) row: OutcomeRow,
    /// The endpoint said that it is no more.
    pub(in crate::webhooks) is_gone: bool,
}

impl Answered {
    /// How the delivery stands by that.
    fn state(&self) -> DeliveryState {
        DeliveryState {
            endpoint_id: self.delivery.endpoint_id,
            status: self.row.status,
            attempt: self.row.failures,
            next_attempt_at: self.row.next_attempt_at,
            last_error: self.row.last_error.clone(),
        }
    }
}

/// What came of writing it down.
#[derive(Debug)]
pub(super) enum Record {
    Written(Written),
    /// The lease was lost.
    Lost,
    /// The event is locked by somebody else.
    Busy,
}

/// What was written of it.
#[derive(Debug)]
pub(in crate::webhooks) struct Written {
    pub(in crate::webhooks) status: CallbackStatus,
    pub(in crate::webhooks) next_retry_at: Option<DateTime<Utc>>,
    pub(in crate::webhooks) next: Next,
}

/// Writes what a request came to: the delivery, the attempt, the endpoint's record, and how the
/// event stands by that. Nothing, when the lease is lost.
pub(in crate::webhooks) async fn record(
    app: &Arc<App>,
    answered: Answered,
) -> Result<Option<Written>, BatchError> {
    let work = |app: Arc<App>, answered: Vec<_>| async move { record_all(&app, &answered).await };
    match app.deliveries.outcomes.run(app, answered, work).await? {
        Record::Written(written) => Ok(Some(written)),
        Record::Lost => Ok(None),
        Record::Busy => Err(BatchError::Busy),
    }
}

async fn record_all(app: &App, answered: &[Arc<Answered>]) -> sqlx::Result<Vec<Record>> {
    let events = distinct_of(answered.iter().map(|it| it.delivery.outbox_id));
    let mut tx = app.db.write().await?;
    let now = app.clock.now();
    let locked = schedule::lock_events(&mut tx, &events).await?;
    let missed = events.into_iter().filter(|id| !locked.contains(id));
    let missed: Vec<OutboxId> = missed.collect();
    let busy = schedule::there(&mut tx, &missed).await?;
    let of_locked = |it: &&Answered| locked.contains(&it.delivery.outbox_id);
    let answers = newest(answered.iter().map(|it| &**it).filter(of_locked).collect());
    let rows: Vec<&OutcomeRow> = answers.iter().map(|it| &it.row).collect();
    let written = deliveries::write_outcomes(&mut tx, &rows, now).await?;
    let written: HashMap<DeliveryId, WrittenDelivery> =
        written.into_iter().map(|it| (it.id, it)).collect();
    let ours = answers
        .into_iter()
        .filter_map(|it| Some((it, written.get(&it.delivery.id)?)));
    let ours: Vec<(&Answered, &WrittenDelivery)> = ours.collect();
    let rows: Vec<&OutcomeRow> = ours.iter().map(|(it, _)| &it.row).collect();
    deliveries::insert_attempts(&mut tx, &rows).await?;
    let states = settle_events(&mut tx, &ours, now).await?;
    keep_records(&mut tx, &ours, now).await?;
    let served = served(app, ours.iter().map(|(it, _)| &it.delivery), 1);
    let until = now + SLOT_BEFORE_PUSH;
    let mut next = claim_next(&mut tx, &served, until, now).await?;
    tx.save().await?;
    let recorded: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
    let records = answered.iter().map(|it| {
        let id = it.delivery.outbox_id;
        match states.get(&id).filter(|_| recorded.contains(&it.row.id)) {
            Some(state) => Record::Written(Written {
                status: state.status,
                next_retry_at: state.next_retry_at,
                next: Next {
                    events: next.remove(&it.delivery.endpoint_id).unwrap_or_default(),
                    until,
                },
            }),
            None if busy.contains(&id) => Record::Busy,
            None => Record::Lost,
        }
    });
    Ok(records.collect())
}

/// Of several answers of a delivery the newest: only that one can be under its lease still.
fn newest(mut answers: Vec<&Answered>) -> Vec<&Answered> {
    let mut newest: HashMap<DeliveryId, DateTime<Utc>> = HashMap::new();
    for it in &answers {
        let newest = newest.entry(it.delivery.id).or_default();
        *newest = it.row.started_at.max(*newest);
    }
    answers.retain(|it| newest.get(&it.delivery.id) == Some(&it.row.started_at));
    answers
}

/// Writes how events stand by what their deliveries are.
async fn settle_events(
    tx: &mut Tx,
    written: &[(&Answered, &WrittenDelivery)],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<OutboxId, EventState>> {
    // Most events have one subscriber, and how it stands was written just now.
    let (shared, alone): (Vec<_>, Vec<_>) = written.iter().partition(|(_, it)| it.has_others);
    let shared = distinct_of(shared.iter().map(|(it, _)| it.delivery.outbox_id));
    let mut states: HashMap<OutboxId, Vec<_>> = HashMap::new();
    for StateOfDelivery { outbox_id, state } in deliveries::delivery_states(tx, &shared).await? {
        states.entry(outbox_id).or_default().push(state);
    }
    for (it, _) in alone {
        states.insert(it.delivery.outbox_id, vec![it.state()]);
    }
    let settled = |(id, states): (OutboxId, Vec<_>)| StateOfEvent {
        id,
        state: settle(&states),
    };
    let states: Vec<StateOfEvent> = states.into_iter().map(settled).collect();
    deliveries::write_event_states(tx, &states, now).await?;
    Ok(states.into_iter().map(|it| (it.id, it.state)).collect())
}

/// What requests say of their endpoints, in the order of their ids.
async fn keep_records(
    tx: &mut Tx,
    written: &[(&Answered, &WrittenDelivery)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut by_endpoint: BTreeMap<EndpointId, Vec<&Answered>> = BTreeMap::new();
    let mut failing = HashSet::new();
    for (answered, written) in written {
        let endpoint = answered.delivery.endpoint_id;
        by_endpoint.entry(endpoint).or_default().push(answered);
        if written.was_failing {
            failing.insert(endpoint);
        }
    }
    for (endpoint, answered) in by_endpoint {
        for it in answered {
            if it.row.status != CallbackStatus::Success {
                failing.insert(endpoint);
                keep_failure(tx, it, now).await?;
            } else if failing.remove(&endpoint) && breakers::count_success(tx, endpoint).await? {
                info!(event = "webhook_resumed", endpointId = %endpoint, "webhook {endpoint} is back");
            }
        }
    }
    Ok(())
}

async fn keep_failure(tx: &mut Tx, answered: &Answered, now: DateTime<Utc>) -> sqlx::Result<()> {
    let endpoint = answered.delivery.endpoint_id;
    let is_probe = breaker::is_tripped(answered.delivery.consecutive_failures);
    let failures = breakers::count_failure(tx, endpoint, is_probe, breaker::THRESHOLD).await?;
    if let Some(pause) = breaker::pause(failures, is_probe) {
        let until = now + pause;
        breakers::open_breaker(tx, endpoint, until).await?;
        warn!(event = "webhook_paused", endpointId = %endpoint, consecutiveFailures = failures, until = %until, "webhook {endpoint} failed {failures} times in a row and is left in peace");
    }
    if answered.is_gone && endpoints::deactivate(tx, endpoint, GONE, now).await? {
        warn!(event = "webhook_gone", endpointId = %endpoint, "webhook {endpoint} says that it is no more: nothing is sent to it until it is activated again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(delivery: u128, second: i64) -> Answered {
        let id = DeliveryId(Uuid::from_u128(delivery));
        let started_at = DateTime::from_timestamp(second, 0).unwrap();
        Answered {
            delivery: DueDelivery {
                id,
                outbox_id: OutboxId(Uuid::nil()),
                endpoint_id: EndpointId(Uuid::nil()),
                attempt: 0,
                target_url: String::new(),
                is_ordered: false,
                consecutive_failures: 0,
            },
            row: OutcomeRow {
                id: Uuid::from_u128(1),
                delivery_id: id,
                lease_token: Uuid::from_u128(2),
                status: CallbackStatus::Success,
                failures: 0,
                next_attempt_at: None,
                last_error: None,
                delivered_at: None,
                http_status: None,
                attempt: 1,
                started_at,
                duration_ms: 0,
                error: None,
                response: None,
            },
            is_gone: false,
        }
    }

    /// The database was away until the lease of the first had ended, and another one was taken.
    #[test]
    fn of_two_answers_of_a_delivery_the_newest_counts() {
        let answers = [answer(1, 5), answer(2, 7), answer(1, 30), answer(3, 6)];
        let newest = newest(answers.iter().collect());
        let newest: Vec<_> = newest
            .iter()
            .map(|it| (it.delivery.id.0.as_u128(), it.row.started_at.timestamp()))
            .collect();
        assert_eq!(newest, [(2, 7), (1, 30), (3, 6)]);
    }
}
