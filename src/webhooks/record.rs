//! Writes an event in the transaction of the fact it tells of.
//!
//! The event is complete, and so is the list of who is owed it: a delivery for each endpoint that
//! the organization has for such events, inactive ones included, for when they come back. An
//! event that nobody subscribed to is done at once. Until the commit none of those endpoints can be
//! deleted, so nothing is owed to one that is.
//!
//! Its job is pushed after the commit ([`enqueue_recorded`](super::enqueue::enqueue_recorded)).

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use serde::{Deserialize, Serialize};

use super::model::{DeliveryId, EventType};
use super::outbox::CallbackStatus;
use super::queries::{deliveries, endpoints};
use crate::App;
use crate::db::Tx;
use crate::schedule::slots::SLOT_BEFORE_PUSH;
use crate::timestamp::Timestamp;

/// An event that is about to be true.
#[derive(Debug)]
pub(crate) struct NewEvent<'a> {
    /// Its id, which is also what consumers deduplicate by.
    pub(crate) id: OutboxId,
    /// Whose event it is.
    pub(crate) organization_id: &'a str,
    /// The store it is about.
    pub(crate) store_id: StoreId,
    /// What happened.
    pub(crate) event: EventType,
    /// The particulars.
    pub(crate) data: serde_json::Value,
}

/// What a subscriber receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    event_id: OutboxId,
    event: EventType,
    pub(super) timestamp: Timestamp,
    organization_id: String,
    store_id: StoreId,
    data: serde_json::Value,
}

/// An event that was recorded; to be enqueued once its transaction is committed.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Recorded {
    pub(super) id: OutboxId,
    /// Until when its slot is taken; none when there is nobody to send it to now.
    pub(super) slot: Option<DateTime<Utc>>,
}

/// Records an event and who is owed it. May be repeated with the same id: what is there stays.
pub(crate) async fn record(
    app: &App,
    tx: &mut Tx,
    event: &NewEvent<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Recorded> {
    let envelope = Envelope {
        event_id: event.id,
        event: event.event,
        timestamp: now.into(),
        organization_id: event.organization_id.to_owned(),
        store_id: event.store_id,
        data: event.data.clone(),
    };
    endpoints::keep_endpoints(tx, event.organization_id).await?;
    let subscribers = deliveries::subscribers(tx, event.organization_id, event.event, now).await?;
    let status = if subscribers.is_empty() {
        CallbackStatus::Success
    } else {
        CallbackStatus::Pending
    };
    let is_due = subscribers.iter().any(|it| it.is_reachable);
    let slot = is_due.then(|| now + SLOT_BEFORE_PUSH);
    if !deliveries::insert_event(tx, event, &envelope, status, slot, now).await? {
        return Ok(Recorded { id: event.id, slot });
    }
    for subscriber in subscribers {
        let id = DeliveryId(app.ids.new_id(now));
        deliveries::insert_delivery(tx, id, event.id, subscriber.id, now).await?;
    }
    Ok(Recorded { id: event.id, slot })
}
