//! What deliveries want of the database, done together for all that want it at the same moment:
//! one transaction for each step, whatever the event and its endpoints.
//!
//! Alone each delivery would be some twenty round trips and four commits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::OutboxId;
use tracing::{info, warn};

use super::breaker;
use super::enqueue::{Served, claim_next, push_next};
use super::lanes::{Lane, width};
use super::model::{DeliveryId, EndpointId};
use super::outbox::CallbackStatus;
use super::queries::deliveries::{
    DeliveryLease, DueDelivery, OutcomeRow, OwedEvent, StateOfDelivery, StateOfEvent,
};
use super::queries::schedule::EndedEvent;
use super::queries::{breaker as breakers, deliveries, endpoints, schedule};
use super::secrets::{Signing, signing_secrets};
use super::settle::settle;
use crate::App;
use crate::batch::{BatchError, Batcher};
use crate::db::Tx;
use crate::schedule::slots::SLOT_BEFORE_PUSH;

/// Writes at the same time. Two would make smaller batches, and want the same events next.
const WRITES: usize = 1;
/// How much longer than a request its lease lasts: time to write down what came of it.
pub(super) const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);
/// Events that are enqueued when one has left its lane: more than one, so that an endpoint that
/// is back is served by all its lanes soon.
const BROUGHT_AT_ONCE: usize = 2;

/// The `inactive_reason` of an endpoint that said that it is no more; wire format.
const GONE: &str = "gone";

/// Steps that many deliveries make at the same time; one a process.
#[derive(Debug)]
pub(crate) struct Steps {
    takes: Batcher<OutboxId, Option<Taken>>,
    outcomes: Batcher<Answered, Option<Written>>,
    turns: Batcher<DueDelivery, ()>,
    pushes: Batcher<Next, ()>,
    ends: Batcher<OutboxId, Option<EndedEvent>>,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            takes: Batcher::new(WRITES),
            outcomes: Batcher::new(WRITES),
            turns: Batcher::new(WRITES),
            pushes: Batcher::new(WRITES),
            ends: Batcher::new(WRITES),
        }
    }
}

/// An event, and what may be sent of it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) event: OwedEvent,
    /// Ours to send.
    pub(super) parcels: Vec<Parcel>,
    /// Due, but their endpoints have enough to do.
    pub(super) crowded: Vec<DueDelivery>,
    /// Sent by somebody else, whose endpoints somebody was turned away from meanwhile.
    pub(super) missed: Vec<DueDelivery>,
}

/// A delivery that is ours to send.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) delivery: DueDelivery,
    pub(super) lease: DeliveryLease,
    pub(super) signing: Signing,
    pub(super) lane: Lane,
}

/// What a request came to.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) delivery: DueDelivery,
    pub(super) row: OutcomeRow,
    /// The endpoint said that it is no more.
    pub(super) is_gone: bool,
}

/// What was written of it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) status: CallbackStatus,
    pub(super) next_retry_at: Option<DateTime<Utc>>,
    pub(super) next: Next,
}

/// What the endpoint of a delivery is owed next; of several answers of an endpoint the first has
/// it. To be pushed, once the lane is left.
#[derive(Debug)]
pub(super) struct Next {
    events: Vec<OutboxId>,
    /// Until when their slots are taken.
    until: DateTime<Utc>,
}

/// Looks what of an event is due, and takes the leases of what there is room for. Nothing, if there
/// is no such event.
pub(super) async fn take(app: &Arc<App>, id: OutboxId) -> Result<Option<Taken>, BatchError> {
    let work_app = app.clone();
    let work = move |ids: Vec<Arc<OutboxId>>| {
        let app = work_app.clone();
        async move { take_all(&app, &ids).await }
    };
    app.deliveries.takes.run(id, work).await
}

async fn take_all(app: &App, asked: &[Arc<OutboxId>]) -> sqlx::Result<Vec<Option<Taken>>> {
    let now = app.clock.now();
    let ids = distinct(asked);
    let mut tx = app.db.write().await?;
    let events = deliveries::owed_events(&mut tx, &ids).await?;
    let due = deliveries::due_deliveries(&mut tx, &ids, now).await?;
    let taken = events.into_iter().map(|event| {
        let taken = Taken {
            event,
            parcels: Vec::new(),
            crowded: Vec::new(),
            missed: Vec::new(),
        };
        (taken.event.id, taken)
    });
    let mut taken: HashMap<OutboxId, Taken> = taken.collect();
    let mut admitted = Vec::new();
    for delivery in due {
        let lane = app
            .lanes
            .enter(delivery.endpoint_id, width(delivery.is_ordered));
        match (lane, taken.get_mut(&delivery.outbox_id)) {
            (Some(lane), Some(_)) => admitted.push((delivery, lane)),
            (None, Some(taken)) => taken.crowded.push(delivery),
            (_, None) => {}
        }
    }
    if !admitted.is_empty() {
        let events = taken.values().map(|taken| &taken.event);
        let leases = take_leases(app, &mut tx, events, &admitted, now).await?;
        let endpoints = admitted.iter().filter(|(it, _)| leases.of.contains(&it.id));
        let endpoints = distinct_of(endpoints.map(|(it, _)| it.endpoint_id));
        let signing = signing_secrets(app, &mut tx, &endpoints, now).await?;
        for (delivery, lane) in admitted {
            let Some(taken) = taken.get_mut(&delivery.outbox_id) else {
                continue;
            };
            match signing.get(&delivery.endpoint_id) {
                Some(signing) if leases.of.contains(&delivery.id) => taken.parcels.push(Parcel {
                    delivery,
                    lease: leases.lease,
                    signing: signing.clone(),
                    lane,
                }),
                _ if lane.leave() => taken.missed.push(delivery),
                _ => {}
            }
        }
    }
    tx.save().await?;
    // Of two jobs of an event at the same time the first has it.
    Ok(asked.iter().map(|id| taken.remove(id)).collect())
}

