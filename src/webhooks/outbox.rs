//! What an operator sees of the events, and how those that nobody took are delivered after all.
//!
//! An event is a dead letter when a delivery of it failed for good. [`requeue()`] makes those
//! deliveries due again, from the first attempt on; who has the event keeps it. [`recover`] does
//! so for all events that one endpoint missed.

use std::fmt;

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use poem_openapi::Enum;
use serde::Serialize;
use sqlx::FromRow;

use super::enqueue::enqueue_events;
use super::model::{DeliveryId, Endpoint, EndpointId, EventType};
use super::queries::{endpoints, outbox};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};

/// Attempts shown of a delivery, and kept when it is requeued, which may go on for ever.
const SHOWN_ATTEMPTS: i64 = 50;
/// Deliveries requeued in one transaction.
const BATCH: i64 = 200;

/// How the delivery of an event stands, to all or to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub(crate) enum CallbackStatus {
    /// Somebody is still owed it.
    Pending,
    /// Everyone has it.
    Success,
    /// Somebody will not get it: a dead letter.
    Failed,
}

impl fmt::Display for CallbackStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
        })
    }
}

/// An event, and how its delivery stands.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct OutboxEvent {
    pub(crate) id: OutboxId,
    pub(crate) organization_id: String,
    pub(crate) store_id: StoreId,
    pub(crate) event: EventType,
    pub(crate) status: CallbackStatus,
    pub(crate) attempt: i32,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl OutboxEvent {
    /// Its place in a list of events.
    pub(crate) fn place(&self) -> Cursor {
        Cursor {
            at: self.created_at,
            id: self.id.0,
        }
    }
}

/// An event with what its subscribers receive.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct EventDetails {
    #[sqlx(flatten)]
    pub(crate) event: OutboxEvent,
    /// As it is stored: who looks at it wants to see what cannot be read, too.
    pub(crate) payload: String,
}

/// One event, owed to one endpoint.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Delivery {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) target_url: String,
    pub(crate) status: CallbackStatus,
    pub(crate) http_status: Option<i32>,
    pub(crate) attempt: i32,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
    pub(crate) delivered_at: Option<DateTime<Utc>>,
}

/// One try of a delivery.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct AttemptLog {
    pub(crate) attempt: i32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) duration_ms: i32,
    pub(crate) http_status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<String>,
}

/// A delivery that did not happen, or not in time.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct FailedDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) outbox_id: OutboxId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) created_at: DateTime<Utc>,
}

/// All that is known of an event.
#[derive(Clone, Debug)]
pub(crate) struct EventReport {
    pub(crate) details: EventDetails,
    /// Each with its newest attempts, the newest first.
    pub(crate) deliveries: Vec<(Delivery, Vec<AttemptLog>)>,
}

/// Why something cannot be requeued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequeueError {
    /// It is not there, or somebody else's.
    #[error("callback not found")]
    CallbackNotFound,
    /// Neither is this.
    #[error("webhook not found")]
    WebhookNotFound,
    /// It is delivered, or still on its way.
    #[error("the callback has not failed")]
    NotFailed,
    /// Everyone who missed it was deleted.
    #[error("the endpoints that missed the callback were deleted")]
    EndpointsDeleted,
    /// The database refused, or is away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The events of an organization, the newest first.
pub(crate) async fn events(
    app: &App,
    organization_id: &str,
    page: PageRequest,
) -> sqlx::Result<Vec<OutboxEvent>> {
    let before = page.after.unwrap_or(Cursor::END);
    let mut tx = app.db.read().await?;
    let found = outbox::events(&mut tx, organization_id, before, page.look_ahead()).await?;
    tx.save().await?;
    Ok(found)
}

/// The dead letters of an organization, the newest first.
pub(crate) async fn failed_events(
    app: &App,
    organization_id: &str,
    page: PageRequest,
) -> sqlx::Result<Vec<OutboxEvent>> {
    let before = page.after.unwrap_or(Cursor::END);
    let mut tx = app.db.read().await?;
    let found = outbox::failed_events(&mut tx, organization_id, before, page.look_ahead()).await?;
    tx.save().await?;
    Ok(found)
}

