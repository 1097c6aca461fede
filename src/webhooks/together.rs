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
    WrittenDelivery,
};
use super::queries::schedule::EndedEvent;
use super::queries::{breaker as breakers, deliveries, endpoints, schedule};
use super::secrets::{Signing, signing as signing_of};
use super::settle::{DeliveryState, EventState, settle};
use crate::App;
use crate::batch::{BatchError, Batcher};
use crate::db::Tx;
use crate::encryption::StoredSecret;
use crate::schedule::slots::SLOT_BEFORE_PUSH;

/// Writes at the same time. Two would make smaller batches, and want the same events next.
const WRITES: usize = 1;
/// How much longer than a request its lease lasts: time to write down what came of it.
pub(super) const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);
/// Events that are enqueued when one has left its lane: more than one, so that an endpoint that
/// is back is served by all its lanes soon.
const BROUGHT_AT_ONCE: usize = 2;

/// Jobs of one push, which are all taken or none.
const PUSHED_AT_ONCE: usize = 64;

/// The `inactive_reason` of an endpoint that said that it is no more; wire format.
const GONE: &str = "gone";

/// Steps that many deliveries make at the same time; one a process.
#[derive(Debug)]
pub(crate) struct Steps {
    takes: Batcher<OutboxId, Look>,
    outcomes: Batcher<Answered, Record>,
    turns: Batcher<DueDelivery, ()>,
    pushes: Batcher<Next, ()>,
    ends: Batcher<OutboxId, End>,
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

/// What came of a look at an event.
#[derive(Debug)]
pub(super) enum Look {
    Taken(Box<Taken>),
    /// Another job of it looks at the same time, and has what is due.
    Elsewhere,
    /// There is no such event.
    Gone,
}

/// An event, and what may be sent of it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) event: OwedEvent,
    /// Ours to send.
    pub(super) parcels: Vec<Parcel>,
    /// Due, but their endpoints have enough to do.
    pub(super) crowded: Vec<DueDelivery>,
    /// Not ours after all, and somebody was turned away from their endpoints meanwhile.
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
enum Record {
    Written(Written),
    /// The lease was lost.
    Lost,
    /// The event is locked by somebody else.
    Busy,
}

/// What came of freeing a slot.
#[derive(Debug)]
enum End {
    Ended(EndedEvent),
    /// There is no such event any more.
    Gone,
    /// The event is locked by somebody else.
    Busy,
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

/// Looks what of an event is due, and takes the leases of what there is room for.
pub(super) async fn take(app: &Arc<App>, id: OutboxId) -> Result<Look, BatchError> {
    let work = |app: Arc<App>, ids: Vec<Arc<OutboxId>>| async move { take_all(&app, &ids).await };
    app.deliveries.takes.run(app, id, work).await
}

async fn take_all(app: &App, asked: &[Arc<OutboxId>]) -> sqlx::Result<Vec<Look>> {
    let ids = distinct(asked);
    let mut tx = app.db.write().await?;
    let now = app.clock.now();
    let owed = deliveries::owed_events(&mut tx, &ids, now).await?;
    let taken = owed.events.into_iter().map(|(id, event)| {
        let taken = Taken {
            event,
            parcels: Vec::new(),
            crowded: Vec::new(),
            missed: Vec::new(),
        };
        (id, taken)
    });
    let mut taken: HashMap<OutboxId, Taken> = taken.collect();
    let mut admitted = Vec::new();
    for delivery in owed.due {
        match app
            .lanes
            .enter(delivery.endpoint_id, width(delivery.is_ordered))
        {
            Some(lane) => admitted.push((delivery, lane)),
            None => {
                if let Some(taken) = taken.get_mut(&delivery.outbox_id) {
                    taken.crowded.push(delivery);
                }
            }
        }
    }
    if !admitted.is_empty() {
        hand_out(app, &mut tx, &mut taken, admitted, &owed.secrets, now).await?;
    }
    tx.save().await?;
    let there: HashSet<OutboxId> = taken.keys().copied().collect();
    let looks = asked.iter().map(|id| match taken.remove(id) {
        Some(taken) => Look::Taken(Box::new(taken)),
        None if there.contains(id) => Look::Elsewhere,
        None => Look::Gone,
    });
    Ok(looks.collect())
}

/// Takes the leases of deliveries that have a lane, and puts them with their events.
async fn hand_out(
    app: &App,
    tx: &mut Tx,
    taken: &mut HashMap<OutboxId, Taken>,
    admitted: Vec<(DueDelivery, Lane)>,
    secrets: &HashMap<EndpointId, Vec<StoredSecret>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let events: HashSet<OutboxId> = admitted.iter().map(|(it, _)| it.outbox_id).collect();
    let events = taken
        .values()
        .map(|taken| &taken.event)
        .filter(|it| events.contains(&it.id));
    let leases = take_leases(app, tx, events, &admitted, now).await?;
    let mut signings: HashMap<EndpointId, Signing> = HashMap::new();
    for (delivery, lane) in admitted {
        let Some(taken) = taken.get_mut(&delivery.outbox_id) else {
            continue;
        };
        if leases.of.contains(&delivery.id) {
            let id = delivery.endpoint_id;
            let stored = || secrets.get(&id).map(Vec::as_slice).unwrap_or_default();
            let signing = signings.entry(id);
            let signing = signing.or_insert_with(|| signing_of(app, id, stored()));
            taken.parcels.push(Parcel {
                signing: signing.clone(),
                lease: leases.lease,
                delivery,
                lane,
            });
        } else if lane.leave() {
            taken.missed.push(delivery);
        }
    }
    Ok(())
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
    let rows = answered
        .iter()
        .filter(|it| locked.contains(&it.delivery.outbox_id));
    let rows: Vec<OutcomeRow> = rows.map(|it| it.row.clone()).collect();
    let written = deliveries::write_outcomes(&mut tx, &rows, now).await?;
    let written: HashMap<DeliveryId, WrittenDelivery> =
        written.into_iter().map(|it| (it.id, it)).collect();
    let ours = answered.iter().filter_map(|it| {
        let written = written.get(&it.delivery.id)?;
        Some((&**it, written))
    });
    let ours: Vec<(&Answered, &WrittenDelivery)> = ours.collect();
    let rows: Vec<&OutcomeRow> = ours.iter().map(|(it, _)| &it.row).collect();
    deliveries::insert_attempts(&mut tx, &rows).await?;
    let states = settle_events(&mut tx, &ours, now).await?;
    keep_records(&mut tx, &ours, now).await?;
    let served = served(app, ours.iter().map(|(it, _)| &it.delivery), 1);
    let until = now + SLOT_BEFORE_PUSH;
    let mut next = claim_next(&mut tx, &served, until, now).await?;
    tx.save().await?;
    let records = answered.iter().map(|it| {
        let id = it.delivery.outbox_id;
        let is_written = written.contains_key(&it.delivery.id);
        match states.get(&id).filter(|_| is_written) {
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
    let work = |app: Arc<App>, left: Vec<Arc<DueDelivery>>| async move {
        let served = served(&app, left.iter().map(|it| &**it), 0);
        let mut tx = app.db.write().await?;
        let now = app.clock.now();
        let until = now + SLOT_BEFORE_PUSH;
        let next = claim_next(&mut tx, &served, until, now).await?;
        tx.save().await?;
        let next: Vec<OutboxId> = next.into_values().flatten().collect();
        push_next(&app, &next, until).await;
        Ok(vec![(); left.len()])
    };
    app.deliveries.turns.run(app, delivery.clone(), work).await
}

/// Pushes the jobs of what endpoints are owed next.
pub(super) async fn push(app: &Arc<App>, next: Next) -> Result<(), BatchError> {
    if next.events.is_empty() {
        return Ok(());
    }
    let work = |app: Arc<App>, next: Vec<Arc<Next>>| async move {
        let mut by_end: BTreeMap<DateTime<Utc>, Vec<OutboxId>> = BTreeMap::new();
        for it in &next {
            by_end.entry(it.until).or_default().extend(&it.events);
        }
        for (until, ids) in by_end {
            // In handfuls: of those that fit some at least are taken.
            for ids in ids.chunks(PUSHED_AT_ONCE) {
                push_next(&app, ids, until).await;
            }
        }
        Ok(vec![(); next.len()])
    };
    app.deliveries.pushes.run(app, next, work).await
}

/// The job of an event ends: its slot is free. Tells how the event stands; nothing, when it was
/// deleted with its store meanwhile. Busy, while somebody else has it locked.
pub(super) async fn end(app: &Arc<App>, id: OutboxId) -> Result<Option<EndedEvent>, BatchError> {
    let work = |app: Arc<App>, ids: Vec<Arc<OutboxId>>| async move { end_all(&app, &ids).await };
    match app.deliveries.ends.run(app, id, work).await? {
        End::Ended(ended) => Ok(Some(ended)),
        End::Gone => Ok(None),
        End::Busy => Err(BatchError::Busy),
    }
}

async fn end_all(app: &App, asked: &[Arc<OutboxId>]) -> sqlx::Result<Vec<End>> {
    let ids = distinct(asked);
    let mut tx = app.db.write().await?;
    let ended = schedule::free_slots(&mut tx, &ids).await?;
    let ended: HashMap<OutboxId, EndedEvent> = ended.into_iter().map(|it| (it.id, it)).collect();
    let missed = ids.into_iter().filter(|id| !ended.contains_key(id));
    let busy = schedule::there(&mut tx, &missed.collect::<Vec<_>>()).await?;
    tx.save().await?;
    let ends = asked.iter().map(|id| match ended.get(id) {
        Some(ended) => End::Ended(*ended),
        None if busy.contains(id) => End::Busy,
        None => End::Gone,
    });
    Ok(ends.collect())
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