/// Leases that were taken.
struct Leases {
    lease: DeliveryLease,
    of: HashSet<DeliveryId>,
}

async fn take_leases(
    app: &App,
    tx: &mut Tx,
    events: impl Iterator<Item = &OwedEvent>,
    admitted: &[(DueDelivery, Lane)],
    now: DateTime<Utc>,
) -> sqlx::Result<Leases> {
    let lease = DeliveryLease {
        token: app.ids.new_id(now),
        expires_at: now + app.settings.callback.timeout + LEASE_MARGIN,
    };
    let (until, at_most) = (lease.expires_at, lease.expires_at + SLOT_BEFORE_PUSH);
    let is_held = |it: &OwedEvent| {
        it.enqueued_until
            .is_some_and(|slot| (until..=at_most).contains(&slot))
    };
    let loose: Vec<OutboxId> = events.filter(|it| !is_held(it)).map(|it| it.id).collect();
    if !loose.is_empty() {
        schedule::hold_slots(tx, &loose, until).await?;
    }
    let wanted: Vec<&DueDelivery> = admitted.iter().map(|(delivery, _)| delivery).collect();
    let refused = take_probes(tx, &wanted, lease, now).await?;
    let wanted = wanted.iter().map(|it| it.id);
    let wanted: Vec<DeliveryId> = wanted.filter(|id| !refused.contains(id)).collect();
    let of = deliveries::claim_deliveries(tx, &wanted, lease, now).await?;
    Ok(Leases { lease, of })
}

