//! Writes an event in the transaction of the fact it tells of.

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use serde::Serialize;

use super::model::EventType;
use super::queries::deliveries;
use crate::db::Tx;
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
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope<'a> {
    event_id: OutboxId,
    event: EventType,
    timestamp: Timestamp,
    organization_id: &'a str,
    store_id: StoreId,
    data: &'a serde_json::Value,
}

/// Records an event and who is owed it.
pub(crate) async fn record(
    tx: &mut Tx,
    event: &NewEvent<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let envelope = Envelope {
        event_id: event.id,
        event: event.event,
        timestamp: now.into(),
        organization_id: event.organization_id,
        store_id: event.store_id,
        data: &event.data,
    };
    deliveries::insert_event(tx, event, &envelope, now).await
}
