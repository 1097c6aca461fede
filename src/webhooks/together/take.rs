//! The first step of a job: what of its event is due, and the leases of what there is room for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::OutboxId;

use super::distinct;
use crate::App;
use crate::batch::BatchError;
use crate::db::Tx;
use crate::encryption::StoredSecret;
use crate::schedule::slots::SLOT_BEFORE_PUSH;
use crate::webhooks::breaker;
use crate::webhooks::lanes::{Lane, width};
use crate::webhooks::model::{DeliveryId, EndpointId};
use crate::webhooks::queries::deliveries::{DeliveryLease, DueDelivery, OwedEvent};
use crate::webhooks::queries::{breaker as breakers, deliveries, schedule};
use crate::webhooks::secrets::{Signing, signing_of};

/// How much longer than a request its lease lasts: time to write down what came of it.
pub(in crate::webhooks) const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);

/// What came of a look at an event.
#[derive(Debug)]
pub(in crate::webhooks) enum Look {
    Taken(Box<Taken>),
    /// Another job of it looks at the same time, and has what is due.
    Elsewhere,
    /// There is no such event.
    Gone,
}

/// An event, and what may be sent of it.
#[derive(Debug)]
pub(in crate::webhooks) struct Taken {
    pub(in crate::webhooks) event: OwedEvent,
    /// Ours to send.
    pub(in crate::webhooks) parcels: Vec<Parcel>,
    /// Due, but their endpoints have enough to do.
    pub(in crate::webhooks) crowded: Vec<DueDelivery>,
    /// Not ours after all, and somebody was turned away from their endpoints meanwhile.
    pub(in crate::webhooks) missed: Vec<DueDelivery>,
}

/// A delivery that is ours to send.
#[derive(Debug)]
pub(in crate::webhooks) struct Parcel {
    pub(in crate::webhooks) delivery: DueDelivery,
    pub(in crate::webhooks) lease: DeliveryLease,
    pub(in crate::webhooks) signing: Signing,
    pub(in crate::webhooks) lane: Lane,
}

/// Looks what of an event is due, and takes the leases of what there is room for.
pub(in crate::webhooks) async fn take(app: &Arc<App>, id: OutboxId) -> Result<Look, BatchError> {
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