/// Takes the one chance of each endpoint that was left in peace; returns the deliveries that may
/// not be sent, because another one has it.
async fn take_probes(
    tx: &mut Tx,
    wanted: &[&DueDelivery],
    lease: DeliveryLease,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<DeliveryId>> {
    let tripped = wanted
        .iter()
        .filter(|it| breaker::is_tripped(it.consecutive_failures));
    let mut tripped: Vec<&DueDelivery> = tripped.copied().collect();
    tripped.sort_by_key(|it| (it.endpoint_id, it.id));
    let mut refused = HashSet::new();
    for delivery in tripped {
        if !breakers::take_probe(tx, delivery.endpoint_id, lease.expires_at, now).await? {
            refused.insert(delivery.id);
        }
    }
    Ok(refused)
}

/// Writes what a request came to: the delivery, the attempt, the endpoint's record, and how the
/// event stands by that. Nothing, when the lease is lost.
pub(super) async fn record(
    app: &Arc<App>,
    answered: Answered,
) -> Result<Option<Written>, BatchError> {
    let work_app = app.clone();
    let work = move |answered: Vec<_>| {
        let app = work_app.clone();
        async move { record_all(&app, &answered).await }
    };
    app.deliveries.outcomes.run(answered, work).await
}

async fn record_all(app: &App, answered: &[Arc<Answered>]) -> sqlx::Result<Vec<Option<Written>>> {
    let now = app.clock.now();
    let events = distinct_of(answered.iter().map(|it| it.delivery.outbox_id));
    let rows: Vec<OutcomeRow> = answered.iter().map(|it| it.row.clone()).collect();
    let mut tx = app.db.write().await?;
    schedule::lock_events(&mut tx, &events).await?;
    let written = deliveries::write_outcomes(&mut tx, &rows, now).await?;
    let rows: Vec<_> = rows
        .iter()
        .filter(|it| written.contains(&it.delivery_id))
        .collect();
    deliveries::insert_attempts(&mut tx, &rows).await?;
    let mut states: HashMap<OutboxId, Vec<_>> = HashMap::new();
    for StateOfDelivery { outbox_id, state } in
        deliveries::delivery_states(&mut tx, &events).await?
    {
        states.entry(outbox_id).or_default().push(state);
    }
    let states = states.into_iter().map(|(id, states)| StateOfEvent {
        id,
        state: settle(&states),
    });
    let states: Vec<StateOfEvent> = states.collect();
    deliveries::write_event_states(&mut tx, &states, now).await?;
    let ours = || {
        answered
            .iter()
            .filter(|it| written.contains(&it.delivery.id))
    };
    keep_records(&mut tx, ours().map(|it| &**it), now).await?;
    let served = served(app, ours().map(|it| &it.delivery), 1);
    let until = now + SLOT_BEFORE_PUSH;
    let mut next = claim_next(&mut tx, &served, until, now).await?;
    tx.save().await?;
    let states: HashMap<OutboxId, _> = states.into_iter().map(|it| (it.id, it.state)).collect();
    let written = answered.iter().map(|it| {
        let state = states.get(&it.delivery.outbox_id)?;
        written.contains(&it.delivery.id).then(|| Written {
            status: state.status,
            next_retry_at: state.next_retry_at,
            next: Next {
                events: next.remove(&it.delivery.endpoint_id).unwrap_or_default(),
                until,
            },
        })
    });
    Ok(written.collect())
}

/// What requests say of their endpoints, in the order of their ids.
async fn keep_records(
    tx: &mut Tx,
    answered: impl Iterator<Item = &Answered>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut by_endpoint: BTreeMap<EndpointId, Vec<&Answered>> = BTreeMap::new();
    for it in answered {
        by_endpoint
            .entry(it.delivery.endpoint_id)
            .or_default()
            .push(it);
    }
    // Usually all is well with all of them, and was so when they were looked at.
    let is_well = |it: &&Answered| {
        it.row.status == CallbackStatus::Success && it.delivery.consecutive_failures == 0
    };
    let mut failing = HashSet::new();
    if !by_endpoint.values().flatten().all(is_well) {
        let endpoints: Vec<EndpointId> = by_endpoint.keys().copied().collect();
        failing = breakers::failing_endpoints(tx, &endpoints).await?;
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

/// Who may be sent more, as their lanes have room: a few events for each of these deliveries,
/// because whoever leaves a lane does the same. `leaving` of them are still in a lane.
fn served<'a>(
    app: &App,
    deliveries: impl Iterator<Item = &'a DueDelivery>,
    leaving: usize,
) -> Vec<Served> {
    let mut counts: HashMap<EndpointId, (usize, bool)> = HashMap::new();
    for it in deliveries {
        counts.entry(it.endpoint_id).or_insert((0, it.is_ordered)).0 += 1;
    }
    let served = counts.into_iter().map(|(endpoint, (count, is_ordered))| {
        let room = app.lanes.free(endpoint, width(is_ordered)) + count * leaving;
        Served {
            endpoint,
            is_ordered,
            limit: room.min(count * BROUGHT_AT_ONCE),
        }
    });
    served.collect()
}

/// Enqueues what the endpoint of a delivery is owed next: somebody who would have sent it was
/// turned away.
pub(super) async fn bring_next(app: &Arc<App>, delivery: &DueDelivery) -> Result<(), BatchError> {
    let work_app = app.clone();
    let work = move |left: Vec<Arc<DueDelivery>>| {
        let app = work_app.clone();
        async move {
            let served = served(&app, left.iter().map(|it| &**it), 0);
            let now = app.clock.now();
            let until = now + SLOT_BEFORE_PUSH;
            let mut tx = app.db.write().await?;
            let next = claim_next(&mut tx, &served, until, now).await?;
            tx.save().await?;
            let next: Vec<OutboxId> = next.into_values().flatten().collect();
            push_next(&app, &next, until).await;
            Ok(vec![(); left.len()])
        }
    };
    app.deliveries.turns.run(delivery.clone(), work).await
}

/// Pushes the jobs of what endpoints are owed next.
pub(super) async fn push(app: &Arc<App>, next: Next) -> Result<(), BatchError> {
    if next.events.is_empty() {
        return Ok(());
    }
    let work_app = app.clone();
    let work = move |next: Vec<Arc<Next>>| {
        let app = work_app.clone();
        async move {
            let mut by_end: BTreeMap<DateTime<Utc>, Vec<OutboxId>> = BTreeMap::new();
            for it in &next {
                by_end.entry(it.until).or_default().extend(&it.events);
            }
            for (until, ids) in by_end {
                push_next(&app, &ids, until).await;
            }
            Ok(vec![(); next.len()])
        }
    };
    app.deliveries.pushes.run(next, work).await
}

/// The job of an event ends: its slot is free. Tells how the event stands; nothing, when it was
/// deleted with its store meanwhile.
pub(super) async fn end(app: &Arc<App>, id: OutboxId) -> Result<Option<EndedEvent>, BatchError> {
    let work_app = app.clone();
    let work = move |ids: Vec<Arc<OutboxId>>| {
        let app = work_app.clone();
        async move {
            let mut tx = app.db.write().await?;
            let ended = schedule::free_slots(&mut tx, &distinct(&ids)).await?;
            tx.save().await?;
            let ended = ended.into_iter().map(|it| (it.id, it)).collect();
            Ok(answer(&ids, &ended))
        }
    };
    app.deliveries.ends.run(id, work).await
}

fn distinct(ids: &[Arc<OutboxId>]) -> Vec<OutboxId> {
    distinct_of(ids.iter().map(|id| **id))
}

fn distinct_of<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// What was found for each that was asked for, in their order.
fn answer<T: Clone>(ids: &[Arc<OutboxId>], found: &HashMap<OutboxId, T>) -> Vec<Option<T>> {
    ids.iter().map(|id| found.get(id).cloned()).collect()
}