/// All dead letters behind the cursor, or those of one store, the oldest first.
pub(crate) async fn dead_events(
    app: &App,
    store_id: Option<StoreId>,
    after: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<OutboxEvent>> {
    let mut tx = app.db.read().await?;
    let found = outbox::all_failed_events(&mut tx, store_id, after, limit).await?;
    tx.save().await?;
    Ok(found)
}

/// All about an event, if it is of this organization (or none is named).
pub(crate) async fn event_report(
    app: &App,
    id: OutboxId,
    organization_id: Option<&str>,
) -> sqlx::Result<Option<EventReport>> {
    let mut tx = app.db.read().await?;
    let Some(details) = outbox::event(&mut tx, id, organization_id).await? else {
        return Ok(None);
    };
    let mut deliveries = Vec::new();
    for delivery in outbox::deliveries(&mut tx, id).await? {
        let attempts = outbox::attempts(&mut tx, delivery.id, SHOWN_ATTEMPTS).await?;
        deliveries.push((delivery, attempts));
    }
    tx.save().await?;
    Ok(Some(EventReport {
        details,
        deliveries,
    }))
}

/// Delivers a dead letter after all, to those who do not have it; if it is of this organization
/// (or none is named). Its job is pushed after the commit; the sweep makes up for it if that fails.
pub(crate) async fn requeue(
    app: &App,
    id: OutboxId,
    organization_id: Option<&str>,
) -> Result<(), RequeueError> {
    let mut tx = app.db.write().await?;
    requeue_in(app, &mut tx, id, organization_id).await?;
    tx.save().await?;
    enqueue_events(app, &[id]).await;
    Ok(())
}

/// The same in a transaction of the caller's, who enqueues the event after the commit.
pub(super) async fn requeue_in(
    app: &App,
    tx: &mut Tx,
    id: OutboxId,
    organization_id: Option<&str>,
) -> Result<(), RequeueError> {
    let now = app.clock.now();
    let owner = outbox::event_organization(tx, id, organization_id)
        .await?
        .ok_or(RequeueError::CallbackNotFound)?;
    // Before the event, as whoever deletes an endpoint.
    endpoints::keep_endpoints(tx, &owner).await?;
    let status = outbox::lock_event(tx, id, organization_id)
        .await?
        .ok_or(RequeueError::CallbackNotFound)?;
    if status != CallbackStatus::Failed {
        return Err(RequeueError::NotFailed);
    }
    if outbox::requeue_deliveries(tx, id, None, now).await? == 0 {
        return Err(RequeueError::EndpointsDeleted);
    }
    outbox::forget_attempts(tx, id, SHOWN_ATTEMPTS).await?;
    outbox::reopen_event(tx, id, now).await?;
    Ok(())
}

/// Delivers what an endpoint missed since an instant; a dry run only counts. Tells how many
/// deliveries that are.
pub(crate) async fn recover(
    app: &App,
    endpoint_id: EndpointId,
    organization_id: Option<&str>,
    since: DateTime<Utc>,
    dry_run: bool,
) -> Result<u64, RequeueError> {
    let mut tx = app.db.read().await?;
    let endpoint = endpoints::endpoint_by_id(&mut tx, endpoint_id).await?;
    let is_theirs = |endpoint: &Endpoint| {
        endpoint.deleted_at.is_none()
            && organization_id.is_none_or(|own| own == endpoint.organization_id)
    };
    let endpoint = endpoint
        .filter(is_theirs)
        .ok_or(RequeueError::WebhookNotFound)?;
    if dry_run {
        let count = outbox::count_failed_deliveries(&mut tx, endpoint_id, since).await?;
        return Ok(u64::try_from(count).unwrap_or_default());
    }
    tx.save().await?;
    let mut after = Cursor::BEGINNING;
    let mut recovered = 0;
    loop {
        let mut tx = app.db.read().await?;
        let missed = outbox::failed_deliveries(&mut tx, endpoint_id, since, after, BATCH).await?;
        tx.save().await?;
        let Some(last) = missed.last() else {
            return Ok(recovered);
        };
        after = Cursor {
            at: last.created_at,
            id: last.id.0,
        };
        recovered += requeue_missed(app, &endpoint, &missed).await?;
    }
}

async fn requeue_missed(
    app: &App,
    endpoint: &Endpoint,
    missed: &[FailedDelivery],
) -> sqlx::Result<u64> {
    let mut ids: Vec<OutboxId> = missed.iter().map(|delivery| delivery.outbox_id).collect();
    // In the order of ids, so that two of us cannot wait for each other.
    ids.sort_unstable();
    let now = app.clock.now();
    let mut requeued = Vec::new();
    let mut tx = app.db.write().await?;
    endpoints::keep_endpoints(&mut tx, &endpoint.organization_id).await?;
    for id in ids {
        outbox::lock_event(&mut tx, id, None).await?;
        // One, or none when somebody else was faster or the endpoint is deleted by now.
        if outbox::requeue_deliveries(&mut tx, id, Some(endpoint.id), now).await? > 0 {
            outbox::forget_attempts(&mut tx, id, SHOWN_ATTEMPTS).await?;
            outbox::reopen_event(&mut tx, id, now).await?;
            requeued.push(id);
        }
    }
    tx.save().await?;
    enqueue_events(app, &requeued).await;
    Ok(u64::try_from(requeued.len()).unwrap_or_default())
}
